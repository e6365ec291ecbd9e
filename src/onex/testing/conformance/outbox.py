"""The outbox: every intent that was committed waits until a commit settles it; a timer is one by (instance, name)."""

from __future__ import annotations

from collections.abc import Iterable

from ...ports import Conflict, EnumOutboxState, NewIntent, Note, OutboxRow, Pointer
from .owner import A, B, C, Owner, action, row
from .suite import Place, Suite, behaviour

WAITING, HELD, DEAD = EnumOutboxState.WAITING, EnumOutboxState.HELD, EnumOutboxState.DEAD
CANCELLED = EnumOutboxState.CANCELLED
NOW = NewIntent(0, 2)
EVER = 10**18


def timer(ordinal: int, due_us: int, name: str = "remind") -> NewIntent:
    return NewIntent(ordinal, 2, due_us, name)


def at(rows: Iterable[OutboxRow]) -> list[tuple[int, int]]:
    return [(one.pointer.n, one.pointer.ordinal) for one in rows]


async def waiting(owner: Owner) -> list[tuple[int, int]]:
    """Where intents and timers wait, by n."""
    store = owner.store
    return sorted(at(await store.waiting(None, 100, None)) + at(await store.waiting(None, 100, EVER)))


class Outbox(Suite):
    @behaviour
    async def test_an_intent_waits_with_all_that_delivery_needs(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"), row("a2", NewIntent(3, 1, 55)))
        assert await owner.store.waiting(None, 10, None) == [
            OutboxRow(
                Pointer(0, 2, 3), A, 2, action("a2"), action("of a2"), b"intents of a2", WAITING, 1, 55, 0, False, 0,
                "", b"", "", 3, code_id=owner.code_id,
            )
        ]  # fmt: skip

    @behaviour
    async def test_intents_wait_in_pointer_order_and_can_be_paged(self, place: Place) -> None:
        owner = await place.owner()
        await owner.commit(
            owner.change(B, row("b1", NewIntent(0, 4), NewIntent(2, 0))), owner.change(A, row("a1", NewIntent(1, 2)))
        )
        assert at(await owner.store.waiting(None, 10, None)) == [(1, 0), (1, 2), (2, 1)]
        assert at(await owner.store.waiting(None, 2, None)) == [(1, 0), (1, 2)]
        assert at(await owner.store.waiting(Pointer(0, 1, 0), 10, None)) == [(1, 2), (2, 1)]

    @behaviour
    async def test_an_outcome_and_the_settling_of_its_intent_are_one_commit(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", NOW, NewIntent(1, 2)))
        await owner.apply(A, row("outcome", NOW), settled=(Pointer(0, 1, 0),))
        assert await waiting(owner) == [(1, 1), (2, 0)]

    @behaviour
    async def test_a_conflict_settles_nothing_and_emits_nothing(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", NOW))
        (outcome,) = await owner.commit(
            owner.change(A, row("a2", NOW, timer(1, 5)), based_on=0, settled=(Pointer(0, 1, 0),))
        )
        assert isinstance(outcome, Conflict)
        assert await waiting(owner) == [(1, 0)]

    @behaviour
    async def test_settling_what_is_gone_fails_nothing(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"), settled=(Pointer(0, 1, 0), Pointer(0, 99, 7)))
        await owner.commit(settled=(Pointer(0, 99, 7),))
        assert (await owner.stored(A)).version == 1

    @behaviour
    async def test_an_intent_is_settled_without_an_action(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", NOW, NewIntent(1, 2)))
        await owner.commit(settled=(Pointer(0, 1, 1),))
        assert await waiting(owner) == [(1, 0)]
        assert (await owner.stored(A)).version == 1

    @behaviour
    async def test_a_note_records_the_next_try(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", NOW))
        await owner.commit(notes=(Note(Pointer(0, 1, 0), WAITING, 2, 99, True, 1, b"", "timed out"),))
        (waits,) = await owner.store.waiting(None, 10, None)
        assert (waits.state, waits.attempt, waits.due_us, waits.started, waits.crashes) == (WAITING, 2, 99, True, 1)
        assert waits.error == "timed out"

    @behaviour
    async def test_a_start_is_of_the_newest_owner_or_of_one_before(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", NOW, NewIntent(1, 2)))
        await owner.commit(notes=(Note(Pointer(0, 1, 0), WAITING, 1, started=True),))
        rows = await owner.store.waiting(None, 10, None)
        assert [(one.started, one.started_now) for one in rows] == [(True, True), (False, False)]
        await owner.store.close()
        rows = await (await place.owner()).store.waiting(None, 10, None)
        assert [(one.started, one.started_now) for one in rows] == [(True, False), (False, False)]

    @behaviour
    async def test_a_held_result_is_kept_aside(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", NOW, NewIntent(1, 2)))
        await owner.commit(notes=(Note(Pointer(0, 1, 0), HELD, 1, result=b"\x00result", error="it raised"),))
        assert await waiting(owner) == [(1, 1)]
        (held,) = await owner.store.outbox([HELD], None, None, 10)
        assert (held.pointer, held.state, held.result, held.error) == (
            Pointer(0, 1, 0), HELD, b"\x00result", "it raised",
        )  # fmt: skip

    @behaviour
    async def test_a_dead_intent_can_wait_again(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", NOW))
        await owner.commit(notes=(Note(Pointer(0, 1, 0), DEAD, 5, error="refused"),))
        assert await waiting(owner) == []
        await owner.commit(notes=(Note(Pointer(0, 1, 0), WAITING, 1),))
        assert await waiting(owner) == [(1, 0)]
        assert await owner.store.outbox([DEAD], None, None, 10) == []

    @behaviour
    async def test_one_that_was_cancelled_while_it_ran_waits_no_more_and_is_kept(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", NOW, NewIntent(1, 2)))
        await owner.apply(A, row("a2"), settled=(Pointer(0, 1, 1),), notes=(Note(Pointer(0, 1, 0), CANCELLED),))
        assert await waiting(owner) == []
        (told,) = await owner.store.outbox([CANCELLED], A, None, 10)
        assert (told.pointer, told.state) == (Pointer(0, 1, 0), CANCELLED)
        await owner.apply(A, row("a3"), settled=(Pointer(0, 1, 0),))
        assert await owner.store.outbox([CANCELLED], None, None, 10) == []

    @behaviour
    async def test_a_note_to_a_settled_intent_says_nothing(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", NOW))
        await owner.apply(A, row("a2"), settled=(Pointer(0, 1, 0),))
        await owner.commit(notes=(Note(Pointer(0, 1, 0), DEAD, 5),))
        assert await owner.store.outbox([WAITING, HELD, DEAD], None, None, 10) == []

    @behaviour
    async def test_hostile_text_in_an_error_fails_no_commit(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", NOW))
        await owner.commit(notes=(Note(Pointer(0, 1, 0), DEAD, error="a\ud800b\x00c"),))
        (dead,) = await owner.store.outbox([DEAD], None, None, 10)
        assert dead.error == "a\\ud800b\\x00c"

    @behaviour
    async def test_the_outbox_is_listed_by_state_and_key(self, place: Place) -> None:
        owner = await place.owner()
        await owner.commit(*(owner.change(key, row("one", NOW, NewIntent(1, 2), timer(2, 9))) for key in (A, B)))
        await owner.commit(notes=(Note(Pointer(0, 1, 1), DEAD), Note(Pointer(0, 2, 0), HELD)))
        listed = owner.store.outbox
        assert at(await listed([WAITING], None, None, 10)) == [(1, 0), (1, 2), (2, 1), (2, 2)]
        assert at(await listed([HELD, DEAD], None, None, 10)) == [(1, 1), (2, 0)]
        assert at(await listed([WAITING, HELD, DEAD], B, None, 10)) == [(2, 0), (2, 1), (2, 2)]
        assert at(await listed([WAITING], None, Pointer(0, 1, 0), 2)) == [(1, 2), (2, 1)]
        assert await listed([], None, None, 10) == []

    @behaviour
    async def test_timers_wait_apart_and_are_found_before_they_are_due(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", timer(0, 300, "late"), NewIntent(1, 2), timer(2, 100, "early")))
        found = owner.store.waiting
        assert at(await found(None, 10, None)) == [(1, 1)]
        assert at(await found(None, 10, 100)) == []
        assert at(await found(None, 10, 101)) == [(1, 2)]
        assert at(await found(None, 10, 301)) == [(1, 0), (1, 2)]
        assert at(await found(Pointer(0, 1, 0), 10, 301)) == [(1, 2)]
        assert at(await found(None, 1, 301)) == [(1, 0)]

    @behaviour
    async def test_an_instance_is_loaded_with_its_timers(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", timer(0, 300, "late"), NewIntent(1, 2)), row("a2", timer(0, 100, "early")))
        await owner.apply(B, row("b1", timer(0, 7)))
        assert (await owner.stored(A)).timers == {"late": (Pointer(0, 1, 0), 300), "early": (Pointer(0, 2, 0), 100)}
        assert (await owner.stored(B)).timers == {"remind": (Pointer(0, 3, 0), 7)}

    @behaviour
    async def test_a_timer_set_again_replaces_the_one_before(self, place: Place) -> None:
        owner = await place.owner()
        await owner.commit(*(owner.change(key, row("one", timer(0, 100), timer(1, 50, "other"))) for key in (A, B)))
        await owner.apply(A, row("two", timer(0, 200)))
        assert (await owner.stored(A)).timers == {"remind": (Pointer(0, 3, 0), 200), "other": (Pointer(0, 1, 1), 50)}
        assert (await owner.stored(B)).timers["remind"] == (Pointer(0, 2, 0), 100)
        assert await waiting(owner) == [(1, 1), (2, 0), (2, 1), (3, 0)]

    @behaviour
    async def test_of_a_timer_set_twice_in_one_change_the_last_one_stands(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", timer(0, 100)), row("a2", timer(0, 200), timer(1, 300)), row("a3"))
        assert await waiting(owner) == [(2, 1)]

    @behaviour
    async def test_a_settled_timer_is_gone_from_its_instance(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", timer(0, 100), timer(1, 200, "other")))
        await owner.apply(A, row("fired"), settled=(Pointer(0, 1, 0),))
        assert (await owner.stored(A)).timers == {"other": (Pointer(0, 1, 1), 200)}

    @behaviour
    async def test_a_timer_set_and_ended_in_one_commit_is_gone(self, place: Place) -> None:
        owner = await place.owner()
        for key in (A, B):
            await owner.apply(key, row("one"))
        await owner.commit(
            owner.change(A, row("two", timer(0, 100))),
            owner.change(A, row("three"), based_on=2, terminal=True, status="done"),
            owner.change(B, row("two", timer(0, 100))),
            owner.change(B, row("three", timer(0, 200)), based_on=2),
        )
        assert (await owner.stored(A)).timers == {}
        assert (await owner.stored(B)).timers == {"remind": (Pointer(0, 6, 0), 200)}
        assert await waiting(owner) == [(6, 0)]

    @behaviour
    async def test_a_held_timer_is_no_waiting_timer(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", timer(0, 100)))
        await owner.commit(notes=(Note(Pointer(0, 1, 0), HELD, 1, due_us=100, result=b"fired"),))
        assert (await owner.stored(A)).timers == {}
        await owner.apply(A, row("a2", timer(0, 200)))
        assert at(await owner.store.outbox([HELD], None, None, 10)) == [(1, 0)]
        assert (await owner.stored(A)).timers == {"remind": (Pointer(0, 2, 0), 200)}

    @behaviour
    async def test_a_terminal_status_removes_every_timer_and_no_intent(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", timer(0, 100), timer(1, 200, "other"), NewIntent(2, 2)))
        await owner.apply(B, row("b1", timer(0, 100)))
        await owner.apply(A, row("a2", timer(0, 300), NewIntent(1, 2)), terminal=True, status="done")
        await owner.apply(C, row("c1", timer(0, 100)), terminal=True, status="done")
        assert await waiting(owner) == [(1, 2), (2, 0), (3, 1)]
        assert (await owner.stored(A)).timers == {}
