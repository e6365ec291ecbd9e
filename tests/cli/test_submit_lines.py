"""`onex submit -`: each line of standard input is an action, and each has its answer or its error, in order."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import JsonValue

from onex.cli.submit_lines import BATCH, TOLD, WINDOW
from onex.kernel.size_limits import WIRE_BYTES
from tests.cli.conftest import ITEMS, ORDERS, STORE, Commands, Process, Told, fill

Sends = Callable[..., Told]
PLACE: Mapping[str, JsonValue] = {"trigger": "place", "payload": {"items": ITEMS}}


@pytest.fixture
def sends(processes: type[Process]) -> Sends:
    """``sends(line, ..., "--json")``: dicts are written as JSON, bytes as they are, text is an option."""

    def send(*given: Mapping[str, JsonValue] | bytes | str) -> Told:
        lines = [
            json.dumps(one).encode() if isinstance(one, Mapping) else one for one in given if not isinstance(one, str)
        ]
        process = processes("submit", "-", *(one for one in given if isinstance(one, str)), stdin=subprocess.PIPE)
        return process.end_with("".join(f"{line.decode(errors='surrogateescape')}\n" for line in lines))

    return send


@pytest.fixture
def engine(processes: type[Process]) -> Process:
    running = processes("run", ORDERS)
    running.until("running orders")
    return running


def key(number: int | str) -> dict[str, JsonValue]:
    return {"key": f"orders:{number}"}


def test_each_line_is_answered_in_order(engine: Process, sends: Sends) -> None:
    told = sends({**key(1), **PLACE}, {**key(2), "trigger": "cancel"}, {**key(1), "trigger": "cancel"}, "--json")
    assert [(row["line"], row["key"], row["trigger"]) for row in told.rows] == [
        (1, "orders:1", "place"),
        (2, "orders:2", "cancel"),
        (3, "orders:1", "cancel"),
    ]
    assert [row.get("status") for row in told.rows[:2]] == ["charging", "cancelled"]
    assert all(row["answered"] for row in told.rows)
    assert (told.code, told.err) == (1, ""), "a basket that was placed cannot be cancelled"


def test_more_lines_than_the_window_holds_all_have_their_answer(engine: Process, sends: Sends) -> None:
    many = 2 * WINDOW + BATCH // 2
    told = sends(*({**key(number), "trigger": "cancel"} for number in range(many)), "--json")
    assert (told.code, told.err) == (0, "")
    assert [(row["line"], row["key"], row["status"]) for row in told.rows] == [
        (number + 1, f"orders:{number}", "cancelled") for number in range(many)
    ]


BAD: Mapping[str, bytes] = {
    "line is not JSON: Expecting value": b"nonsense",
    "line is not UTF-8": b"\xff",
    "a line is a JSON object": b"[]",
    'a line needs "key" and "trigger"': b'{"key": "orders:9"}',
    '"payload" is a JSON object': b'{"key": "orders:9", "trigger": "cancel", "payload": []}',
    "a line has no field 'playload'": b'{"key": "orders:9", "trigger": "cancel", "playload": {}}',
    "is not a workflow key": b'{"key": "Orders", "trigger": "cancel"}',
    '"action_id" is a UUID as text': b'{"key": "orders:9", "trigger": "cancel", "action_id": 7}',
    '"idempotency_key" is text': b'{"key": "orders:9", "trigger": "cancel", "idempotency_key": 7}',
    '"expected_version" is a whole number, at least 0, not -1': b'{"key": "orders:9", "trigger": "x", "expected_version": -1}',
    "not both": b'{"key": "orders:9", "trigger": "cancel", "action_id": "x", "idempotency_key": "y"}',
    "integer 9007199254740993 is beyond +-2^53": b'{"key": "orders:9", "trigger": "cancel", "payload": {"n": 9007199254740993}}',
    "a line has at most": b'{"key": "orders:9", "trigger": "cancel", "payload": {"x": "'
    + b"x" * (2 * WIRE_BYTES)
    + b'"}}',
}


def test_a_line_that_is_no_action_is_told_with_its_number_and_the_others_go_on(engine: Process, sends: Sends) -> None:
    good = {**key(1), "trigger": "cancel"}, {**key(2), "trigger": "cancel"}
    told = sends(good[0], b"", *BAD.values(), good[1], "--json")
    assert told.code == 1
    first, *bad, last = told.rows
    assert [first["status"], last["status"]] == ["cancelled", "cancelled"]
    assert [row["line"] for row in told.rows] == [1, *range(3, 3 + len(BAD)), 3 + len(BAD)], (
        "a blank line is only counted"
    )
    for row, (text, _) in zip(bad, BAD.items(), strict=True):
        assert isinstance(error := row["error"], dict)
        assert text in str(error["message"])
        assert "ticket" not in row
    assert sends({**key(9), "trigger": "cancel"}, "--json").row["status"] == "cancelled", "nothing bad was sent"


def test_a_person_gets_the_first_errors_and_one_line_of_numbers(engine: Process, sends: Sends) -> None:
    fine = {**key(1), "trigger": "cancel", "idempotency_key": "a"}
    assert sends(fine).out.startswith("1 line: 1 applied  (")
    told = sends(fine, {**key(3), "trigger": "cancel"}, {**key(2), "trigger": "nope"}, *[b"nonsense"] * (TOLD + 4))
    assert told.code == 1
    assert told.out.startswith("27 lines: 1 applied, 1 applied before, 1 refused, 24 no action  (")
    first, *_, last = told.err.splitlines()
    assert first.startswith("line 3: refused (illegal_transition): orders has no trigger 'nope'")
    assert last == "and 5 lines more; --json tells each"
    assert len(told.err.splitlines()) == TOLD + 1


def test_the_same_lines_again_are_applied_once(engine: Process, sends: Sends) -> None:
    lines = [{**key(number), "trigger": "cancel", "idempotency_key": f"batch 1, {number}"} for number in range(3)]
    assert "3 applied  (" in sends(*lines).out
    assert "3 applied before  (" in sends(*lines).out


def test_ids_are_those_of_the_line(sends: Sends) -> None:
    chosen = "01890000-0000-7000-8000-000000000001"
    told = sends(
        {**key(1), "trigger": "cancel", "action_id": chosen}, {**key(2), "trigger": "cancel"}, "--no-wait", "--json"
    )
    first, second = told.rows
    assert first["action_id"] == chosen
    assert UUID(str(second["action_id"])).version == 7
    assert (told.code, first["answered"]) == (0, False)


def test_without_an_engine_the_lines_are_stored_and_the_next_one_applies_them(sends: Sends, commands: Commands) -> None:
    told = sends(*({**key(number), "trigger": "cancel"} for number in range(BATCH + 1)), "--timeout", "0.2")
    assert told.code == 3
    assert told.out.startswith(f"{BATCH + 1} lines: {BATCH + 1} stored without an answer")
    assert told.err == (
        "there was no store at store.db: made one\n"
        f"no engine runs on {STORE}, so actions are stored for the next: onex run APP; "
        "this command waits 0.2 s for an answer\n"
    )
    fill(ORDERS, [])
    assert commands("ls", "--count", "--json").row == {"type": "orders", "status": "cancelled", "instances": BATCH + 1}


def test_an_engine_that_ends_meanwhile_is_told_while_answers_are_awaited(
    engine: Process, processes: type[Process]
) -> None:
    sending = processes("submit", "-", "--timeout", "600", stdin=subprocess.PIPE)
    assert sending.popen.stdin is not None
    engine.end(signal.SIGTERM)
    sending.popen.stdin.write(json.dumps({**key(1), **PLACE}) + "\n")
    sending.popen.stdin.flush()
    assert "so actions are stored for the next: onex run APP; this command waits 600 s" in sending.until(
        "no engine runs"
    )
    assert sending.end(signal.SIGINT).code == 130


def test_nothing_on_standard_input_is_nothing_to_send(sends: Sends) -> None:
    told = sends("--no-wait")
    assert (told.code, told.out.split("  (")[0]) == (0, "0 lines: nothing to send")
    told = sends()
    assert (told.code, told.out.split("  (")[0], told.err) == (0, "0 lines: nothing to send", "")


def test_a_last_line_needs_no_line_break(processes: type[Process]) -> None:
    process = processes("submit", "-", "--no-wait", "--json", stdin=subprocess.PIPE)
    told = process.end_with('{"key": "orders:1", "trigger": "cancel"}')
    assert told.row["line"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_how_many_are_durable_and_leaves_nothing_broken(
    number: signal.Signals, processes: type[Process], commands: Commands
) -> None:
    process = processes("submit", "-", "--json", "--no-wait", stdin=subprocess.PIPE)
    assert process.popen.stdin is not None
    assert process.popen.stdout is not None
    for one in range(3):
        process.popen.stdin.write(json.dumps({**key(one), "trigger": "cancel"}) + "\n")
        process.popen.stdin.flush()
        process.popen.stdout.readline()
    process.popen.send_signal(number)
    told = process.end()
    assert told.code == 128 + number
    assert told.err == (
        "there was no store at store.db: made one\nstopped after 3 lines: 3 actions durable; no later line was sent\n"
    )
    fill(ORDERS, [])
    assert commands("ls", "--count", "--json").row["instances"] == 3


def test_what_a_line_says_elsewhere_is_not_said_again(commands: Commands) -> None:
    told = commands("submit", "-", "cancel")
    assert (told.code, told.err) == (
        2,
        "onex: onex submit - reads trigger, payload and ids from its lines; leave them out here\n",
    )
    assert "the trigger is missing" in commands("submit", "orders:1").err


def test_a_store_that_cannot_be_opened_is_an_error_of_its_own(sends: Sends, place: Path) -> None:
    (place / "store.db").write_text("not a database, and long enough to be looked at" * 100)
    told = sends({**key(1), "trigger": "cancel"})
    assert told.code == 3
    assert "store.db" in told.err
