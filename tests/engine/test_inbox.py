"""The inbox: what other processes send is taken in order and answered once, even if the engine stops in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import pytest
from pydantic import JsonValue

from onex.engine.limits import Limits
from onex.engine.operator_requests import REDRIVE, RELEASE
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import ModelAction, WorkflowKey
from onex.kernel.errors import FencedError, Overloaded, ReservedKind, TemporaryDatabaseError
from onex.ports import Applied, Commit, Conflict, EnumOutboxState, OutboxRow
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Job, Told

K = WorkflowKey("job", "1")
AN_ID = UUID("6f1d1b5e-4f0a-4c8e-9a54-0e0e5b0c7a01")
DONE = {"done": True}


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]  # each test is a coroutine function of its own


def wire(kind: str, payload: dict[str, JsonValue] | None = None, key: WorkflowKey = K, **more: JsonValue) -> bytes:
    action = ModelAction.model_validate({"workflow_key": key, "kind": kind, "command_payload": payload or {}, **more})
    return action.model_dump_json(exclude_none=True).encode()


class OtherProcess:
    """Another process: it sends, and asks for its answers."""

    def __init__(self, one_store: OneStore) -> None:
        self.one_store = one_store
        self.tickets: list[int] = []

    async def send(self, *bodies: bytes) -> None:
        store = await self.one_store.store()
        for body in bodies:
            self.tickets.append(await store.send(body, 0))
        await store.close()

    async def answered(self) -> list[dict[str, JsonValue]]:
        """The answers to all that was sent, in the order it was sent."""
        store = await self.one_store.store()
        answers: list[dict[str, JsonValue]] = []
        for ticket in self.tickets:
            while (answer := await store.answer(ticket)) is None:
                await asyncio.sleep(0.005)
            answers.append(json.loads(answer))
        await store.close()
        return answers


def codes(answers: Sequence[dict[str, JsonValue]]) -> list[JsonValue]:
    """What each came to: a version, ``done``, or the error's code."""
    return [
        error["code"] if isinstance(error := one.get("error"), dict) else "done" if one == DONE else one["version"]
        for one in answers
    ]


async def stopped(engine: ReducerPatternEngine) -> list[OutboxRow]:
    return list(await engine.reader.outbox((EnumOutboxState.DEAD, EnumOutboxState.HELD), None, None, 100))


async def dead_message(engine: ReducerPatternEngine) -> str:
    """The pointer of a message from K that ``job:2`` refused; it accepts it after ``again``."""
    await engine.submit("job:2", "wake_me", Add(amount=0))
    await engine.wait("job:2", until="rung")
    await engine.submit(K, "tell", Told(text="2"))
    await engine.idle()
    (row,) = await stopped(engine)
    return ":".join(map(str, row.pointer))


# --- actions ------------------------------------------------------------------------------------------------------------


def test_what_one_process_sends_is_judged_in_the_order_sent(one_store: OneStore) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        await sender.send(*[wire("add", {"amount": amount}) for amount in (1, 2, 4, 8)], wire("start", {"text": "x"}))
        async with one_store.engine() as engine:
            assert codes(await sender.answered()) == [1, 2, 3, 4, 5]
            log = await engine.reader.history(K, 0, 4)
            assert [entry.row.payload for entry in log] == [b'{"amount":%d}' % n for n in (1, 2, 4, 8)]

    run(go())


def test_the_same_action_twice_in_the_inbox_is_applied_once_and_answered_twice(one_store: OneStore) -> None:
    async def go() -> None:
        sender, body = OtherProcess(one_store), wire("add", {"amount": 2}, action_id=str(AN_ID))
        await sender.send(body, body, wire("add", {"amount": 4}))
        async with one_store.engine() as engine:
            assert codes(await sender.answered()) == [1, 1, 2]
            assert await engine.state(K) == Job(status="new", count=6)

    run(go())


def test_a_duplicate_after_a_restart_gets_the_first_answer_again(one_store: OneStore) -> None:
    async def go() -> None:
        sender, body = OtherProcess(one_store), wire("add", {"amount": 2}, action_id=str(AN_ID))
        await sender.send(body)
        async with one_store.engine():
            first = await sender.answered()
        await sender.send(body)
        async with one_store.engine() as engine:
            assert await sender.answered() == [*first, {**first[0], "duplicate": True}]
            assert await engine.state(K) == Job(status="new", count=2)

    run(go())


