"""What one commit does: each change whole or not at all, never at its neighbours' cost, positions without a gap."""

from __future__ import annotations

from uuid import UUID

from ...kernel.action import OutcomeOf, WorkflowKey
from ...kernel.lease import Lease
from ...ports import Applied, Conflict, InboxAnswer, NewIntent, Note, Pointer, Position, Rejection
from .owner import A, B, C, action, row
from .suite import Place, Suite, behaviour

START = Position(0, 0)


class Commits(Suite):
    @behaviour
    async def test_a_new_instance_stands_as_it_was_committed(self, place: Place) -> None:
        owner = await place.owner()
        applied = await owner.apply(
            A, row("one", issued_us=5), row("two", issued_us=9, status="paid"), epoch=4, failures=2, state_schema=7
        )
        stored = await owner.stored(A)
        assert stored.key == A
        assert stored.instance == applied.instance
        assert (stored.version, stored.epoch, stored.status, stored.terminal) == (2, 4, "paid", False)
        assert (stored.state, stored.state_schema, stored.state_hash) == (b'{"v":2}', 7, b"hash 2")
        assert (stored.code_id, stored.position, stored.last_us) == (owner.code_id, Position(0, 2), 9)
        assert (stored.failures, stored.held, stored.lease_id, stored.timers) == (2, "", None, {})

    @behaviour
    async def test_a_known_instance_moves_on(self, place: Place) -> None:
        owner = await place.owner()
        first = await owner.apply(A, row("one"))
        second = await owner.apply(A, row("two"), row("three", issued_us=2_000), terminal=True, status="done", epoch=1)
        stored = await owner.stored(A)
        assert first.instance == second.instance == stored.instance
        assert (stored.version, stored.position, stored.last_us) == (3, Position(0, 3), 2_000)
        assert (stored.status, stored.terminal, stored.epoch) == ("done", True, 1)

    @behaviour
    async def test_bytes_come_back_as_they_were_given(self, place: Place) -> None:
        owner = await place.owner()
        bytes_of_all_kinds = bytes(range(256))
        logged = row("one")._replace(payload=bytes_of_all_kinds, intents=b"", cause=None, issuer="\u00e9\U0001f600")
        await owner.apply(A, logged, state=bytes_of_all_kinds)
        assert (await owner.stored(A)).state == bytes_of_all_kinds
        (entry,) = await owner.store.history(A, 0, 1)
        assert entry.row == logged

    @behaviour
    async def test_a_cause_comes_back_with_the_intent_behind_it(self, place: Place) -> None:
        owner = await place.owner()
        of = OutcomeOf(UUID(int=7), "charge the b\u00e4nk/twice", 63, 2**40)
        logged = row("one")._replace(cause=UUID(int=3).bytes + of.packed())
        await owner.apply(A, logged)
        (entry,) = await owner.store.history(A, 0, 1)
        assert (entry.row.cause_id, entry.row.outcome_of) == (UUID(int=3).bytes, of)

    @behaviour
    async def test_positions_have_no_gap_and_follow_the_order_of_the_changes(self, place: Place) -> None:
        owner = await place.owner()
        first, second = await owner.commit(owner.change(A, row("a1"), row("a2")), owner.change(B, row("b1")))
        third = await owner.apply(A, row("a3"))
        assert [one.first.n for one in (first, second, third) if isinstance(one, Applied)] == [1, 3, 4]

    @behaviour
    async def test_a_change_that_is_left_out_takes_no_position(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"))
        stale = owner.change(A, row("a2"), row("a3"), based_on=0)
        conflict, applied = await owner.commit(stale, owner.change(B, row("b1")))
        assert isinstance(conflict, Conflict)
        assert applied == Applied(owner.seen[B][0], Position(0, 2))
        assert (await owner.apply(A, row("a2"))).first.n == 3
        log = await owner.store.log(START, 10)
        assert [entry.position.n for entry in log] == [1, 2, 3]

    @behaviour
    async def test_a_conflict_tells_the_version_and_costs_the_neighbours_nothing(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"), row("a2"))
        outcomes = await owner.commit(
            owner.change(C, row("c1")), owner.change(A, row("a3"), based_on=1), owner.change(B, row("b1"))
        )
        assert [type(outcome) for outcome in outcomes] == [Applied, Conflict, Applied]
        assert outcomes[1] == Conflict(2, frozenset(), False)
        assert (await owner.stored(A)).version == 2
        assert (await owner.stored(B)).version == (await owner.stored(C)).version == 1

    @behaviour
    async def test_a_key_that_is_no_longer_new_conflicts(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"))
        (conflict,) = await owner.commit(owner.change(A, row("a2"), instance=None, based_on=0))
        assert conflict == Conflict(1, frozenset(), False)

    @behaviour
    async def test_a_change_of_an_instance_that_is_not_there_conflicts(self, place: Place) -> None:
        owner = await place.owner()
        outcomes = await owner.commit(
            owner.change(A, row("a1"), instance=77, based_on=3), owner.change(B, row("b1"), instance=None, based_on=2)
        )
        assert outcomes == [Conflict(0, frozenset(), False), Conflict(0, frozenset(), False)]
        assert await owner.store.load([A, B]) == {}

    @behaviour
    async def test_an_action_id_is_applied_once_to_a_key(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"))
        (conflict,) = await owner.commit(owner.change(A, row("a2"), row("a1")))
        assert conflict == Conflict(1, frozenset({action("a1")}), False)
        assert (await owner.stored(A)).version == 1
        assert await owner.store.applied(A, action("a2")) is None

    @behaviour
    async def test_an_action_id_twice_in_one_change_conflicts(self, place: Place) -> None:
        owner = await place.owner()
        conflict, applied = await owner.commit(owner.change(A, row("a1"), row("a1")), owner.change(B, row("b1")))
        assert conflict == Conflict(0, frozenset({action("a1")}), False)
        assert isinstance(applied, Applied)
        assert list(await owner.store.load([A, B])) == [B]

    @behaviour
    async def test_the_same_action_id_at_two_keys_is_two_actions(self, place: Place) -> None:
        owner = await place.owner()
        outcomes = await owner.commit(owner.change(A, row("one")), owner.change(B, row("one")))
        assert [type(outcome) for outcome in outcomes] == [Applied, Applied]

    @behaviour
    async def test_a_commit_sent_again_applies_nothing_and_says_what_was_there(self, place: Place) -> None:
        owner = await place.owner()
        changes = owner.change(A, row("a1"), row("a2")), owner.change(B, row("b1"))
        await owner.commit(*changes)
        again = await owner.commit(*changes)
        assert again == [
            Conflict(2, frozenset({action("a1"), action("a2")}), False),
            Conflict(1, frozenset({action("b1")}), False),
        ]
        assert len(await owner.store.log(START, 10)) == 3

    @behaviour
    async def test_of_two_changes_on_one_version_the_first_is_applied(self, place: Place) -> None:
        owner = await place.owner()
        outcomes = await owner.commit(owner.change(A, row("a1")), owner.change(A, row("a2")))
        assert isinstance(outcomes[0], Applied)
        assert outcomes[1] == Conflict(1, frozenset(), False)
        assert await owner.store.applied(A, action("a2")) is None

    @behaviour
    async def test_changes_are_judged_in_order(self, place: Place) -> None:
        owner = await place.owner()
        applied = await owner.apply(A, row("a1"))
        outcomes = await owner.commit(
            owner.change(A, row("a2")), owner.change(A, row("a3"), based_on=2), owner.change(A, row("a4"), based_on=2)
        )
        assert outcomes == [
            Applied(applied.instance, Position(0, 2)),
            Applied(applied.instance, Position(0, 3)),
            Conflict(3, frozenset(), False),
        ]

    @behaviour
    async def test_a_lease_that_is_not_the_one_seen_conflicts(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"))
        outcomes = await owner.commit(
            owner.change(A, row("a2"), lease_seen=action("lease")),
            owner.change(B, row("b1"), lease_seen=action("lease")),
        )
        assert outcomes == [Conflict(1, frozenset(), True), Conflict(0, frozenset(), True)]

    @behaviour
    async def test_a_change_sets_the_lease_with_rows_or_without_and_others_leave_it(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        mine, theirs = action("mine"), action("theirs")
        await owner.commit(owner.change(A, row("a1"), lease=Lease(mine, 70)), owner.change(B, row("b1")))
        before = await owner.stored(B)
        await owner.commit(owner.change(A, row("a2"), lease_seen=mine), owner.change(B, lease=Lease(theirs, 80)))
        assert await owner.stored(B) == before._replace(lease_id=theirs, lease_until_us=80)
        stored = (await reader.load([A]))[A]
        assert (stored.version, stored.lease_id, stored.lease_until_us) == (2, mine, 70)
        outcomes = await owner.commit(owner.change(A, lease=Lease(theirs, 90)), owner.change(B, row("b2")))
        assert outcomes == [Conflict(2, frozenset(), True), Conflict(1, frozenset(), True)]
        await owner.commit(
            owner.change(A, row("a3"), lease_seen=mine, lease=Lease(theirs, 90)),
            owner.change(B, lease_seen=theirs, lease=Lease()),
        )
        found = await reader.load([A, B])
        assert [(one.version, one.lease_id, one.lease_until_us) for one in (found[A], found[B])] == [
            (3, theirs, 90),
            (1, None, 0),
        ]

    @behaviour
    async def test_of_two_changes_of_one_lease_the_second_is_judged_on_the_first(self, place: Place) -> None:
        owner = await place.owner()
        mine = action("mine")
        await owner.commit(owner.change(A, row("a1")), owner.change(B, row("b1")), owner.change(C, row("c1")))
        outcomes = await owner.commit(
            owner.change(A, lease=Lease(mine, 70)), owner.change(A, lease=Lease(action("theirs"), 80)),
            owner.change(B, lease=Lease(mine, 70)), owner.change(B, row("b2"), lease_seen=mine),
            owner.change(C, lease=Lease(mine, 70)), owner.change(C, row("c2")),
        )  # fmt: skip
        assert [type(one) for one in outcomes] == [Applied, Conflict, Applied, Applied, Applied, Conflict]
        assert {(await owner.stored(key)).lease_id for key in (A, B, C)} == {mine}
        assert [(await owner.stored(key)).version for key in (A, B, C)] == [1, 2, 1]

    @behaviour
    async def test_a_lease_of_what_is_not_there_creates_nothing(self, place: Place) -> None:
        owner = await place.owner()
        await owner.commit(owner.change(A, lease=Lease(action("mine"), 70)), owner.change(B, row("b1")))
        assert list(await owner.store.load([A, B])) == [B]
        assert (await owner.stored(B)).lease_id is None

    @behaviour
    async def test_a_change_without_rows_moves_no_version(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"))
        before = await owner.stored(A)
        await owner.apply(A, failures=3, held="it raised", state=b"never written", status="nor this")
        assert await owner.stored(A) == before._replace(failures=3, held="it raised")
        assert (await owner.apply(A, row("a2"))).first.n == 2

    @behaviour
    async def test_a_change_without_rows_conflicts_like_any_other(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"))
        outcomes = await owner.commit(owner.change(A, based_on=0, failures=1), owner.change(B, row("b1")))
        assert outcomes[0] == Conflict(1, frozenset(), False)
        assert isinstance(outcomes[1], Applied)
        assert (await owner.stored(A)).failures == 0

    @behaviour
    async def test_a_change_without_rows_creates_nothing(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(B, row("b1", NewIntent(0, 2)))
        await owner.apply(A, settled=(Pointer(0, 1, 0),))
        assert await owner.store.load([A]) == {}
        assert await owner.store.waiting(None, 10, None) == []

    @behaviour
    async def test_what_was_judged_with_a_change_is_written_with_it_or_not_at_all(self, place: Place) -> None:
        owner, other = await place.owner(), await place.open()
        await owner.apply(A, row("a1", NewIntent(0, 2), NewIntent(1, 2)))
        first, second = await other.send(b"{}", 1), await other.send(b"{}", 1)
        beside = {
            key: (
                (Note(Pointer(0, 1, ordinal), attempt=4),),
                (Rejection(str(key), action("no"), "refused", "no", b"", 1),),
                (InboxAnswer(ticket, b"told", 1),),
            )
            for key, ordinal, ticket in ((A, 0, first), (B, 1, second))
        }
        stale = owner.change(A, row("a2"), based_on=0)._replace(
            notes=beside[A][0], rejections=beside[A][1], answers=beside[A][2]
        )
        fits = owner.change(B, row("b1"))._replace(notes=beside[B][0], rejections=beside[B][1], answers=beside[B][2])
        await owner.commit(stale, fits)
        assert [waits.attempt for waits in await owner.store.waiting(None, 10, None)] == [0, 4]
        assert [no.key for no in await other.rejections(None, None, 0, 10)] == [str(B)]
        assert await other.answer(first) is None
        assert await other.answer(second) == b"told"

    @behaviour
    async def test_a_commit_of_nothing_is_fine(self, place: Place) -> None:
        owner = await place.owner()
        assert await owner.commit() == []

    @behaviour
    async def test_many_keys_and_rows_stand_in_one_order(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        keys = [WorkflowKey("orders", f"k{number:03}") for number in range(300)]
        for turn in range(3):
            await owner.commit(*(owner.change(key, row(f"x{turn}"), row(f"y{turn}")) for key in keys))
        log = await reader.log(START, 10_000)
        assert [entry.position.n for entry in log] == list(range(1, 1_801))
        assert all(
            [entry.version for entry in log if entry.key == key] == [1, 2, 3, 4, 5, 6] for key in (keys[0], keys[299])
        )
        assert {stored.version for stored in (await reader.load(keys)).values()} == {6}
