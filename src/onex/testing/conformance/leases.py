"""Many processes share the shards of one store: leases by the store's clock, fences per shard, each is told of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from ...kernel.errors import FencedError, OwnershipLost
from ...kernel.membership import Worker
from ...ports import Applied, InboxAnswer, NewIntent, Note, Pointer, Position
from .owner import CODE, ENV, AnySharedStore, Owner, row
from .sharding import key_in
from .suite import Place, SharedSuite, behaviour, refused

LONG_S = 600.0


class Member(Owner):
    """A worker: an owner of some shards. ``fences`` are those that it was given."""

    def __init__(self, store: AnySharedStore, name: str, code_id: int, env_id: int) -> None:
        self.taken: dict[int, int] = {}
        super().__init__(store, self.taken, code_id, env_id)
        self.leases, self.name = store, name

    @classmethod
    async def at(cls, place: Place, name: str, shards: Collection[int] = (), lease_s: float = LONG_S) -> Member:
        """One that has joined, and has these shards."""
        store = await place.open_shared()
        await store.join(Worker(name, lease_s, f"about {name}"))
        member = cls(store, name, *await store.intern(CODE, ENV))
        assert sorted(await member.take(*shards)) == sorted(shards)
        return member

    async def take(self, *shards: int) -> dict[int, int]:
        taken = dict(await self.leases.take(shards))
        self.taken.update(taken)
        return taken

    async def owners(self) -> dict[int, str]:
        """Who has which shard, of those that somebody has."""
        owners = (await self.leases.beat()).owners
        assert len(owners) == self.store.shards
        return {shard: one.worker for shard, one in enumerate(owners) if one.worker}

    async def live(self) -> list[str]:
        return sorted(one.worker.id for one in (await self.leases.beat()).workers)


class Leases(SharedSuite):
    async def _dead(self, looker: Member, name: str) -> None:
        """Returns when the lease of that worker, a short one, has run out."""
        while name in await looker.live():
            await self.time_passes(looker.leases)

    @behaviour
    async def test_a_worker_joins_without_shards(self, place: Place) -> None:
        one = await Member.at(place, "one")
        look = await one.leases.beat()
        (seen,) = look.workers
        assert seen.worker == Worker("one", LONG_S, "about one")
        assert seen.joined_s >= seen.heard_s >= 0
        assert [owner.worker for owner in look.owners] == [""] * one.store.shards

    @behaviour
    async def test_any_process_may_look_and_renews_nothing(self, place: Place) -> None:
        one, looker = await Member.at(place, "one", {1}, self.short_s), await place.open_shared()
        seen = await looker.look()
        assert [owner.worker for owner in seen.owners] == ["", "one", "", ""] + [""] * (one.store.shards - 4)
        assert seen.owners[1].fence == one.taken[1]
        while (await looker.look()).workers:
            await self.time_passes(looker)
        assert [worker.worker.id for worker in (await one.leases.beat()).workers] == ["one"]

    @behaviour
    async def test_a_free_shard_is_taken_by_one(self, place: Place) -> None:
        one, two = await Member.at(place, "one"), await Member.at(place, "two")
        assert sorted(await one.take(0, 2)) == [0, 2]
        assert sorted(await two.take(0, 1, 2)) == [1]
        assert await one.owners() == await two.owners() == {0: "one", 1: "two", 2: "one"}
        assert await one.live() == ["one", "two"]
        fences = [owner.fence for owner in (await one.leases.beat()).owners]
        assert {0: fences[0], 2: fences[2]} == one.taken

    @behaviour
    async def test_each_writes_in_its_own_shards(self, place: Place) -> None:
        one, two = await Member.at(place, "one", {0, 2}), await Member.at(place, "two", {1, 3})
        await asyncio.gather(*(
            member.apply(key_in(member.store, shard, number), row("a"), row("b"))
            for member, shards in ((one, (0, 2)), (two, (1, 3)))
            for shard in shards
            for number in range(5)
        ))  # fmt: skip
        for shard in range(4):
            log = await one.store.log(Position(shard, 0), 100)
            assert [entry.position.n for entry in log] == list(range(1, 11))
        seen = [entry.key for shard in range(4) for entry in await two.store.log(Position(shard, 0), 100)]
        instances = {stored.instance for stored in (await one.store.load(sorted(set(seen)))).values()}
        assert len(instances) == 20

    @behaviour
    async def test_what_was_given_is_free_and_the_next_has_a_higher_fence(self, place: Place) -> None:
        one, two = await Member.at(place, "one", {0, 1}), await Member.at(place, "two")
        key = key_in(one.store, 1)
        await one.apply(key, row("a"))
        await one.leases.give({1})
        assert await one.owners() == {0: "one"}
        taken = await two.take(1)
        assert taken[1] > one.taken[1]
        two.seen = dict(one.seen)
        assert (await two.apply(key, row("b"))).first == Position(1, 2)

    @behaviour
    async def test_nothing_is_committed_in_a_shard_after_it_was_given(self, place: Place) -> None:
        one = await Member.at(place, "one", {0, 1})
        before = dict(one.taken)
        await one.leases.give({1})
        change = one.change(key_in(one.store, 1), row("a"))
        error = await refused(one.commit(change, fences=before), FencedError)
        assert isinstance(error, FencedError)
        assert error.shards == (1,)
        assert await one.store.load([change.key]) == {}

    @behaviour
    async def test_what_is_not_ours_is_not_given(self, place: Place) -> None:
        one, two = await Member.at(place, "one", {0}), await Member.at(place, "two", {1})
        await one.leases.give({1, 2})
        assert await one.owners() == {0: "one", 1: "two"}
        await two.apply(key_in(two.store, 1), row("a"))

    @behaviour
    async def test_leaving_frees_everything_and_may_be_repeated(self, place: Place) -> None:
        one, two = await Member.at(place, "one", {0, 1}), await Member.at(place, "two")
        await one.leases.leave()
        await one.leases.leave()
        assert await two.live() == ["two"]
        assert await two.owners() == {}
        await refused(one.commit(one.change(key_in(one.store, 0), row("a"))), FencedError)
        assert sorted(await two.take(0, 1)) == [0, 1]

    @behaviour
    async def test_closing_is_leaving(self, place: Place) -> None:
        one, two = await Member.at(place, "one", {0}), await Member.at(place, "two")
        await one.store.close()
        assert await two.live() == ["two"]
        assert sorted(await two.take(0)) == [0]

    @behaviour
    async def test_shards_of_a_worker_whose_lease_runs_are_not_taken_though_it_died(self, place: Place) -> None:
        one, two = await Member.at(place, "one", {0}), await Member.at(place, "two")
        await place.crash(one.store)
        assert await two.take(0) == {}
        assert await two.live() == ["one", "two"]

    @behaviour
    async def test_shards_of_a_worker_whose_lease_ran_out_are_taken(self, place: Place) -> None:
        one = await Member.at(place, "one", {0, 1}, self.short_s)
        two = await Member.at(place, "two", {2})
        await one.apply(key_in(one.store, 0), row("a"))
        await place.crash(one.store)
        await self._dead(two, "one")
        taken = await two.take(0, 1)
        assert {shard: taken[shard] > one.taken[shard] for shard in taken} == {0: True, 1: True}
        two.seen = dict(one.seen)
        assert (await two.apply(key_in(two.store, 0), row("b"))).first == Position(0, 2)

    @behaviour
    async def test_a_worker_that_was_too_slow_is_told_which_shards_it_lost(self, place: Place) -> None:
        one = await Member.at(place, "one", {0, 1, 2}, self.short_s)
        two = await Member.at(place, "two")
        await self._dead(two, "one")
        assert sorted(await two.take(1)) == [1]
        changes = [one.change(key_in(one.store, shard), row("a")) for shard in (0, 1, 2)]
        error = await refused(one.commit(*changes), FencedError)
        assert isinstance(error, FencedError)
        assert error.shards == (1,)
        assert await one.store.load([change.key for change in changes]) == {}
        kept = {shard: one.taken[shard] for shard in (0, 2)}
        outcomes = await one.commit(changes[0], changes[2], fences=kept)
        assert all(isinstance(one, Applied) for one in outcomes)

    @behaviour
    async def test_a_worker_that_was_thought_dead_lives_again_without_what_was_taken(self, place: Place) -> None:
        one = await Member.at(place, "one", {0, 1}, self.short_s)
        two = await Member.at(place, "two")
        await self._dead(two, "one")
        await two.take(0)
        assert "one" in await one.live()
        assert await one.owners() == {0: "two", 1: "one"}
        assert sorted(await one.take(0, 3)) == [3]

    @behaviour
    async def test_a_shard_that_is_ours_is_taken_again_by_who_did_not_get_the_answer(self, place: Place) -> None:
        one = await Member.at(place, "one", {0})
        before = one.taken[0]
        assert (await one.take(0))[0] > before
        assert await one.owners() == {0: "one"}
        await one.apply(key_in(one.store, 0), row("a"))

    @behaviour
    async def test_one_process_for_all_and_many_do_not_mix(self, place: Place) -> None:
        alone = await place.owner()
        store = await place.open_shared()
        await refused(store.join(Worker("one", LONG_S)), OwnershipLost)
        await alone.store.close()
        await store.join(Worker("one", LONG_S))
        other = await place.open()
        assert await other.own("alone") == {}
        await store.take(range(store.shards))
        await store.leave()
        assert sorted(await other.own("alone")) == list(range(store.shards))

    @behaviour
    async def test_who_has_not_joined_is_no_worker(self, place: Place) -> None:
        store = await place.open_shared()
        await refused(store.beat(), OwnershipLost)
        await refused(store.take({0}), OwnershipLost)
        await refused(store.give({0}), OwnershipLost)
        await store.leave()

    @behaviour
    async def test_a_worker_is_told_of_intents_and_timers_of_its_shards(self, place: Place) -> None:
        one, two, reader = await Member.at(place, "one", {0, 2}), await Member.at(place, "two", {1}), await place.open()
        timer = NewIntent(1, 2, due_us=5, timer="late")
        for member, shard in ((one, 0), (one, 2), (two, 1)):
            await member.apply(key_in(member.store, shard), row("a", NewIntent(0, 2), timer))
        for due, ordinal in ((None, 0), (6, 1)):
            for member, shards in ((one, (0, 2)), (two, (1,))):
                seen = [waits.pointer for waits in await member.store.waiting(None, 10, due)]
                assert seen == [Pointer(shard, 1, ordinal) for shard in shards]
            assert [waits.pointer for waits in await one.store.waiting(Pointer(0, 1, ordinal), 10, due)] == [
                Pointer(2, 1, ordinal)
            ]
        await one.leases.give({0})
        assert [waits.pointer.shard for waits in await one.store.waiting(None, 10, None)] == [2]
        assert await (await Member.at(place, "three")).store.waiting(None, 10, None) == []
        assert len(await reader.waiting(None, 10, None)) == 3

    @behaviour
    async def test_a_worker_is_told_of_inbox_rows_of_its_shards(self, place: Place) -> None:
        one, two, sender = await Member.at(place, "one", {0, 2}), await Member.at(place, "two", {1}), await place.open()
        tickets = await sender.send_all([b"{}"] * 4, 1, [0, 1, 2, 3])
        assert [waits.ticket for waits in await one.store.inbox(0, 10)] == [tickets[0], tickets[2]]
        assert [(waits.ticket, waits.shard) for waits in await two.store.inbox(0, 10)] == [(tickets[1], 1)]
        assert len(await sender.inbox(0, 10)) == 4
        await two.commit(answers=(InboxAnswer(tickets[1], b"told", 1, 1),))
        assert await sender.answers(tickets) == {tickets[1]: b"told"}
        await two.take(3)
        assert [waits.ticket for waits in await two.store.inbox(0, 10)] == [tickets[3]]

    @behaviour
    async def test_what_the_former_owner_started_was_not_started_by_the_new_one(self, place: Place) -> None:
        one, two = await Member.at(place, "one", {0}), await Member.at(place, "two")
        await one.apply(key_in(one.store, 0), row("a", NewIntent(0, 2)))
        await one.commit(notes=(Note(Pointer(0, 1, 0), attempt=1, started=True),))
        assert [waits.started_now for waits in await one.store.waiting(None, 10, None)] == [True]
        await one.leases.give({0})
        await two.take(0)
        (waits,) = await two.store.waiting(None, 10, None)
        assert (waits.started, waits.started_now) == (True, False)

    @behaviour
    async def test_a_send_to_one_of_its_shards_wakes_a_worker(self, place: Place) -> None:
        one, sender = await Member.at(place, "one", {0, 1}), await place.open()

        async def wait() -> int:
            while not (rows := await one.store.inbox(0, 10)):
                await one.store.woken()
            return rows[0].ticket

        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        ticket = await sender.send(b"{}", 1, 1)
        assert await waiting == ticket

    @behaviour
    async def test_workers_notice_one_another(self, place: Place) -> None:
        one = await Member.at(place, "one")

        async def until(live: list[str], owners: dict[int, str]) -> None:
            while (await one.live(), await one.owners()) != (live, owners):
                await one.leases.workers_changed()

        waiting = asyncio.ensure_future(until(["one", "two"], {0: "two"}))
        two = await Member.at(place, "two", {0})
        await waiting
        waiting = asyncio.ensure_future(until(["one", "two"], {}))
        await two.leases.give({0})
        await waiting
        waiting = asyncio.ensure_future(until(["one"], {}))
        await two.leases.leave()
        await waiting
