"""The instances kept in memory: bounded by their bytes as by their number, while load goes on; and never let go in use."""

from __future__ import annotations

import asyncio
from collections.abc import Container

import pytest

from onex.engine.limits import Limits
from onex.engine.mailbox import ENTRY_BYTES, Entry, Loaded, Mailboxes
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import OnexError
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Grow, Job, Worker, registry

BOUND = 40 * ENTRY_BYTES


def key(n: int) -> WorkflowKey:
    return WorkflowKey("job", str(n))


def boxes(*states: bytes) -> Mailboxes:
    """Instances 0, 1, ... that hold these states and have nothing to do, as they are after their batch."""
    made = Mailboxes(registry(Worker()))
    for n in range(len(states)):
        made.enqueue(made[key(n)])
    for (entry, _), state in zip(made.take(len(states)), states, strict=True):
        entry.loaded = Loaded(state_bytes=state)
    return made


def kept(made: Mailboxes) -> list[int]:
    return [n for n in range(100) if made.find(key(n)) is not None]


def test_what_is_beyond_the_bytes_is_let_go_the_least_recently_used_first() -> None:
    made = boxes(*[b"x" * 1000] * 10)
    made[key(0)]
    made.evict(100, 3 * (ENTRY_BYTES + 2000))
    assert kept(made) == [0, 8, 9] and made.bytes == 3 * (ENTRY_BYTES + 2000)


def test_what_is_beyond_the_number_is_let_go_though_it_is_small() -> None:
    made = boxes(*[b""] * 10)
    made.evict(4, 1 << 30)
    assert kept(made) == [6, 7, 8, 9] and made.bytes == 4 * ENTRY_BYTES


def test_a_state_of_many_objects_weighs_more_than_one_long_text() -> None:
    text, objects = boxes(b'{"t":"' + b"x" * 990 + b'"}'), boxes(b'[{"a":1,"b":2},' * 66)
    for made in (text, objects):
        made.evict(9, 1 << 30)
    assert objects.bytes > 10 * text.bytes


def test_a_state_that_grew_or_was_forgotten_is_weighed_again() -> None:
    made = boxes(b"x" * 100)
    made.evict(9, 1 << 30)
    for state, bytes_more in ((b"x" * 9000, 18_000), (b"x" * 9001, 18_000), (b"", 0)):
        made.enqueue(made[key(0)])
        made.take(1)[0][0].loaded = Loaded(state_bytes=state)
        made.evict(9, 1 << 30)
        assert made.bytes == ENTRY_BYTES + bytes_more


@pytest.mark.parametrize("use", ["inflight", "queued", "release"])
def test_an_instance_in_use_is_kept_though_there_is_no_room(use: str) -> None:
    made = boxes(*[b""] * 3)
    entry = made[key(0)]
    if use == "queued":
        made.enqueue(entry)
    elif use == "release":
        entry.release = True
    else:
        entry.inflight[b"1"] = None  # type: ignore[assignment]  # nobody looks at what is in flight
    made.evict(0, 0)
    assert kept(made) == [0] and made.bytes == ENTRY_BYTES
    made.evict(0, 0)
    assert kept(made) == [0]


def test_what_was_put_back_by_a_store_that_fails_is_counted_once() -> None:
    made = boxes(b"x" * 1000)
    for _ in range(3):
        (entry,) = [entry for entry, _ in made.take(1)] or [made[key(0)]]
        made.put_back(entry, [])
        made.enqueue(entry)
    made.take(1)
    made.evict(9, 1 << 30)
    assert made.bytes == ENTRY_BYTES


def test_everything_let_go_weighs_nothing() -> None:
    made = boxes(b"x" * 1000)
    made.clear()
    made.evict(9, 0)
    assert made.bytes == 0


def test_the_instances_in_memory_never_pass_their_bytes_under_load_that_never_pauses(one_store: OneStore) -> None:
    """Each batch is followed by the next: there is no quiet moment to let go in. What was let go reads back as it was."""

    async def go() -> None:
        limits = Limits(batch=20, cached_bytes=BOUND)
        async with one_store.engine(limits=limits) as engine:
            mailboxes = engine.service._mailboxes
            seen: list[tuple[int, bool]] = []
            turn = mailboxes.evict

            def evict(most: int, most_bytes: int, folded: Container[Entry] = ()) -> None:
                turn(most, most_bytes, folded)
                seen.append((mailboxes.bytes, mailboxes.ready))

            mailboxes.evict = evict  # type: ignore[method-assign]  # to look right behind it
            answers = await engine.submit_many([(key(n), "add", Add(amount=2 * n)) for n in range(400)])
            assert not [one for one in answers if isinstance(one, OnexError)]
            assert len(seen) >= 20 and sum(ready for _, ready in seen) >= 15
            # what still waits for its batch cannot be let go, and is not the cache's
            waiting = sorted((entry.weight for entry in mailboxes.entries.values()), reverse=True)
            assert seen[-1][0] <= BOUND and sum(waiting) == mailboxes.bytes
            assert len(waiting) < 40
            again = await engine.submit_many([(key(n), "add", Add(amount=1)) for n in range(400)])
            assert {one.version for one in again if not isinstance(one, OnexError)} == {2}
            for n in (0, 7, 399):
                state = await engine.state(key(n))
                assert isinstance(state, Job) and state.count == 2 * n + 1
            assert mailboxes.bytes <= BOUND

    asyncio.run(go())


def test_one_large_instance_drives_out_many_small_ones(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(limits=Limits(cached_bytes=100 * ENTRY_BYTES)) as engine:
            await engine.submit_many([(key(n), "add", Add(amount=2)) for n in range(50)])
            before = len(engine.service._mailboxes.entries)
            await engine.submit(key(0), "grow", Grow(by=40_000))
            assert before == 50 and len(engine.service._mailboxes.entries) < 25
            assert engine.service._mailboxes.bytes <= 100 * ENTRY_BYTES

    asyncio.run(go())
