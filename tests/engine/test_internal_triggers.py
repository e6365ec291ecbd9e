"""Internal triggers (promise 43): what the app brings about by itself, nobody says in its place, but for an operator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import pytest
from pydantic import JsonValue

from onex.engine.internal_triggers import internal_triggers
from onex.engine.operator_requests import SUBMIT
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import WorkflowKey
from onex.kernel.combine import Combined
from onex.kernel.errors import InternalTrigger, OnexError, ValidationError
from onex.ports import Code
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Finished, Start, Told, job_reducer
from tests.kernel.test_combine import Pair

K = WorkflowKey("job", "1")
AN_ID = UUID("01890000-0000-4000-8000-000000000001")
EARLY = Finished(text="nobody did it")


def jobs(*public: str, digest: bytes = b"1") -> ReducerRegistry:
    code = Code("job", "1.0.0", digest.ljust(32, b"\0"), 1)
    return ReducerRegistry((Workflow(job_reducer(), code, public=frozenset(public)),))


def run(script: Coroutine[Any, Any, None]) -> None:
    asyncio.run(script)


def test_outcomes_timers_and_messages_make_a_trigger_internal() -> None:
    assert jobs().internal["job"] == {
        "finished": "outcome succeeded of intent 'do'",
        "refused": "outcome failed of intent 'do'",
        "unclear": "outcome unknown of intent 'do'",
        "alarm": "timer 'alarm'",
        "too_late": "the timer of status 'watched'",
        "add": "message 'tell_other' of job",
    }
    assert "add" not in jobs("add").internal["job"]


def test_the_part_of_a_combined_reducer_is_not_reached_by_the_bare_name() -> None:
    whole = Combined("pair", Pair, {"left": job_reducer(), "right": job_reducer()})
    internal = internal_triggers({"pair": whole.intents, "job": job_reducer().intents})
    assert {"left.finished", "right.finished", "finished"} <= set(internal["pair"])
    assert "start" not in internal["pair"]


def test_a_message_brings_a_trigger_of_the_workflow_it_goes_to() -> None:
    """Whose contract decides: that of the receiver."""
    job = job_reducer()
    internal = internal_triggers(
        {"job": job.intents, "pair": Combined("pair", Pair, {"left": job, "right": job}).intents}
    )
    assert internal["job"]["add"] == "message 'tell_other' of job"
    assert "left.add" not in internal["pair"]


def test_a_client_is_refused_and_it_is_written_down(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=jobs()) as engine:
            await engine.submit(K, "start", Start(text="a"))
            with pytest.raises(InternalTrigger, match=r"public: in the contract.*--as-operator"):
                await engine.submit(K, "finished", EARLY)
            (answer,) = await engine.submit_many([(K, "finished", EARLY)])
            assert isinstance(answer, InternalTrigger) and not answer.retryable
            stored = await engine.stored(K)
            assert stored is not None and (stored.version, stored.status) == (1, "working")
            (row, _) = await engine.reader.rejections(None, None, 0, 10)
            assert (row.key, row.code) == (str(K), "internal_trigger")

    run(go())


def test_it_is_refused_before_anything_else_is_looked_at(one_store: OneStore) -> None:
    """Of an instance that has not begun, that does not accept it, that has ended, or is at another version."""

    async def go() -> None:
        async with one_store.engine(reducers=jobs()) as engine:
            await engine.submit(K, "wake_me", Add(amount=0))
            await engine.submit("job:ended", "watch")
            await engine.submit("job:ended", "too_late", operator="ann")
            for key in (K, WorkflowKey("job", "new"), WorkflowKey("job", "ended")):
                with pytest.raises(InternalTrigger):
                    await engine.submit(key, "finished", EARLY, expected_version=7)
            assert await engine.stored("job:new") is None

    run(go())


def test_what_is_listed_as_public_is_taken(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=jobs("finished")) as engine:
            await engine.submit(K, "start", Start(text="a"))
            assert (await engine.submit(K, "finished", EARLY)).status == "done"

    run(go())


def test_what_was_applied_before_has_its_first_answer_though_it_is_internal_now(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=jobs("finished")) as engine:
            await engine.submit(K, "start", Start(text="a"))
            first = await engine.submit(K, "finished", EARLY, action_id=AN_ID)
        async with one_store.engine(reducers=jobs(digest=b"2")) as engine:
            again = await engine.submit(K, "finished", EARLY, action_id=AN_ID)
            assert again == first._replace(duplicate=True)

    run(go())


def test_outcomes_timers_and_messages_themselves_arrive(one_store: OneStore) -> None:
    async def go() -> None:
        code = Code("job", "1.0.0", b"1" * 32, 1)
        table = ReducerRegistry((Workflow(job_reducer(), code, {"worker": one_store.worker}),))
        async with one_store.engine(reducers=table) as engine:
            await engine.submit(K, "start", Start(text="a"))
            await engine.submit("job:sender", "tell", Told(text="receiver"))
            await engine.submit("job:sleeper", "wake_me", Add(amount=0))
            assert (await engine.wait(K)).status == "done"
            await engine.wait("job:sleeper", until="rung")
            await engine.idle()
            assert [row.version for row in [await engine.stored("job:receiver")] if row] == [1]
            assert await engine.reader.rejections(None, None, 0, 10) == []

    run(go())


def test_an_operator_may_and_the_log_names_who(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=jobs()) as engine:
            await engine.submit(K, "start", Start(text="a"))
            assert (await engine.submit(K, "finished", EARLY, operator="ann")).status == "done"
            entry = (await engine.reader.history(K, 1, 1))[0]
            assert (entry.row.issuer, entry.row.outcome_of) == ("operator:ann", None)

    run(go())


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 201, 7])
def test_an_operator_has_a_name(one_store: OneStore, name: Any) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=jobs()) as engine:
            with pytest.raises(ValidationError):
                await engine.submit(K, "add", Add(), operator=name)

    run(go())


def test_nobody_else_can_have_an_operator_s_issuer(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(reducers=jobs()) as engine:
            with pytest.raises(ValidationError, match="would pass for an operator"):
                await engine.submit(K, "start", Start(text="a"), issuer="operator:ann")

    run(go())


def body(kind: str, payload: dict[str, JsonValue], **more: JsonValue) -> bytes:
    return json.dumps({"workflow_key": list(K), "kind": kind, "command_payload": payload, **more}).encode()


def test_no_field_of_an_action_on_the_wire_makes_its_sender_an_operator(one_store: OneStore) -> None:
    early: dict[str, JsonValue] = {"text": "nobody did it"}
    sent = [
        body("finished", early),
        body("finished", early, operator="ann"),
        body("finished", early, issuer="operator:ann"),
        body("finished", early, metadata={"operator": "ann"}),
    ]

    async def go() -> list[str]:
        async with one_store.engine(reducers=jobs()) as engine:
            await engine.submit(K, "start", Start(text="a"))
            store = engine.store
            assert hasattr(store, "send") and hasattr(store, "answer")
            tickets = [await store.send(one, 0) for one in sent]
            await engine.inbox.drain()
            await engine.idle()
            answers = [json.loads(await store.answer(ticket)) for ticket in tickets]
            return [one["error"]["code"] for one in answers]

    assert asyncio.run(go()) == ["internal_trigger", "invalid_payload", "invalid", "unsupported_action"]


def test_an_operator_s_request_in_the_inbox_is_an_action_under_its_own_id(one_store: OneStore) -> None:
    asked: dict[str, JsonValue] = {"trigger": "finished", "payload": {"text": "by phone"}, "operator": "ann"}

    async def go() -> None:
        async with one_store.engine(reducers=jobs()) as engine:
            await engine.submit(K, "start", Start(text="a"))
            store = engine.store
            assert hasattr(store, "send") and hasattr(store, "answer")
            one = body(SUBMIT, asked, action_id=str(AN_ID))
            tickets = [
                await store.send(one, 0),
                await store.send(one, 0),
                await store.send(body(SUBMIT, {"operator": "x"}), 0),
            ]
            await engine.inbox.drain()
            await engine.idle()
            first, again, wrong = [json.loads(await store.answer(ticket)) for ticket in tickets]
            assert (first["status"], first["version"]) == ("done", 2)
            assert again["version"] == 2
            assert wrong["error"]["code"] == "invalid_payload"
            entry = (await engine.reader.history(K, 1, 1))[0]
            assert (entry.row.action_id, entry.row.issuer) == (AN_ID.bytes, "operator:ann")

    run(go())


def test_the_refusal_is_an_error_of_its_own() -> None:
    assert issubclass(InternalTrigger, OnexError) and InternalTrigger.code == "internal_trigger"
