"""A guard that would take too long is refused by name before it begins: CEL cannot be stopped, so nobody must have to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import onex
from onex.kernel.errors import GuardFailed

CONTRACT = """
name: g
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_model: G
state_machine:
  initial_state: open
  terminal_states: [over]
  transitions:
    - {from_state: open, to_state: open, trigger: unique, payload: P, conditions: [{expression: "payload.l.all(a, payload.l.exists_one(b, a == b))"}]}
    - {from_state: open, to_state: open, trigger: three, payload: P, conditions: [{expression: "payload.l.all(a, payload.l.all(b, payload.l.all(c, a + b + c >= 0)))"}]}
    - {from_state: open, to_state: open, trigger: mapped, payload: P, conditions: [{expression: "payload.l.map(a, a).size() > 0"}]}
    - {from_state: open, to_state: open, trigger: given, payload: P, conditions: [{expression: "payload.l is_present"}]}
    - {from_state: "*", to_state: over, trigger: stop}
"""  # noqa: E501  # as a user writes it
PAYLOADS = """
from onex import Payload, State

class G(State):
    x: int | None = None

class P(Payload):
    l: tuple[int, ...] | None = None
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "contract.yaml").write_text(CONTRACT)
    (tmp_path / "payloads.py").write_text(PAYLOADS)
    return tmp_path


@pytest.mark.parametrize(("trigger", "items"), [("three", 200), ("three", 60), ("mapped", 20_000), ("unique", 2000)])
def test_a_guard_over_too_many_items_is_refused_and_everybody_goes_on(trigger: str, items: int, app: Path) -> None:
    async def go() -> None:
        async with await onex.open("memory:", app) as engine:
            with pytest.raises(
                GuardFailed, match=r"steps \(loops over .* items\), and a condition has 1,000,000"
            ) as failed:
                await engine.submit("g:1", trigger, {"l": list(range(items))})
            assert "decide in the reducer" in failed.value.message
            assert (await engine.submit("g:1", trigger, {"l": [1, 2, 3]})).version == 1
            assert (await engine.submit("g:2", "unique", {"l": list(range(200))})).status == "open"

    asyncio.run(go())


def test_is_present_is_a_guard(app: Path) -> None:
    async def go() -> None:
        async with await onex.open("memory:", app) as engine:
            with pytest.raises(GuardFailed):
                await engine.submit("g:1", "given", {})
            assert (await engine.submit("g:1", "given", {"l": []})).version == 1

    asyncio.run(go())
