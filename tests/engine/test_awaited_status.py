"""A wait for a status that cannot come says so at once, and names those that can."""

from __future__ import annotations

import asyncio

import pytest

from onex.engine.awaited_status import AwaitedStatus
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import OnexError, StatusUnreachable
from onex.kernel.machine import Guard, Machine, Transition
from onex.ports import Position, Stored
from tests.engine.conftest import OneStore
from tests.engine.jobs import MACHINE, Start

K = WorkflowKey("job", "1")


def test_what_can_come_is_read_off_the_table() -> None:
    assert MACHINE.reachable("working") == {"working", "done", "failed", "in_doubt"}
    assert MACHINE.reachable("watched") == set(MACHINE.statuses)  # back to new, and on from there
    assert MACHINE.reachable("done") == MACHINE.reachable("in_doubt") == frozenset()


def test_a_transition_that_is_never_taken_brings_nothing() -> None:
    perhaps = Guard("a > 1", lambda state, payload: True)
    machine = Machine(
        "new",
        (
            Transition("new", "open", "go", (perhaps,)),
            Transition("new", "kept", "go"),
            Transition("*", "lost", "go"),
            Transition("open", "new", "back"),
        ),
    )
    assert machine.reachable("new") == {"new", "open", "kept", "lost"}  # from "open" only "*" answers "go"
    assert Machine(
        "new", (Transition("new", "kept", "go"), Transition("*", "lost", "go")), frozenset({"kept"})
    ).reachable("new") == {"kept"}


def test_a_status_that_cannot_come_any_more_ends_the_wait_at_once(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="slow"))
            with pytest.raises(StatusUnreachable) as raised:
                await engine.wait(K, until="rung", timeout_s=60)
            assert raised.value.message == (
                "job:1 is in 'working', and status 'rung' cannot come from there; "
                "what can come: working, done, failed, in_doubt"
            )
            assert raised.value.context == {
                "status": "working", "until": "rung", "reachable": ["working", "done", "failed", "in_doubt"],
            }  # fmt: skip

    asyncio.run(go())


def test_a_wait_ends_when_the_instance_takes_another_way(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            waiting = asyncio.create_task(engine.wait(K, until="failed", timeout_s=60))
            await engine.submit(K, "start", Start(text="a"))
            with pytest.raises(
                StatusUnreachable, match=r"^job:1 has ended in 'done', and status 'failed' cannot come$"
            ):
                await waiting
            assert (await engine.wait(K)).status == "done"

    asyncio.run(go())


def test_an_end_that_no_transition_leads_to_is_not_waited_for(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="broken"))
            said = r"^job:1 is in 'in_doubt', and a terminal status cannot come from there; nothing can come$"
            with pytest.raises(StatusUnreachable, match=said):
                await engine.wait(K, timeout_s=60)

    asyncio.run(go())


def test_before_the_first_action_what_follows_the_initial_status_can_come() -> None:
    machine_only = Machine("new", (Transition("new", "done", "end"),), frozenset({"done"}))
    assert machine_only.reachable("new") == {"done"}
    begun = Stored(K, 1, 1, 0, "somewhere", False, b"{}", 1, b"", 1, Position(0, 1), 0, 0, "", None, 0, {})
    for stored in (None, begun):
        AwaitedStatus(K, "anything", None).check(
            stored
        )  # without the code nothing is known, as long as it has not ended
    with pytest.raises(StatusUnreachable, match="has ended in 'somewhere'"):
        AwaitedStatus(K, "anything", None).check(begun._replace(terminal=True))


def test_an_error_in_json_is_the_same_error_again() -> None:
    error = StatusUnreachable("no way", status="a", reachable=["b"])
    again = OnexError.from_json(error.as_json())
    assert (type(again), again.message, again.context) == (StatusUnreachable, "no way", error.context)
    unknown = OnexError.from_json({"code": "of_a_later_release", "message": "what", "correlation_id": "1"})
    assert (type(unknown), unknown.message, unknown.correlation_id) == (OnexError, "what", "1")
