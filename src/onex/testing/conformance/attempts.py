"""Attempts: what a store keeps of the tries of an intent, for how long, and that a settled intent keeps its own."""

from __future__ import annotations

from ...ports import REJECTION_KEPT_US, Attempt, EnumAttempt, NewIntent, Pointer
from ...records import ATTEMPTS_KEPT
from .owner import A, B, row
from .suite import Place, Suite, behaviour

FIRST, SECOND = Pointer(0, 1, 0), Pointer(0, 1, 1)
TWO = (NewIntent(0, 2), NewIntent(1, 2))


def tried(pointer: Pointer, attempt: int, began_us: int = 5) -> Attempt:
    return Attempt(
        pointer,
        attempt,
        began_us,
        began_us + 3,
        EnumAttempt.UNKNOWN,
        "effect_raised",
        f"try {attempt}",
        "a.py:3 in pay",
    )


class KeptAttempts(Suite):
    @behaviour
    async def test_tries_are_read_by_instance_and_intent_in_their_order(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        await owner.commit(owner.change(A, row("a1", *TWO)), owner.change(B, row("b1", NewIntent(0, 2))))
        other = tried(Pointer(0, 2, 0), 1)
        await owner.commit(attempts=(tried(SECOND, 1), tried(FIRST, 1), other))
        await owner.commit(attempts=(tried(FIRST, 2, 9),))
        assert await reader.attempts(A, 10) == [tried(FIRST, 1), tried(FIRST, 2, 9), tried(SECOND, 1)]
        assert await reader.attempts(A, 1) == [tried(FIRST, 2, 9)]
        assert await reader.attempts(B, 10) == [other]

    @behaviour
    async def test_tries_stay_when_their_intent_is_settled(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", *TWO))
        await owner.apply(A, row("a2"), settled=(FIRST,))
        await owner.commit(attempts=(tried(FIRST, 2),), settled=(SECOND,))
        assert await owner.store.attempts(A, 10) == [tried(FIRST, 2)]

    @behaviour
    async def test_a_try_that_is_written_twice_is_one(self, place: Place) -> None:
        """A commit whose answer was lost is sent again."""
        owner = await place.owner()
        await owner.apply(A, row("a1", *TWO))
        await owner.commit(attempts=(tried(FIRST, 1), tried(FIRST, 1)))
        await owner.commit(attempts=(tried(FIRST, 1),))
        assert await owner.store.attempts(A, 10) == [tried(FIRST, 1)]

    @behaviour
    async def test_of_an_intent_the_newest_tries_are_kept(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", *TWO))
        await owner.commit(attempts=(tried(SECOND, 1),))
        for number in range(1, ATTEMPTS_KEPT + 4):
            await owner.commit(attempts=(tried(FIRST, number),))
        kept = await owner.store.attempts(A, 100)
        assert [one.attempt for one in kept] == [*range(4, ATTEMPTS_KEPT + 4), 1]

    @behaviour
    async def test_a_try_of_no_intent_that_is_known_is_left_out(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", *TWO))
        await owner.commit(attempts=(tried(Pointer(0, 99, 0), 1), tried(FIRST, 1)))
        assert await owner.store.attempts(A, 10) == [tried(FIRST, 1)]

    @behaviour
    async def test_tries_leave_after_seven_days(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", *TWO))
        late = tried(FIRST, 2, REJECTION_KEPT_US)
        await owner.commit(attempts=(tried(FIRST, 1), late), at_us=10)
        await owner.commit(at_us=REJECTION_KEPT_US + 9)
        assert await owner.store.attempts(A, 10) == [late]

    @behaviour
    async def test_hostile_text_in_a_try_fails_no_commit(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1", *TWO))
        await owner.commit(attempts=(tried(FIRST, 1)._replace(message="a\ud800b", trace="c\x00d"),))
        (kept,) = await owner.store.attempts(A, 10)
        assert (kept.message, kept.trace) == ("a\\ud800b", "c\\x00d")