def test_an_id_with_another_body_is_refused_in_the_inbox_too(one_store: OneStore) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        await sender.send(*[wire("add", {"amount": amount}, action_id=str(AN_ID)) for amount in (2, 4)])
        async with one_store.engine() as engine:
            assert codes(await sender.answered()) == [1, "duplicate_action"]
            assert await engine.state(K) == Job(status="new", count=2)

    run(go())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"no JSON",
        b"[" * 100,
        b"null",
        b"{}",
        b'{"workflow_key":["job","1"],"kind":"add","kind":"start"}',
        b'{"workflow_key":["job","1"],"kind":"add","surprise":1}',
        b'{"workflow_key":"job:1","kind":"add"}',
        b'{"workflow_key":["job","1"],"kind":"add","action_id":"7"}',
        b'{"workflow_key":["job","1"],"kind":"@release","surprise":1}',
    ],
)
def test_what_cannot_be_read_is_answered_recorded_and_stops_nothing(one_store: OneStore, body: bytes) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        await sender.send(body, wire("add"))
        async with one_store.engine() as engine:
            assert codes(await sender.answered()) == ["invalid_payload", 1]
            (record,) = await engine.reader.rejections("inbox", None, 0, 10)
            assert (record.code, record.body) == ("invalid_payload", body)

    run(go())


# --- a crash between taking and answering -------------------------------------------------------------------------------


