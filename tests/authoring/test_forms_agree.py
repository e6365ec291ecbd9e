"""Both forms of an app are one app: equal contracts, equal histories, equal findings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from pydantic import JsonValue
from pydantic_core import to_json

import onex
from onex.app import LoadedWorkflow, load_app
from onex.authoring.contract_text import contract_text
from onex.contracts.load import load_contract
from onex.engine.encode import encode_step
from onex.engine.registry import ReducerRegistry
from onex.kernel.action import Action, WorkflowKey
from onex.kernel.errors import Refused
from onex.kernel.machine import MachineReducer
from onex.kernel.step import State
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from onex.simulation.app_sim.values import Values
from tests.golden.corpus import CORPUS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "examples"
FORMS = [
    ("orders", EXAMPLES / "orders", HERE / "apps" / "orders"),
    ("billing", HERE / "contract_first" / "billing", EXAMPLES / "billing"),
    ("run", HERE / "contract_first" / "agent", EXAMPLES / "agent"),
]
"""Each example in both forms: the workflow, its contract-first form, its one-file form."""
WALKS, STEPS = 60, 25

both = pytest.mark.parametrize(("name", "contract_first", "one_file"), FORMS, ids=[name for name, *_ in FORMS])


def decided(one: LoadedWorkflow) -> JsonValue:
    """The contract without prose; transitions in an order of their own, since theirs counts only among equal starts."""
    whole = _bare(one.contract.model_dump(mode="json", exclude_defaults=True))
    assert isinstance(whole, dict)
    machine = whole["state_machine"]
    assert isinstance(machine, dict)
    rows = machine["transitions"]
    assert isinstance(rows, list)
    machine["transitions"] = sorted(rows, key=str)
    return whole


def _bare(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _bare(part) for key, part in sorted(value.items()) if key != "description"}
    return [_bare(part) for part in value] if isinstance(value, list) else value


@both
def test_their_contracts_are_equal(name: str, contract_first: Path, one_file: Path) -> None:
    first, derived = (load_app(path).workflows[name] for path in (contract_first, one_file))
    assert decided(derived) == decided(first)
    assert schemas(derived) == schemas(first)


def schemas(one: LoadedWorkflow) -> dict[str, JsonValue]:
    return {trigger: model.model_json_schema() for trigger, model in one.reducer.payloads.items()}


@both
def test_the_text_of_a_derived_contract_is_read_back_equal(name: str, contract_first: Path, one_file: Path) -> None:
    derived = load_app(one_file).workflows[name]
    again = load_contract(contract_text(derived.located.tree), "again.yaml")
    assert again.findings == ()
    assert again.contract == derived.contract


def test_a_history_of_the_contract_first_form_replays_equal_under_the_one_file_form() -> None:
    """Every state and every intent, byte for byte: the code is other code, and decides the same."""
    golden = next(one for one in CORPUS if one.name.startswith("orders"))
    code = tuple(one.recorded for one in load_app(HERE / "apps" / "orders").workflows.values())

    async def go() -> dict[str, int]:
        replay = Replay(golden.reader(), ReducerRegistry(code))
        async for _ in replay.all():
            pass
        return dict(replay.result.by_verdict)

    verdicts = asyncio.run(go())
    assert set(verdicts) == {EnumReplayVerdict.OTHER_CODE_EQUAL}
    assert sum(verdicts.values()) >= 30


@both
def test_they_decide_the_same_on_any_walk(name: str, contract_first: Path, one_file: Path) -> None:
    """Random triggers with drawn payloads: equal bytes of states and intents, or the same refusal."""
    first, derived = (load_app(path).workflows[name].reducer for path in (contract_first, one_file))
    seen: set[str] = set()
    for seed in range(WALKS):
        rng = Random(seed)
        states = first.initial(), derived.initial()
        for n in range(STEPS):
            triggers = first.accepts(states[0])
            if not triggers:
                break
            trigger = rng.choice(triggers)
            drawn = Values(rng).of(first.payloads[trigger])
            answers = [
                answer(reducer, state, trigger, drawn.model_dump(mode="json"), n)
                for reducer, state in zip((first, derived), states, strict=True)
            ]
            assert answers[0][1:] == answers[1][1:]
            states = answers[0][0], answers[1][0]
            seen.add(states[0].status)
    assert seen | {first.machine.initial} == set(first.machine.statuses)


def answer(
    reducer: MachineReducer[State], state: State, trigger: str, payload: JsonValue, n: int
) -> tuple[State, bytes, bytes, str]:
    """The next state, its bytes, those of the intents, and the code of a refusal."""
    ident = UUID(int=n).bytes
    model = reducer.payloads[trigger].model_validate_json(to_json(payload))
    try:
        done = reducer.delta(state, Action(WorkflowKey("w", "1"), trigger, model, ident, n * 1_000_000, ident))
    except Refused as refused:
        return state, b"", b"", refused.code
    return done.state, *encode_step(done.state, done.intents), ""


def test_a_run_of_one_form_replays_equal_under_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_BILLING_DIR", str(tmp_path / "out"))
    url = f"sqlite:///{tmp_path}/store.db"

    async def record() -> None:
        async with await onex.open(url, EXAMPLES / "billing") as engine:
            for n in range(5):
                await engine.submit(f"billing:{n}", "subscribe", {"customer": f"c{n}", "cents": 900, "trial_days": 0})
            for n in range(5):
                await engine.wait(f"billing:{n}", until="active", timeout_s=30)

    async def replayed() -> dict[str, int]:
        other = load_app(HERE / "contract_first" / "billing").workflows.values()
        reader = await onex.open_reader(url)
        replay = Replay(reader, ReducerRegistry(tuple(one.recorded for one in other)))
        async for _ in replay.all():
            pass
        return dict(replay.result.by_verdict)

    asyncio.run(record())
    assert asyncio.run(replayed()) == {EnumReplayVerdict.OTHER_CODE_EQUAL: 5}
