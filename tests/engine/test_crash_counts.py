"""What was running when a process ended is counted, runs alone, and is refused at three; what returned has no count."""

from __future__ import annotations

import asyncio

import pytest

from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.crash_counts import CRASHES_REFUSED, CRASHES_STUCK, CrashCounts, action_name, reading_name, row_name
from onex.engine.pending import Pending
from onex.kernel.action import NOTHING, WorkflowKey
from onex.kernel.errors import EngineClosed, KilledItsProcess, OwnershipLost
from onex.ports import STUCK, Pointer

DEAD: list[object] = []
"""Bodies that are never left. Dropped, they would be closed in order, which is what a crash does not do."""

A, B, C = (reading_name(n) for n in (1, 2, 3))


class Machine:
    """A store's tables, and one process after the other on them."""

    def __init__(self) -> None:
        self.tables = Tables()

    async def start(self) -> CrashCounts:
        self.tables.owner = None
        store = MemoryStore(self.tables)
        await store.own("test")
        counts = CrashCounts(store)
        await counts.read_last_run()
        return counts


def crash(counts: CrashCounts, *names: bytes) -> None:
    """The process ends while user code sees ``names``: nothing behind it runs any more."""
    body = counts.running(names)
    body.__enter__()
    DEAD.append(body)


def test_one_met_alone_is_refused_after_three_crashes() -> None:
    asyncio.run(_test_one_met_alone_is_refused_after_three_crashes())


async def _test_one_met_alone_is_refused_after_three_crashes() -> None:
    machine = Machine()
    for crashes in range(CRASHES_REFUSED):
        counts = await machine.start()
        assert counts.crashes == ({A: crashes} if crashes else {})
        assert counts.refusal(A) is None
        crash(counts, A)
    counts = await machine.start()
    assert isinstance(counts.refusal(A), KilledItsProcess)


def test_one_that_was_stuck_alone_is_refused_at_once_and_stays_so_over_a_restart() -> None:
    asyncio.run(_test_one_that_was_stuck_alone_is_refused_at_once_and_stays_so_over_a_restart())


async def _test_one_that_was_stuck_alone_is_refused_at_once_and_stays_so_over_a_restart() -> None:
    machine = Machine()
    crash(await machine.start(), A)
    machine.tables.judging = STUCK + b"app.py:7 in look\n" + machine.tables.judging
    counts = await machine.start()
    assert counts.stuck_at == "app.py:7 in look"
    refused = counts.refusal(A)
    assert isinstance(refused, KilledItsProcess) and "app.py:7 in look" in refused.message
    crash(counts, B)
    assert (await machine.start()).crashes == {A: CRASHES_STUCK, B: 1}


def test_of_several_that_were_stuck_together_each_runs_alone_next() -> None:
    asyncio.run(_test_of_several_that_were_stuck_together_each_runs_alone_next())


async def _test_of_several_that_were_stuck_together_each_runs_alone_next() -> None:
    machine = Machine()
    crash(await machine.start(), A, B)
    machine.tables.judging = STUCK + b"app.py:7 in look\n" + machine.tables.judging
    assert (await machine.start()).crashes == {A: 1, B: 1}


def test_of_several_at_once_each_gets_one_crash_and_no_more_until_it_is_met_alone() -> None:
    asyncio.run(_test_of_several_at_once_each_gets_one_crash_and_no_more_until_it_is_met_alone())


async def _test_of_several_at_once_each_gets_one_crash_and_no_more_until_it_is_met_alone() -> None:
    machine = Machine()
    for _ in range(5):
        crash(await machine.start(), A, B, C)
    counts = await machine.start()
    assert counts.crashes == {A: 1, B: 1, C: 1}
    assert counts.any_crashed([B])


def test_whoever_returns_is_no_suspect_and_others_stay() -> None:
    asyncio.run(_test_whoever_returns_is_no_suspect_and_others_stay())


async def _test_whoever_returns_is_no_suspect_and_others_stay() -> None:
    machine = Machine()
    crash(await machine.start(), A, B)
    counts = await machine.start()
    with counts.running([A]):
        pass
    with pytest.raises(ValueError, match="told"), counts.running([C]):
        raise ValueError("told")
    assert counts.crashes == {B: 1}
    assert (await machine.start()).crashes == {B: 1}


def test_one_that_was_refused_before_user_code_saw_it_keeps_its_count() -> None:
    """Else it would have to end its process three times in a row with nothing between: a held timer that is looked at
    again meanwhile would never be refused."""
    asyncio.run(_test_one_that_was_refused_before_user_code_saw_it_keeps_its_count())


async def _test_one_that_was_refused_before_user_code_saw_it_keeps_its_count() -> None:
    machine = Machine()
    crash(await machine.start(), A, B)
    counts = await machine.start()
    with counts.running([A, B]) as unseen:
        unseen.add(A)
    assert counts.crashes == {A: 1}
    assert (await machine.start()).crashes == {A: 1}


def test_a_refusal_stands_until_it_is_durable_then_the_count_begins_anew() -> None:
    asyncio.run(_test_a_refusal_stands_until_it_is_durable_then_the_count_begins_anew())


async def _test_a_refusal_stands_until_it_is_durable_then_the_count_begins_anew() -> None:
    machine = Machine()
    for _ in range(CRASHES_REFUSED):
        crash(await machine.start(), A)
    await machine.start()
    counts = await machine.start()
    assert counts.refusal(A) is not None
    counts.forget(A)
    assert counts.refusal(A) is None
    assert (await machine.start()).crashes == {}


def test_an_engine_that_ends_forgets_no_count() -> None:
    """Its answer to those who wait is not the end of what they sent: the next owner meets it again."""
    asyncio.run(_test_an_engine_that_ends_forgets_no_count())


async def _test_an_engine_that_ends_forgets_no_count() -> None:
    sent = Pending(
        WorkflowKey("job", "1"), "add", NOTHING, id=bytes(16), given_id=True, issued_us=0, correlation=bytes(16), body=b"",
        body_hash=b"", accepted_s=0.0, ticket=1,
    )  # fmt: skip
    name, machine = action_name(sent), Machine()
    crash(await machine.start(), name)
    counts = await machine.start()
    for lost in (EngineClosed("ended"), OwnershipLost("another has it")):
        counts.answered(sent, lost)
        assert counts.crashes == {name: 1}
    counts.answered(sent, KilledItsProcess("three times"))
    assert counts.crashes == {}


def test_a_full_batch_fits_the_record() -> None:
    asyncio.run(_test_a_full_batch_fits_the_record())


async def _test_a_full_batch_fits_the_record() -> None:
    machine = Machine()
    crowd = [row_name(Pointer(0, n, 1)) for n in range(1024)]
    crash(await machine.start(), *crowd)
    assert set((await machine.start()).crashes) == set(crowd)
