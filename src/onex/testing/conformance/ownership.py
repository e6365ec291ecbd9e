"""Who may write: one owner at a time, told apart by a fence that only rises."""

from __future__ import annotations

from ...kernel.errors import FencedError
from ...ports import Position
from .owner import A, Owner, row
from .suite import Place, Suite, behaviour, needs_persistence, refused


class Ownership(Suite):
    @behaviour
    async def test_the_first_owner_takes_every_shard(self, place: Place) -> None:
        store = await place.open()
        assert sorted(await store.own("first")) == list(range(store.shards))

    @behaviour
    async def test_a_second_owner_gets_nothing(self, place: Place) -> None:
        await place.owner()
        other = await place.open()
        assert await other.own("second") == {}

    @behaviour
    async def test_owning_again_takes_nothing_new(self, place: Place) -> None:
        owner = await place.owner()
        assert await owner.store.own("first again") == {}
        await owner.apply(A, row("one"))

    @behaviour
    async def test_closing_frees_what_was_owned_and_the_fence_rises(self, place: Place) -> None:
        first, other = await place.open(), await place.open()
        before = await first.own("first")
        await first.close()
        after = await other.own("second")
        assert after.keys() == before.keys()
        assert all(after[shard] > before[shard] for shard in before)

    @behaviour
    async def test_closing_a_reader_frees_nothing(self, place: Place) -> None:
        owner = await place.owner()
        reader, other = await place.open(), await place.open()
        await reader.close()
        assert await other.own("second") == {}
        await owner.apply(A, row("one"))

    @behaviour
    async def test_close_may_be_called_twice(self, place: Place) -> None:
        owner = await place.owner()
        await owner.store.close()
        await owner.store.close()

    @behaviour
    async def test_a_commit_with_an_older_fence_is_refused_whole(self, place: Place) -> None:
        first, later = await place.open(), await place.open()
        old = await first.own("first")
        await first.close()
        owner = await Owner.of(later)
        await refused(owner.commit(owner.change(A, row("one")), fences=old), FencedError)
        assert await later.load([A]) == {}
        assert await later.log(Position(0, 0), 10) == []
        assert (await owner.apply(A, row("one"))).first.n == 1

    @behaviour
    async def test_a_commit_that_brings_no_fence_is_refused(self, place: Place) -> None:
        owner = await place.owner()
        await refused(owner.commit(owner.change(A, row("one")), fences={}), FencedError)
        assert await owner.store.load([A]) == {}

    @behaviour
    async def test_a_process_that_owns_nothing_commits_nothing(self, place: Place) -> None:
        store = await place.open()
        stranger = Owner(store, {0: 0}, 1, 1)
        await place.owner()
        await refused(stranger.commit(stranger.change(A, row("one"))), FencedError)

    @behaviour
    async def test_any_handle_reads_what_the_owner_committed(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        await owner.apply(A, row("one"))
        assert await reader.load([A]) == await owner.store.load([A])
        assert len(await reader.log(Position(0, 0), 10)) == 1

    @behaviour
    async def test_the_next_owner_goes_on_where_the_last_one_ended(self, place: Place) -> None:
        first = await place.open()
        owner = await Owner.of(first)
        next_one = await place.open()
        await owner.apply(A, row("one"), row("two"))
        await first.close()
        other = await Owner.of(next_one)
        other.seen = dict(owner.seen)
        applied = await other.apply(A, row("three"))
        assert applied.first.n == 3
        assert (await other.stored(A)).version == 3

    @behaviour
    async def test_what_an_owner_was_judging_is_told_to_the_next_one_after_a_crash(self, place: Place) -> None:
        first, next_one = await place.open(), await place.open()
        await first.own("first")
        assert await first.judged() == b""
        for record in (b"r" * 65_536, b"short", b"the last \x00 one"):
            first.judging(record)
        await place.crash(first)
        await next_one.own("second")
        assert await next_one.judged() == b"the last \x00 one"

    @behaviour
    async def test_what_is_not_judged_any_more_is_not_told(self, place: Place) -> None:
        first, next_one = await place.open(), await place.open()
        await first.own("first")
        first.judging(b"one")
        first.judging(b"")
        await place.crash(first)
        await next_one.own("second")
        assert await next_one.judged() == b""

    @behaviour
    async def test_an_orderly_end_leaves_nothing_judged(self, place: Place) -> None:
        first, next_one = await place.open(), await place.open()
        await first.own("first")
        first.judging(b"one")
        await first.close()
        first.judging(b"too late, and no error")
        await next_one.own("second")
        assert await next_one.judged() == b""

    @behaviour
    async def test_who_owns_nothing_changes_nothing_of_what_is_judged(self, place: Place) -> None:
        first, other, next_one = await place.open(), await place.open(), await place.open()
        await first.own("first")
        first.judging(b"one")
        assert await other.own("second") == {}
        other.judging(b"not its to say")
        assert await other.judged() == b""
        await other.close()
        await place.crash(first)
        await next_one.own("third")
        assert await next_one.judged() == b"one"

    @behaviour
    async def test_what_was_committed_outlives_every_handle(self, place: Place) -> None:
        needs_persistence(self)
        first = await place.open()
        owner = await Owner.of(first)
        await owner.apply(A, row("one"))
        before = await owner.stored(A)
        ticket = await first.send(b"{}", 1)
        await first.close()
        again = await place.open()
        assert (await again.load([A]))[A] == before
        assert [entry.row.kind for entry in await again.history(A, 0, 10)] == ["do_one"]
        assert [waits.ticket for waits in await again.inbox(0, 10)] == [ticket]
        assert await again.codes() and await again.envs()
