"""A store with more than one shard, owned by one process: each shard counts for itself, and a commit may write in many."""

from __future__ import annotations

from ...kernel.action import WorkflowKey
from ...kernel.errors import FencedError
from ...kernel.route import shard_of
from ...ports import (
    Applied,
    Attempt,
    Conflict,
    EnumAttempt,
    EnumOutboxState,
    InboxAnswer,
    NewBlob,
    NewIntent,
    Note,
    Pointer,
    Position,
    Rejection,
)
from .owner import AnyStore, Owner, action, row
from .suite import Place, Suite, behaviour, refused


def key_in(store: AnyStore, shard: int, number: int = 0) -> WorkflowKey:
    """The key with that number among those of one shard."""
    found, name = -1, -1
    while found < number:
        name += 1
        found += shard_of(WorkflowKey("orders", f"k{name}"), store.shards) == shard
    return WorkflowKey("orders", f"k{name}")


class Sharding(Suite):
    @behaviour
    async def test_there_are_many_shards_and_an_owner_takes_them_all(self, place: Place) -> None:
        owner = await place.owner()
        assert owner.store.shards > 1
        assert sorted(owner.fences) == list(range(owner.store.shards))

    @behaviour
    async def test_positions_are_dense_per_shard(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        keys = [WorkflowKey("orders", f"k{number}") for number in range(60)]
        for turn in range(2):
            await owner.commit(*(owner.change(key, row(f"x{turn}"), row(f"y{turn}")) for key in keys))
        for shard in range(reader.shards):
            here = [key for key in keys if shard_of(key, reader.shards) == shard]
            log = await reader.log(Position(shard, 0), 1_000)
            assert [entry.position for entry in log] == [Position(shard, n + 1) for n in range(4 * len(here))]
            assert {entry.key for entry in log} == set(here)
            assert all([entry.version for entry in log if entry.key == key] == [1, 2, 3, 4] for key in here)

    @behaviour
    async def test_what_is_read_of_an_instance_names_its_shard(self, place: Place) -> None:
        owner = await place.owner()
        shard = owner.store.shards - 1
        key = key_in(owner.store, shard)
        timer = NewIntent(1, 2, due_us=50, timer="late")
        applied = await owner.apply(key, row("one", NewIntent(0, 2), timer), row("two"))
        assert applied.first == Position(shard, 1)
        stored = await owner.stored(key)
        assert (stored.position, stored.timers) == (Position(shard, 2), {"late": (Pointer(shard, 1, 1), 50)})
        entry = await owner.store.applied(key, action("two"))
        assert entry is not None
        assert entry.position == Position(shard, 2)
        assert [one.position.n for one in await owner.store.history(key, 0, 10)] == [1, 2]
        assert [one.pointer for one in await owner.store.waiting(None, 10, None)] == [Pointer(shard, 1, 0)]
        assert [one.pointer for one in await owner.store.waiting(None, 10, 51)] == [Pointer(shard, 1, 1)]
        (newest,) = await owner.store.instances(None, None, None, 10)
        assert newest.position == Position(shard, 2)

    @behaviour
    async def test_a_rejection_belongs_to_no_shard_and_needs_no_fence(self, place: Place) -> None:
        """A worker without any shard has to record what nobody can accept, too."""
        owner, reader = await place.owner(), await place.open()
        await owner.commit(
            rejections=(Rejection("bus:actions", action("no"), "invalid_key", "no", b"{", 5),), fences={}
        )
        assert [one.code for one in await reader.rejections(None, None, 0, 10)] == ["invalid_key"]

    @behaviour
    async def test_the_log_of_a_shard_is_read_from_behind_a_position(self, place: Place) -> None:
        owner = await place.owner()
        first, second = key_in(owner.store, 0), key_in(owner.store, 1)
        await owner.commit(
            owner.change(first, row("a"), row("b"), row("c")), owner.change(second, row("a"), row("b"), row("c"))
        )
        for shard in (0, 1):
            log = await owner.store.log(Position(shard, 1), 1)
            assert [entry.position for entry in log] == [Position(shard, 2)]
            assert await owner.store.log(Position(shard, 3), 10) == []

    @behaviour
    async def test_instances_of_all_shards_have_numbers_of_their_own(self, place: Place) -> None:
        owner = await place.owner()
        keys = [WorkflowKey("orders", f"k{number}") for number in range(3 * owner.store.shards)]
        half = len(keys) // 2
        await owner.commit(*(owner.change(key, row("one")) for key in keys[:half]))
        await owner.commit(*(owner.change(key, row("one")) for key in keys[half:]))
        stored = await owner.store.load(keys)
        assert len({one.instance for one in stored.values()}) == len(keys)
        assert {key: one.instance for key, one in stored.items()} == {key: owner.seen[key][0] for key in keys}

    @behaviour
    async def test_a_conflict_in_one_shard_costs_the_others_nothing_and_no_position(self, place: Place) -> None:
        owner = await place.owner()
        keys = [key_in(owner.store, shard) for shard in (0, 1, 1, 2)]
        keys[2] = key_in(owner.store, 1, 1)
        await owner.commit(*(owner.change(key, row("one")) for key in keys))
        outcomes = await owner.commit(
            owner.change(keys[0], row("two")),
            owner.change(keys[1], row("two"), row("three"), based_on=0),
            owner.change(keys[2], row("two")),
            owner.change(keys[3], row("two")),
        )
        assert [type(one) for one in outcomes] == [Applied, Conflict, Applied, Applied]
        places = [one.first for one in outcomes if isinstance(one, Applied)]
        assert places == [Position(0, 2), Position(1, 3), Position(2, 2)]
        assert (await owner.apply(keys[1], row("two"))).first == Position(1, 4)
        new = key_in(owner.store, 1, 2)
        assert (await owner.apply(new, row("one"))).instance not in {owner.seen[key][0] for key in keys}

    @behaviour
    async def test_a_commit_with_one_older_fence_is_refused_whole_and_names_that_shard(self, place: Place) -> None:
        owner = await place.owner()
        changes = [owner.change(key_in(owner.store, shard), row("one")) for shard in (0, 1, 2)]
        older = {**owner.fences, 1: owner.fences[1] - 1}
        error = await refused(owner.commit(*changes, fences=older), FencedError)
        assert isinstance(error, FencedError)
        assert error.shards == (1,)
        assert await owner.store.load([change.key for change in changes]) == {}
        outcomes = await owner.commit(*changes)
        assert [one.first.n for one in outcomes if isinstance(one, Applied)] == [1, 1, 1]

    @behaviour
    async def test_a_shard_without_rows_is_checked_too(self, place: Place) -> None:
        owner = await place.owner()
        change = owner.change(key_in(owner.store, 0), row("one"))
        error = await refused(owner.commit(change, fences={0: owner.fences[0], 3: owner.fences[3] + 5}), FencedError)
        assert isinstance(error, FencedError)
        assert error.shards == (3,)
        assert await owner.store.load([change.key]) == {}

    @behaviour
    async def test_nothing_is_written_in_a_shard_that_the_commit_does_not_name(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(key_in(owner.store, 1), row("one", NewIntent(0, 2)))
        ticket = await owner.store.send(b"{}", 1, 1)
        only = {0: owner.fences[0]}
        here = owner.change(key_in(owner.store, 0), row("one"))
        for change in (
            owner.commit(owner.change(key_in(owner.store, 1, 1), row("one")), fences=only),
            owner.commit(here._replace(settled=(Pointer(1, 1, 0),)), fences=only),
            owner.commit(here._replace(notes=(Note(Pointer(1, 1, 0), attempt=3),)), fences=only),
            owner.commit(here._replace(answers=(InboxAnswer(ticket, b"told", 1, 1),)), fences=only),
            owner.commit(settled=(Pointer(1, 1, 0),), fences=only),
            owner.commit(notes=(Note(Pointer(1, 1, 0), attempt=3),), fences=only),
            owner.commit(answers=(InboxAnswer(ticket, b"told", 1, 1),), fences=only),
        ):
            error = await refused(change, FencedError)
            assert isinstance(error, FencedError)
            assert error.shards == (1,)
        assert [(one.pointer, one.attempt) for one in await owner.store.waiting(None, 10, None)] == [
            (Pointer(1, 1, 0), 0)
        ]
        assert await owner.store.answer(ticket) is None

    @behaviour
    async def test_a_commit_may_name_only_the_shards_it_writes_in(self, place: Place) -> None:
        owner = await place.owner()
        for shard in (2, 0):
            change = owner.change(key_in(owner.store, shard), row("one"))
            (applied,) = await owner.commit(change, fences={shard: owner.fences[shard]})
            assert isinstance(applied, Applied)
            assert applied.first == Position(shard, 1)

    @behaviour
    async def test_pointers_of_two_shards_are_two_intents(self, place: Place) -> None:
        owner = await place.owner()
        shards = (0, 1, 2)
        await owner.commit(
            *(
                owner.change(key_in(owner.store, shard), row("one", NewIntent(0, 2), NewIntent(1, 2)))
                for shard in shards
            )
        )
        tried = Attempt(Pointer(1, 1, 1), 1, 10, 20, EnumAttempt.FAILED, "no")
        await owner.commit(
            settled=(Pointer(1, 1, 0),),
            notes=(Note(Pointer(2, 1, 0), attempt=2), Note(Pointer(0, 1, 1), state=EnumOutboxState.DEAD)),
            attempts=(tried,),
        )
        waits = await owner.store.waiting(None, 10, None)
        assert [(one.pointer, one.attempt) for one in waits] == [
            (Pointer(0, 1, 0), 0), (Pointer(1, 1, 1), 0), (Pointer(2, 1, 0), 2), (Pointer(2, 1, 1), 0),
        ]  # fmt: skip
        assert [one.key for one in waits] == [key_in(owner.store, shard) for shard in (0, 1, 2, 2)]
        dead = await owner.store.outbox([EnumOutboxState.DEAD], None, None, 10)
        assert [one.pointer for one in dead] == [Pointer(0, 1, 1)]
        assert await owner.store.attempts(key_in(owner.store, 1), 10) == [tried]
        assert await owner.store.attempts(key_in(owner.store, 0), 10) == []

    @behaviour
    async def test_the_outbox_is_read_page_by_page_over_all_shards(self, place: Place) -> None:
        owner = await place.owner()
        keys = [WorkflowKey("orders", f"k{number}") for number in range(40)]
        late = NewIntent(2, 2, due_us=7, timer="late")
        await owner.commit(*(owner.change(key, row("one", NewIntent(0, 2), NewIntent(1, 2), late)) for key in keys))
        for due, each in ((None, 2), (8, 1)):
            seen: list[Pointer] = []
            while page := await owner.store.waiting(seen[-1] if seen else None, 7, due):
                seen += [one.pointer for one in page]
            assert seen == sorted(set(seen))
            assert len(seen) == each * len(keys)
        seen = []
        while page := await owner.store.outbox([EnumOutboxState.WAITING], None, seen[-1] if seen else None, 7):
            seen += [one.pointer for one in page]
        assert len(seen) == 3 * len(keys)

    @behaviour
    async def test_a_start_is_of_the_newest_owner_of_its_shard(self, place: Place) -> None:
        first, later = await place.open(), await place.open()
        owner = await Owner.of(first)
        await owner.apply(key_in(first, 1), row("one", NewIntent(0, 2), NewIntent(1, 2)))
        await owner.commit(notes=(Note(Pointer(1, 1, 0), attempt=1, started=True),))
        assert [one.started_now for one in await first.waiting(None, 10, None)] == [True, False]
        await first.close()
        after = await Owner.of(later)
        assert [(one.started, one.started_now) for one in await later.waiting(None, 10, None)] == [
            (True, False), (False, False)
        ]  # fmt: skip
        await after.commit(notes=(Note(Pointer(1, 1, 1), attempt=1, started=True),))
        assert [one.started_now for one in await later.waiting(None, 10, None)] == [False, True]

    @behaviour
    async def test_an_inbox_row_has_the_shard_it_was_sent_to(self, place: Place) -> None:
        owner, sender = await place.owner(), await place.open()
        tickets = [*await sender.send_all([b"{}", b"[]"], 1, [2, 0]), await sender.send(b"{}", 1, 3)]
        assert [one.shard for one in await sender.inbox(0, 10)] == [2, 0, 3]
        await owner.commit(answers=tuple(
            InboxAnswer(ticket, b"told", 1, shard) for ticket, shard in zip(tickets, (2, 0, 3), strict=True)
        ))  # fmt: skip
        assert await sender.answers(tickets) == dict.fromkeys(tickets, b"told")

    @behaviour
    async def test_blobs_are_of_the_store_and_named_by_rows_of_any_shard(self, place: Place) -> None:
        owner = await place.owner()
        digest = b"d" * 32
        await owner.commit(
            *(owner.change(key_in(owner.store, shard), row("one"), row_blobs=((0, digest),)) for shard in (0, 1)),
            blobs=(NewBlob(digest, "text/plain", b"bytes"),),
        )
        assert await owner.store.blob(digest) == b"bytes"

    @behaviour
    async def test_projections_have_a_watermark_per_shard(self, place: Place) -> None:
        store = await place.open()
        assert await store.project("p", 1, 0, 5, [])
        assert not await store.project("p", 1, 0, 6, [])
        assert (await store.watermark("p", 0), await store.watermark("p", 1)) == (0, 5)

    @behaviour
    async def test_counts_are_of_all_shards(self, place: Place) -> None:
        owner = await place.owner()
        for shard in (0, 1, 2):
            await owner.apply(key_in(owner.store, shard), row("one", NewIntent(0, 2)), row("two"))
        counts = await owner.store.counts()
        assert (counts.instances, counts.actions, counts.outbox["waiting"]) == (3, 6, 3)
