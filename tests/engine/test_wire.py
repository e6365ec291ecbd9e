"""The wire: what an action may ask there, how large it may be, and what a hand may have written into the inbox."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from onex.engine.intake import id_of_idempotency_key, read_wire, write_wire
from onex.engine.operator_requests import RELEASE
from onex.kernel.action import EnumActionType, ModelAction, WorkflowKey
from onex.kernel.errors import InvalidPayload, OnexError, PayloadTooLarge, UnsupportedAction, ValidationError
from onex.kernel.size_limits import PAYLOAD_BYTES, WIRE_BYTES
from onex.kernel.step import ROLLBACK
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Job
from tests.engine.test_inbox import AN_ID, K, OtherProcess, codes, run, wire

NOT_SERVED = [one for one in EnumActionType if one not in (EnumActionType.UPDATE_STATE, EnumActionType.START_WORKFLOW)]
STATE: dict[str, JsonValue] = {"status": "done", "text": "paid", "count": 0, "why": "", "big": ""}

UNSUPPORTED: dict[str, dict[str, Any]] = {
    **{one.value: {"action_type": one.value} for one in NOT_SERVED},
    **{
        f"for {node}": {"target_node": node}
        for node in ("effect", "compute", "orchestrator", "", "Reducer", "x" * 5000)
    },
    "stamped by its sender": {"issued_at": "2026-11-29T00:00:00Z"},
    "a start at a version": {"action_type": "start_workflow", "expected_version": 2},
    "with metadata": {"metadata": {"trace": "abc"}},
    "an abort of an effect": {"action_type": "abort_workflow", "target_node": "effect"},
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_served_is_refused_by_name_and_recorded(one_store: OneStore, name: str) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        body = wire("add", {"amount": 5}, **UNSUPPORTED[name])
        await sender.send(body, wire("add"), wire(RELEASE, **UNSUPPORTED[name]))
        async with one_store.engine() as engine:
            assert codes(await sender.answered()) == ["unsupported_action", 1, "unsupported_action"]
            assert await engine.state(K) == Job(status="new", count=1)
            rows = await engine.reader.rejections(str(K), None, 0, 10)
            assert [row.code for row in rows] == 2 * ["unsupported_action"]
            assert all(len(row.message) < 400 for row in rows)

    run(go())


def test_update_runs_the_machine_and_start_only_what_has_not_begun(one_store: OneStore) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        start = wire("add", action_type="start_workflow", action_id=str(AN_ID))
        await sender.send(
            wire("add", action_type="update_state", target_node="reducer", key=WorkflowKey("job", "2")),
            start,
            start,
            wire("add", action_type="start_workflow"),
            wire("add", expected_version=3),
            wire("add", expected_version=1),
        )
        async with one_store.engine() as engine:
            answers = await sender.answered()
            assert codes(answers) == [1, 1, 1, "version_conflict", "version_conflict", 2]
            assert await engine.state(K) == Job(status="new", count=2)

    run(go())


@pytest.mark.parametrize("kind", [ROLLBACK, "@", "@release ", "@Rollback", "@shutdown"])
def test_a_kind_of_the_engines_own_is_refused_from_the_wire(one_store: OneStore, kind: str) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        payload: dict[str, JsonValue] = {"to_version": 7, "state": STATE}
        await sender.send(wire("add"), wire(kind, payload), wire(kind, payload, key=WorkflowKey("job", "ghost")))
        async with one_store.engine() as engine:
            assert codes(await sender.answered()) == [1, "reserved_kind", "reserved_kind"]
            assert await engine.stored("job:ghost") is None
            assert await engine.state(K) == Job(status="new", count=1)
            rows = await engine.reader.rejections(None, None, 0, 10)
            assert {(row.key, row.code) for row in rows} == {(str(K), "reserved_kind"), ("job:ghost", "reserved_kind")}

    run(go())


# --- how large it may be ------------------------------------------------------------------------------------------------


def text_of(size: int) -> dict[str, JsonValue]:
    """A payload of ``start`` that has this many bytes as JSON."""
    return {"text": "x" * (size - len('{"text":""}'))}


def test_the_largest_payload_of_the_intake_fits_on_the_wire_with_the_longest_envelope(one_store: OneStore) -> None:
    envelope: dict[str, Any] = {
        "issuer": "\U0001f375" * 1000,
        "action_id": str(AN_ID),
        "correlation_id": str(AN_ID),
        "parent_action_id": str(AN_ID),
        "expires_at": "2100-01-01T00:00:00.000001+01:00",
    }
    key = WorkflowKey("job", "\u20ac" * 66)

    async def go() -> None:
        sender = OtherProcess(one_store)
        body = wire("start", text_of(PAYLOAD_BYTES), key=key, **envelope)
        await sender.send(body, json.dumps(json.loads(body)).encode(), wire("start", text_of(PAYLOAD_BYTES + 1)))
        async with one_store.engine() as engine:
            assert codes(await sender.answered()) == [1, 1, "payload_too_large"]
            assert (await engine.submit("job:3", "start", text_of(PAYLOAD_BYTES))).version == 1

    run(go())


def nested(depth: int) -> dict[str, Any]:
    """``depth`` objects and lists, one in the other."""
    value: Any = []
    for _ in range(depth - 2):
        value = [value]
    return {"text": value}


def test_the_wire_takes_as_many_levels_as_the_intake(one_store: OneStore) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        await sender.send(wire("start", nested(32)), wire("start", nested(33)), b"[" * 10_000)
        async with one_store.engine() as engine:
            answers: list[Any] = await sender.answered()
            told = [one["error"]["message"] for one in answers]
            assert "nested" not in told[0]  # it is no text, but it is not too deep
            assert "nested deeper than 32" in told[1] and "nested deeper than 32" in told[2]
            with pytest.raises(InvalidPayload) as at_the_door:
                await engine.submit("job:2", "start", nested(32))
            assert at_the_door.value.message == told[0]

    run(go())


def test_a_sender_is_told_what_the_door_would_say_before_it_writes() -> None:
    def action(**more: Any) -> ModelAction:
        return ModelAction(**{"workflow_key": K, "kind": "start", **more})

    assert read_wire(write_wire(action(command_payload=text_of(PAYLOAD_BYTES)))).kind == "start"
    refused: list[tuple[ModelAction, type[OnexError]]] = [
        (action(command_payload=text_of(PAYLOAD_BYTES + 1)), PayloadTooLarge),
        (action(command_payload=nested(33)), InvalidPayload),
        (action(command_payload={"text": "\0"}), InvalidPayload),
        (action(command_payload={"text": 2**53 + 1}), InvalidPayload),
        (action(command_payload={"text": float("nan")}), InvalidPayload),
        (action(issuer="x" * WIRE_BYTES), PayloadTooLarge),
        (action(action_type=EnumActionType.CHECKPOINT_STATE), UnsupportedAction),
    ]
    for one, error in refused:
        with pytest.raises(error):
            write_wire(one)


# --- what a hand may have written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["text", '{"workflow_key":["job","1"],"kind":"add"}', 7, 1.5, "\udc80"])
def test_an_inbox_row_that_is_no_bytes_is_that_rows_refusal(tmp_path: Path, body: object) -> None:
    one_store = OneStore("sqlite", tmp_path)

    async def go() -> None:
        sender = OtherProcess(one_store)
        await sender.send(wire("add"))
        with sqlite3.connect(tmp_path / "store.db") as connection:
            as_text = "cast(x'ff' as text)" if body == "\udc80" else "?"
            connection.execute(
                f"insert into inbox(body, at_us) values({as_text}, 0)", () if as_text != "?" else (body,)
            )
            (ticket,) = connection.execute("select max(ticket) from inbox").fetchone()
        connection.close()
        sender.tickets.append(ticket)
        await sender.send(wire("add"))
        async with one_store.engine() as engine:
            assert codes(await sender.answered()) == [1, "invalid_payload", 2]
            (row,) = await engine.reader.rejections("inbox", None, 0, 10)
            assert row.code == "invalid_payload"
        async with one_store.engine() as engine:
            assert (await engine.submit(K, "add", Add())).version == 3

    run(go())


@pytest.mark.parametrize("body", [None, "text", 7, ["x"], bytearray(b"{}")])
def test_what_is_no_bytes_is_no_action(body: object) -> None:
    with pytest.raises(InvalidPayload, match="is bytes, the JSON of a ModelAction"):
        read_wire(body)


@pytest.mark.parametrize("key", [None, 5, "", "a\0", "\ud800", b"x"])
def test_an_idempotency_key_that_is_none_is_refused(key: Any) -> None:
    with pytest.raises(ValidationError, match="idempotency key"):
        id_of_idempotency_key(key)


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "add", "workflow_key": ["job", 5]},
        {"kind": None},
        {"kind": "a\0dd"},
        {"kind": "x" * 100_000},
        {"issuer": "x" * 1001},
        {"issuer": None},
        {"expires_at": "9999-12-31T23:59:59-12:00"},
        {"expires_at": "2026-01-01T00:00:00"},
        {"expires_at": "0001-01-01T00:00:00+14:00"},
        {"expires_at": 1e300},
        {"epoch": -1},
        {"epoch": True},
        {"epoch": "1"},
        {"epoch": 2**53 + 1},
        {"expected_version": -1},
        {"expected_version": True},
        {"expected_version": 2**53 + 1},
        {"lease_id": 5},
        {"command_payload": [1]},
        {"command_payload": "x"},
        {"command_payload": None},
        {"action_type": "explode"},
        {"target_node": None},
        {"x" * 100_000: 1},
    ],
)
def test_a_field_that_is_none_is_that_rows_refusal(one_store: OneStore, more: dict[str, JsonValue]) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        body = {"workflow_key": ["job", "1"], "kind": "add", **more}
        await sender.send(json.dumps(body).encode(), wire("add"))
        async with one_store.engine() as engine:
            told = codes(await sender.answered())
            assert told[1] == 1
            rows = await engine.reader.rejections(None, None, 0, 10)
            assert [row.code for row in rows] == [one for one in told if isinstance(one, str)]
            assert all(len(row.message) < 3000 for row in rows)
            assert told[0] in ("invalid", "invalid_payload", "invalid_key", "action_expired")

    run(go())