def lose(engine: ReducerPatternEngine, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The engine loses its store at the commit behind the next ``after``: as in a crash, nothing of it is written."""
    commit, left = engine.store.commit, iter(range(after))

    async def until_lost(batch: Commit) -> Sequence[Applied | Conflict]:
        if next(left, None) is None:
            raise FencedError("another process owns it now")
        return await commit(batch)

    monkeypatch.setattr(engine.store, "commit", until_lost)


async def ended(engine: ReducerPatternEngine) -> None:
    while engine.service.closed is None:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("after", [0, 1])
def test_what_was_taken_is_answered_once_though_the_engine_ends_at_a_commit(
    one_store: OneStore, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        async with one_store.engine() as engine:
            lose(engine, monkeypatch, after)
            await sender.send(wire("add", {"amount": 2}, action_id=str(AN_ID)))
            if after:
                await sender.answered()
            await sender.send(wire("add", {"amount": 4}))
            await ended(engine)
        async with one_store.engine() as engine:
            assert codes(await sender.answered()) == [1, 2]
            assert await engine.state(K) == Job(status="new", count=6)

    run(go())


def test_an_intent_driven_again_is_answered_in_the_commit_that_does_it(
    one_store: OneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next owner would drive it once more, if it had died again (seed 221 of the campaign)."""

    async def go() -> None:
        sender = OtherProcess(one_store)
        async with one_store.engine() as engine:
            pointer = await dead_message(engine)
            await engine.submit("job:2", "again")
            lose(engine, monkeypatch, 1)  # the note that it runs again is written, and nothing after it
            await sender.send(wire(REDRIVE, {"pointer": pointer}))
            await ended(engine)
        async with one_store.engine() as engine:
            assert codes(await sender.answered()) == ["done"]
            await engine.idle()
            assert await engine.state("job:2") == Job(status="new", count=5)

    run(go())


# --- requests -----------------------------------------------------------------------------------------------------------


def test_a_held_instance_is_released_between_the_actions_before_and_behind(one_store: OneStore) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        async with one_store.engine() as engine:
            amounts = [1, 13, 13, 13, 2]
            await sender.send(*[wire("add", {"amount": amount}) for amount in amounts], wire(RELEASE), wire("add"))
            assert codes(await sender.answered()) == [1, *3 * ["reducer_failed"], "instance_held", "done", 2]
            assert await engine.state(K) == Job(status="new", count=2)

    run(go())


def test_a_dead_intent_runs_again_when_an_operator_asks(one_store: OneStore) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        async with one_store.engine() as engine:
            body = wire(REDRIVE, {"pointer": await dead_message(engine)})
            await sender.send(wire("again", key=WorkflowKey("job", "2")), body)
            assert codes(await sender.answered()) == [3, "done"]
            await engine.idle()
            assert await stopped(engine) == []
            await sender.send(body)
            assert codes(await sender.answered())[-1] == "nothing_stopped"
            assert await engine.state("job:2") == Job(status="new", count=5)

    run(go())


MALFORMED: dict[str, tuple[bytes, str]] = {
    "a release with a payload": (wire(RELEASE, {"now": True}), "invalid_payload"),
    "a re-drive without a pointer": (wire(REDRIVE), "invalid_payload"),
    "a pointer that is a number": (wire(REDRIVE, {"pointer": 12}), "invalid_payload"),
    "a pointer of two parts": (wire(REDRIVE, {"pointer": "0:12"}), "invalid_payload"),
    "a pointer beyond every store": (wire(REDRIVE, {"pointer": f"0:{9 * 10**30}:0"}), "invalid_payload"),
    "a pointer of other digits": (wire(REDRIVE, {"pointer": "0:\u0661:0"}), "invalid_payload"),
    "a pointer to nothing": (wire(REDRIVE, {"pointer": "0:1:0"}), "nothing_stopped"),
    "a pointer in another shard": (wire(REDRIVE, {"pointer": "7:1:0"}), "nothing_stopped"),
    "a key that is none": (wire(RELEASE, key=WorkflowKey("Job", "1")), "invalid_key"),
    "a workflow nobody runs": (wire(RELEASE, key=WorkflowKey("pie", "1")), "unknown_workflow"),
    "a control that is over": (wire(RELEASE, expires_at="2020-01-01T00:00:00Z"), "action_expired"),
    "a control that nobody knows": (wire("@shutdown"), "reserved_kind"),
    "a control in capitals": (wire("@Release"), "reserved_kind"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_answered_with_a_named_error_and_stops_nothing(one_store: OneStore, name: str) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        body, code = MALFORMED[name]
        await sender.send(body, wire("add"))
        async with one_store.engine() as engine:
            assert codes(await sender.answered()) == [code, 1]
            (record,) = await engine.reader.rejections(None, None, 0, 10)
            assert record.code == code

    run(go())


def test_a_pointer_of_another_instance_is_refused(one_store: OneStore) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        async with one_store.engine() as engine:
            pointer = await dead_message(engine)
            await sender.send(wire(REDRIVE, {"pointer": pointer}, key=WorkflowKey("job", "2")))
            assert codes(await sender.answered()) == ["nothing_stopped"]
            assert len(await stopped(engine)) == 1

    run(go())


def test_a_request_that_fails_by_a_fault_of_the_engine_is_answered_and_stops_nothing(one_store: OneStore) -> None:
    async def go() -> None:
        sender = OtherProcess(one_store)
        async with one_store.engine() as engine:

            async def broken(key: WorkflowKey, payload: Mapping[str, JsonValue], in_commit: object) -> None:
                raise ZeroDivisionError("ours \udc80")

            engine.inbox.handlers = {RELEASE: broken}
            await sender.send(wire(RELEASE), wire("add"))
            assert codes(await sender.answered()) == ["onex", 1]

    run(go())


def test_a_request_waits_for_a_store_that_fails_for_now(one_store: OneStore) -> None:
    async def go() -> None:
        sender, fails = OtherProcess(one_store), iter([TemporaryDatabaseError("not now")])
        async with one_store.engine() as engine:

            async def at_the_second_try(key: WorkflowKey, payload: Mapping[str, JsonValue], in_commit: object) -> None:
                for error in fails:
                    raise error

            engine.inbox.handlers = {RELEASE: at_the_second_try}
            await sender.send(wire(RELEASE), wire("add"))
            assert codes(await sender.answered()) == ["done", 1]

    run(go())


def test_in_the_process_of_the_engine_a_request_is_no_action(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", Add())
            for kind in (RELEASE, REDRIVE):
                with pytest.raises(ReservedKind, match=f"'{kind}' is the engine's own"):
                    await engine.submit(K, kind)

    run(go())


def test_an_overloaded_engine_takes_from_the_inbox_though_it_is_never_quiet(one_store: OneStore) -> None:
    """More is submitted here than may wait, without a pause: what others send is taken as room comes, not when all is done."""

    sent = WorkflowKey("job", "sent")

    async def go() -> None:
        sender = OtherProcess(one_store)
        async with one_store.engine(limits=Limits(waiting=4, batch=2)) as engine:

            async def flood(name: str) -> None:
                while True:
                    with suppress(Overloaded):
                        await engine.submit(f"job:{name}", "add")
                    await asyncio.sleep(0)

            floods = [asyncio.create_task(flood(str(n))) for n in range(8)]
            while engine.counters.overloaded == 0:
                await asyncio.sleep(0)
            await sender.send(wire("add", key=sent), wire("add", key=sent))
            assert codes(await sender.answered()) == [1, 2]
            assert engine.counters.overloaded > 0
            for one in floods:
                one.cancel()
            await asyncio.gather(*floods, return_exceptions=True)

    run(go())
