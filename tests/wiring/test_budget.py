"""An endless reducer fails its action; the engine, its instance and its neighbours go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import onex
from onex.kernel.errors import ReducerFailed

CONTRACT = """
name: loops
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
description: Turns for ever when asked to
state_model: Loops
state_machine:
  initial_state: idle
  transitions:
    - {from_state: idle, to_state: idle, trigger: turn, payload: Turn}
"""
PAYLOADS = """
from onex import Payload, State


class Loops(State):
    turns: int = 0


class Turn(Payload):
    for_ever: bool = False
"""
REDUCER = """
from onex import Action, Step, reducer

from .payloads import Loops, Turn

loops = reducer(Loops)


@loops.on("turn")
def turn(state: Loops, action: Action[Turn]) -> Step[Loops]:
    while action.payload.for_ever:
        pass
    return Step(state.evolve(turns=state.turns + 1))
"""


def test_an_endless_step_is_ended_and_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = tmp_path / "loops"
    app.mkdir()
    for name, text in (("contract.yaml", CONTRACT), ("payloads.py", PAYLOADS), ("reducer.py", REDUCER)):
        (app / name).write_text(text)
    monkeypatch.setenv("ONEX_STEP_BUDGET_MS", "100")

    async def go() -> None:
        async with await onex.open(f"sqlite:///{tmp_path}/store.db", app) as engine:
            calls = [
                engine.submit("loops:1", "turn"),
                engine.submit("loops:1", "turn", {"for_ever": True}),
                engine.submit("loops:1", "turn"),
                engine.submit("loops:2", "turn"),
            ]
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(one) for one in done] == [onex.Committed, ReducerFailed, onex.Committed, onex.Committed]
            state = await engine.state("loops:1")
            assert state is not None and state.model_dump()["turns"] == 2
            (row,) = await engine.reader.rejections("loops:1", None, 0, 10)
            assert row.code == "reducer_failed" and "step budget" in row.message

    asyncio.run(go())
