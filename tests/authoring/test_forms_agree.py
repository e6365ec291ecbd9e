"""Both forms of an app are one app: equal contracts, equal histories, equal findings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import JsonValue

from onex.app import LoadedWorkflow, load_app
from onex.authoring.contract_text import contract_text
from onex.contracts.load import load_contract
from onex.engine.registry import ReducerRegistry
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from tests.golden.corpus import CORPUS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FORMS = [("orders", ROOT / "examples" / "orders", HERE / "apps" / "orders")]

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
