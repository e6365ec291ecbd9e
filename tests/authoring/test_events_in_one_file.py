"""Topics in one file: the contract has the rows that the calls say, and a mistake is found at its line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from onex.app import load_app
from onex.authoring.event_handler import event_handler
from onex.engine.bus.topics import ConsumedTopic
from onex.kernel.envelope import DataAvailableEvent
from onex.kernel.errors import ContractError
from onex.kernel.finding import Finding

APP = """
from typing import Literal

from onex import Action, DataAvailableEvent, Nothing, Payload, State, Step, event_handler, workflow


class Table(State):
    status: Literal["empty", "loaded"] = "empty"


tables = workflow("tables", Table, terminal=[])


@tables.event_handler("DataAvailableEvent", "empty -> loaded", key="data_location")
def came(now: Table, action: Action[DataAvailableEvent]) -> Step[Table]:
    return Step(now)


{more}
"""
FUNCTION = (
    '@event_handler("DataAvailableEvent", topic="lake.v1")\ndef index({parameters}) -> None:\n    """Index it."""\n'
)


def written(folder: Path, more: str) -> Path:
    path = folder / "lake.py"
    path.write_text(APP.format(more=more).lstrip())
    return path


def test_the_contract_has_the_rows(tmp_path: Path) -> None:
    more = 'tables.publishes("gone", DataAvailableEvent, topic="gone.v1")\n'
    more += FUNCTION.format(parameters="event: DataAvailableEvent")
    app = load_app(written(tmp_path, more))
    assert app.workflows["tables"].consumed == (
        ConsumedTopic("tables", "DataAvailableEvent", "came", "DataAvailableEvent", "data_location", by_scheme=True),
    )
    assert app.workflows["tables"].reducer.intents.by_name["gone"].target == "event:gone"
    index = app.workflows["index"]
    assert index.consumed == (ConsumedTopic("index", "lake.v1", "came", "DataAvailableEvent", "@id"),)
    assert index.contract.description == "Index it."
    assert set(index.effects) == {"handle"}
    assert "subscribe_topics" in index.contract_text


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (FUNCTION.format(parameters="event"), "handler", "index does not take one event of a class"),
        (FUNCTION.format(parameters="event: int"), "handler", "index does not take one event of a class"),
        (FUNCTION.format(parameters="event: 'Missing'"), "handler", "annotations cannot be read"),
        ('@tables.event_handler("x", "load", "empty -> loaded")\ndef load(now: Table, action: Action[Nothing]) -> Step[Table]:\n'
         '    return Step(now)', "not_an_edge", "'load' is a trigger"),
        ('@tables.event_handler("x", "empty -> loaded", key="id")\ndef load(now: Table, action: Action[Nothing]) -> Step[Table]:\n'
         '    return Step(now)', "key_field", "Nothing has no field 'id'"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_at_its_line(tmp_path: Path, more: str, code: str, message: str) -> None:
    path = written(tmp_path, more)
    with pytest.raises(ContractError) as raised:
        load_app(path)
    found = [one for one in raised.value.findings if isinstance(one, Finding) and one.code == code]
    assert message in found[0].message
    line = path.read_text().splitlines().index(more.splitlines()[0]) + 1
    assert found[0].line in (line, line + 1)


def test_a_handler_of_events_is_called_in_a_test_like_any_function() -> None:
    seen: list[str] = []

    @event_handler("DataAvailableEvent")
    def index(event: DataAvailableEvent) -> None:
        seen.append(event.data_location)

    @event_handler("DataAvailableEvent")
    async def later(event: DataAvailableEvent) -> None:
        seen.append(event.data_location)

    assert index.name == "index"
    index(DataAvailableEvent(data_location="a"))
    waits = later(DataAvailableEvent(data_location="b"))
    assert waits is not None
    asyncio.run(waits)  # type: ignore[arg-type]  # it is a coroutine
    assert seen == ["a", "b"]
