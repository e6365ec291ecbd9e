"""What a workflow need not say: no class where there are no fields, no handler where a trigger only moves, no name by rule."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import onex
from onex.app import load_app
from onex.doctor.inspection import inspect
from onex.kernel.errors import ContractError
from onex.kernel.finding import EnumSeverity, Finding
from onex.kernel.step import State

DOOR = """\
name: door
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_machine:
  initial_state: shut
  terminal_states: [gone]
  states: [{name: shut}, {name: open, timeout_ms: 1}, {name: gone}]
  transitions:
    - {from_state: shut, to_state: open, trigger: push}
    - {from_state: open, to_state: shut, trigger: open.timeout}
    - {from_state: shut, to_state: gone, trigger: remove}
"""
BELL = """\
name: bell
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_machine:
  initial_state: still
  terminal_states: [rung, broken]
  transitions:
    - {from_state: still, to_state: ringing, trigger: pull}
    - {from_state: ringing, to_state: rung, trigger: ring.succeeded}
    - {from_state: ringing, to_state: broken, trigger: ring.failed, payload: Failure}
    - {from_state: ringing, to_state: broken, trigger: ring.unknown, payload: Failure}
intents:
  - {name: ring, type: api_call, target: bell}
"""
PULL = """\
from onex import Action, Nothing, State, Step, intent, reducer

bells = reducer(State)


@bells.on("pull")
def pull(bell: State, action: Action[Nothing]) -> Step[State]:
    return Step(bell, intent("ring"))
"""
RING = """\
from onex import ModelIntent, Nothing, effect


@effect("bell")
def ring(intent: ModelIntent[Nothing]) -> None:
    pass
"""


def written(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}{'.yaml' if name == 'contract' else '.py'}").write_text(text)
    return folder


def test_a_contract_alone_is_an_app(tmp_path: Path) -> None:
    folder = written(tmp_path / "door", contract=DOOR)

    async def go() -> None:
        async with await onex.open("memory:", folder) as engine:
            assert (await engine.submit("door:1", "push")).status == "open"
            assert (await engine.wait("door:1", until="shut", timeout_s=20)).version == 2
            assert (await engine.submit("door:1", "remove")).status == "gone"
            assert type(await engine.state("door:1")) is State

    asyncio.run(go())
    found = inspect([folder])
    assert (found.findings, len(found.apps)) == ((), 1)


def test_what_is_wrong_in_a_contract_alone_is_said_as_the_engine_says_it(tmp_path: Path) -> None:
    folder = written(tmp_path / "door", contract=DOOR.replace("to_state: gone", "to_state: goen"))
    found = [one for one in inspect([folder]).findings if one.severity is not EnumSeverity.INFO]
    assert [(one.severity, one.code) for one in found] == [(EnumSeverity.ERROR, "unknown_state")]


def test_an_effect_and_a_handler_need_no_class_and_no_name_of_an_outcome(tmp_path: Path) -> None:
    folder = written(tmp_path / "apps" / "bell", contract=BELL, reducer=PULL, effects=RING)

    async def go() -> None:
        async with await onex.open("memory:", folder) as engine:
            await engine.submit("bell:1", "pull")
            assert (await engine.wait("bell:1", timeout_s=20)).status == "rung"

    asyncio.run(go())
    found = inspect([tmp_path])
    assert (found.findings, [app.path for app in found.apps]) == ((), [folder])


@pytest.mark.parametrize(
    ("files", "line", "code", "fix"),
    [
        ({"contract": DOOR.replace("trigger: push", "trigger: push, payload: Push")}, 0, "missing_file", "write it beside"),
        ({"contract": DOOR, "payloads": "from onex import State\n\n\nclass Door(State):\n    colour: str = ''\n"}, 1,
         "missing_key", "add state_model: Door"),
    ],
)  # fmt: skip
def test_a_class_that_is_named_or_written_is_not_left_out(
    tmp_path: Path, files: dict[str, str], line: int, code: str, fix: str
) -> None:
    with pytest.raises(ContractError) as caught:
        load_app(written(tmp_path / "door", **files))
    (finding,) = (one for one in caught.value.findings if isinstance(one, Finding))
    assert (finding.line, finding.code) == (line, code)
    assert finding.fix.startswith(fix)


def test_a_reducer_over_a_class_that_the_contract_does_not_name_is_reported(tmp_path: Path) -> None:
    own = PULL.replace("bells = reducer(State)", "class Bell(State):\n    pass\n\n\nbells = reducer(Bell)")
    with pytest.raises(ContractError, match=r"reducer.py handles Bell; the contract names no state_model"):
        load_app(written(tmp_path / "bell", contract=BELL, reducer=own, effects=RING))
