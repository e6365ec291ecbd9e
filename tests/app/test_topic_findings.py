"""Topics of a contract: what cannot work is found when the app loads, at its line, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.app import load_app
from onex.engine.bus.topics import ConsumedTopic
from onex.kernel.errors import ContractError
from onex.kernel.finding import Finding

CONTRACT = """
name: {name}
contract_version: {{major: 1, minor: 0, patch: 0}}
node_type: REDUCER_GENERIC
state_machine:
  initial_state: quiet
  terminal_states: [gone]
  transitions:
    - {{from_state: quiet, to_state: quiet, trigger: reading, payload: Reading}}
    - {{from_state: quiet, to_state: quiet, trigger: remind}}
    - {{from_state: quiet, to_state: gone, trigger: remove}}
intents:
  - {{name: remind, type: timer}}
event_bus:
  subscribe_topics:
    - {{topic: readings.v1, event_type: reading, trigger: reading, key: sensor}}
{rows}
"""
PAYLOADS = """
from __future__ import annotations

from onex import Payload


class Place(Payload):
    room: str


class Reading(Payload):
    sensor: str
    celsius: float
    place: Place | None = None


class Alarm(Payload):
    sensor: str
    celsius: int
"""
CONSUMED, PUBLISHED = "    - ", "  publish_topics:\n    - "


def app(folder: Path, rows: str, name: str = "alarms") -> Path:
    home = folder / name
    home.mkdir(parents=True)
    (home / "contract.yaml").write_text(CONTRACT.format(name=name, rows=rows).lstrip())
    (home / "payloads.py").write_text(PAYLOADS)
    return home


def findings(path: Path) -> list[Finding]:
    with pytest.raises(ContractError) as raised:
        load_app(path)
    return [one for one in raised.value.findings if isinstance(one, Finding)]


@pytest.mark.parametrize(
    ("row", "code", "message", "fix"),
    [
        ("{topic: a}", "missing_key", "has no 'trigger'", "add trigger"),
        ("{topic: a, trigger: readin}", "unknown_trigger", "'readin', which no transition has", "did you mean"),
        ("{topic: a, trigger: reading, key: sensr}", "key_field", "Reading has no field 'sensr'", "did you mean 'sensor'"),
        ("{topic: a, trigger: reading, key: place}", "key_field", "Reading.place may be empty", "always there"),
        ("{topic: a, trigger: remove, key: sensor}", "key_field", "Nothing has no field 'sensor'", "remove key"),
        ("{topic: a, trigger: remind}", "internal_trigger", "timer 'remind' brings it", "public"),
        ("{topic: a, trigger: reading, payload: Alarm}", "topic_payload", "carries Reading", "name another trigger"),
        ("{topic: readings.v1, event_type: reading, trigger: remove}", "topic_twice", "takes this event", "keep one"),
        ("{topic: readings.v1, trigger: remove}", "topic_twice", "takes some of these events", "event_type of its own"),
        ("{topic: a b, trigger: remove}", "bad_name", "cannot be 'a b'", ""),
        ("{topic: a, trigger: reading, key: 'header:'}", "bad_name", "cannot be 'header:'", ""),
        ("{topic: a, trigger: reading, partition_key: sensor}", "unknown_key", "no key 'partition_key'", "knows topic"),
    ],
)  # fmt: skip
def test_a_consumed_topic_that_cannot_work_is_found(
    tmp_path: Path, row: str, code: str, message: str, fix: str
) -> None:
    (found,) = findings(app(tmp_path, CONSUMED + row))
    assert (found.code, found.line) == (code, 16), found
    assert message in found.message and fix in found.fix, found


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        ("{topic: out.v1}", "missing_key", "has no 'event_type'"),
        ("{event_type: alarm, payload: Alarms}", "unknown_class", "no class 'Alarms'"),
        ("{topic: out.v1, event_type: alarm, payload: Alarm, key: sensr}", "call_field", "no field 'sensr'"),
    ],
)
def test_a_published_topic_that_cannot_work_is_found(tmp_path: Path, row: str, code: str, message: str) -> None:
    (found,) = findings(app(tmp_path, PUBLISHED + row))
    assert (found.code, found.line) == (code, 17), found
    assert message in found.message


def test_both_ends_of_a_topic_are_judged(tmp_path: Path) -> None:
    app(tmp_path, PUBLISHED + "{topic: readings.v1, event_type: reading, payload: Alarm}", "writer")
    app(tmp_path, "", "reader")
    found = findings(tmp_path)
    assert {(one.code, one.path.rpartition("/")[0][-6:]) for one in found} == {
        ("topic_payload", "reader"),
        ("topic_payload", "writer"),
    }
    assert "cannot be read as Reading: 'celsius' is of another type" in found[0].message


def test_what_loads_says_what_it_reads(tmp_path: Path) -> None:
    rows = CONSUMED + "{event_type: node_gone, trigger: remove, key: 'header:sensor'}"
    loaded = load_app(app(tmp_path, f"{rows}\n{PUBLISHED}{{event_type: alarm, payload: Alarm, key: sensor}}"))
    workflow = loaded.workflows["alarms"]
    assert workflow.consumed == (
        ConsumedTopic("alarms", "readings.v1", "reading", "reading", "sensor"),
        ConsumedTopic("alarms", "node_gone", "remove", "node_gone", "header:sensor", by_scheme=True),
    )
    spec = workflow.reducer.intents.by_name["alarm"]
    assert (spec.kind, spec.target, spec.outcomes) == ("message_publish", "event:alarm", {})
    again = tmp_path / "again" / "alarms"
    again.mkdir(parents=True)
    (again / "contract.yaml").write_text(workflow.contract_text)  # written out with what the rows stand for
    (again / "payloads.py").write_text(PAYLOADS)
    assert load_app(again).workflows["alarms"].consumed == workflow.consumed


def test_topics_are_no_part_of_what_decides(tmp_path: Path) -> None:
    one = load_app(app(tmp_path / "a", "")).workflows["alarms"].code
    other = load_app(app(tmp_path / "b", CONSUMED + "{topic: more.v1, trigger: remove}")).workflows["alarms"].code
    assert one == other


@pytest.mark.parametrize(
    ("published", "consumed", "near"),
    [
        ("{event_type: alarm, payload: Alarm}", "{event_type: alrm, trigger: remove}", "alarm"),
        ("{topic: out.v1, event_type: alarm, payload: Alarm}", "{topic: out.v2, trigger: remove}", "out.v1"),
        ("{topic: out.v1, event_type: alarm, payload: Alarm}", "{topic: out.v1, event_type: alrm, trigger: remove}", "alarm"),
        ("{event_type: alarm, payload: Alarm}", "{event_type: reading_made, trigger: remove}", ""),
    ],
)  # fmt: skip
def test_an_event_that_nothing_here_publishes_and_whose_name_is_nearly_one_that_something_does_is_a_warning(
    tmp_path: Path, published: str, consumed: str, near: str
) -> None:
    app(tmp_path, PUBLISHED + published, "writer")
    app(tmp_path, CONSUMED + consumed, "reader")
    found = [one for one in load_app(tmp_path).findings if one.code == "not_published"]
    assert [one.fix for one in found] == ([f"did you mean {near!r}?"] if near else [])
