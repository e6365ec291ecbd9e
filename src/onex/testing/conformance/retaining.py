"""Retention: what may be cut is cut whole, what something still needs stays, and what is left reads as before."""

from __future__ import annotations

from blake3 import blake3

from ...ports import Cut, EnumOutboxState, NewBlob, NewIntent, Pointer, Position, Rejection
from ...records import REJECTION_KEPT_US
from .owner import A, B, action, row
from .suite import Place, Suite, behaviour

ALL = 100


class Retaining(Suite):
    @behaviour
    async def test_rows_up_to_the_current_state_are_cut_and_the_instance_goes_on(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        await owner.apply(A, row("a1"), row("a2"))
        await owner.apply(B, row("b1"))
        assert await reader.cut([Cut(A, 0, 2)], 5, dry=True) == [True]
        assert (await owner.stored(A)).cut == 0
        assert await reader.cut([Cut(A, 0, 2)], 5) == [True]
        stored = await owner.stored(A)
        assert (stored.version, stored.cut, stored.state) == (2, 2, b'{"v":2}')
        assert await reader.history(A, 0, ALL) == []
        kept = await reader.snapshot(A, ALL)
        assert kept is not None
        assert (kept.version, kept.state, kept.state_hash) == (2, b'{"v":2}', b"hash 2")
        await owner.apply(A, row("a3"))
        assert [one.version for one in await reader.history(A, 0, ALL)] == [3]
        assert [one.row.action_id for one in await reader.log(Position(0, 0), ALL)] == [action("b1"), action("a3")]

    @behaviour
    async def test_an_instance_that_ended_leaves_its_row(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"))
        await owner.apply(A, row("a2", status="done"), terminal=True)
        await owner.apply(B, row("b1"))
        assert await owner.store.cut([Cut(A, 0, 2)], 5) == [True]
        stored = await owner.stored(A)
        assert (stored.terminal, stored.status, stored.cut) == (True, "done", 2)
        assert await owner.store.applied(A, action("a1")) is None
        assert await owner.store.snapshot(A, ALL) is None

    @behaviour
    async def test_rows_up_to_a_kept_state_are_cut_and_kept_states_before_it_go(self, place: Place) -> None:
        owner = await place.owner()
        for name in ("a1", "a2"):
            await owner.apply(A, row(name), snapshot_after=True)
        await owner.apply(A, row("a3"))
        await owner.apply(B, row("b1"))
        assert await owner.store.cut([Cut(A, 0, 2)], 5) == [True]
        assert [one.version for one in await owner.store.history(A, 0, ALL)] == [3]
        assert await owner.store.snapshot(A, 1) is None
        found = await owner.store.applied(A, action("a3"))
        assert found is not None

    @behaviour
    async def test_what_does_not_fit_the_store_is_not_cut(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"), row("a2"))
        await owner.apply(A, row("a3"))
        await owner.apply(B, row("b1"))
        inside, no_state, beyond, moved = Cut(A, 0, 1), Cut(A, 0, 2), Cut(A, 0, 4), Cut(A, 1, 3)
        nobody, last = Cut(A._replace(instance_id="nobody"), 0, 1), Cut(B, 0, 1)
        asked = [inside, no_state, beyond, moved, nobody, last]
        assert await owner.store.cut(asked, 5) == [False] * 6
        assert await owner.store.cut([Cut(A, 0, 3), Cut(A, 0, 3)], 5) == [True, False]

    @behaviour
    async def test_an_open_intent_keeps_its_row_and_those_behind_it(self, place: Place) -> None:
        owner = await place.owner()
        first = await owner.apply(A, row("a1", NewIntent(0, 2)))
        await owner.apply(A, row("a2"))
        await owner.apply(B, row("b1"))
        assert await owner.store.cut([Cut(A, 0, 2)], 5) == [False]
        assert len(await owner.store.outbox((EnumOutboxState.WAITING,), A, None, ALL)) == 1
        await owner.commit(settled=(Pointer(*first.first, 0),))
        assert await owner.store.cut([Cut(A, 0, 2)], 5) == [True]

    @behaviour
    async def test_what_a_projection_has_not_read_stays(self, place: Place) -> None:
        owner = await place.owner()
        for name in ("a1", "a2"):
            await owner.apply(A, row(name), snapshot_after=True)
        await owner.apply(B, row("b1"))
        await owner.store.project("board", 0, 0, 1, [])
        assert await owner.store.cut([Cut(A, 0, 2), Cut(A, 0, 1)], 5) == [False, True]

    @behaviour
    async def test_a_blob_goes_when_no_row_names_it(self, place: Place) -> None:
        owner, data = await place.owner(), [b"first", b"second"]
        first, second = (blake3(one).digest() for one in data)
        blobs = tuple(NewBlob(blake3(one).digest(), "text/plain", one) for one in data)
        change = owner.change(A, row("a1"), row("a2"), row_blobs=((0, first), (1, second)))
        await owner.commit(change, blobs=blobs, at_us=10)
        await owner.apply(B, row("b1"), row_blobs=((0, second),))
        await owner.apply(B, row("b2"))
        assert await owner.store.unnamed_blobs(b"", 10, ALL) == []
        assert await owner.store.cut([Cut(A, 0, 2)], 20) == [True]
        assert await owner.store.unnamed_blobs(b"", 9, ALL) == []
        assert await owner.store.unnamed_blobs(first, 10, ALL) == []
        assert await owner.store.unnamed_blobs(b"", 10, ALL) == [(first, 5)]
        assert await owner.store.drop_blobs([first, second]) == 1
        assert (await owner.store.blob(first), await owner.store.blob(second)) == (None, b"second")

    @behaviour
    async def test_what_is_past_its_time_expires(self, place: Place) -> None:
        owner = await place.owner()
        refused = Rejection("orders:a", action("no"), "odd", "no", b"{}", 7)
        await owner.commit(rejections=(refused,), at_us=7)
        later = 7 + REJECTION_KEPT_US
        assert await owner.store.expire(later - 1) == 0
        assert await owner.store.expire(later, dry=True) == 1
        assert len(await owner.store.rejections(None, None, 0, ALL)) == 1
        assert await owner.store.expire(later) == 1
        assert await owner.store.rejections(None, None, 0, ALL) == []
