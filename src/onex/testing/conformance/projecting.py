"""Projections: rows and watermark move together, and only from where the watermark is."""

from __future__ import annotations

from ...ports import ProjectionRow
from .owner import A, B, C
from .suite import Place, Suite, behaviour


class Projecting(Suite):
    @behaviour
    async def test_a_projection_begins_at_zero(self, place: Place) -> None:
        store = await place.open()
        assert await store.watermark("board", 0) == 0
        assert await store.projected("board", None, None, 10) == []

    @behaviour
    async def test_rows_and_watermark_move_together(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        rows = [ProjectionRow(B, 1, "open", "place", b'{"b":1}'), ProjectionRow(A, 4, "paid", "charge", b'{"a":1}')]
        assert await owner.store.project("board", 0, 0, 9, rows)
        assert await reader.watermark("board", 0) == 9
        assert await reader.projected("board", None, None, 10) == [rows[1], rows[0]]

    @behaviour
    async def test_from_another_place_nothing_moves(self, place: Place) -> None:
        store = (await place.owner()).store
        await store.project("board", 0, 0, 9, [ProjectionRow(A, 1, "open", "place", b"{}")])
        assert not await store.project("board", 0, 0, 5, [ProjectionRow(A, 2, "paid", "charge", b"{}")])
        assert not await store.project("board", 0, 10, 12, [ProjectionRow(A, 2, "paid", "charge", b"{}")])
        assert await store.watermark("board", 0) == 9
        assert [one.tag for one in await store.projected("board", None, None, 10)] == ["open"]

    @behaviour
    async def test_an_older_row_never_overwrites(self, place: Place) -> None:
        store = (await place.owner()).store
        await store.project("board", 0, 0, 5, [ProjectionRow(A, 3, "paid", "charge", b"{}")])
        await store.project(
            "board", 0, 5, 9, [ProjectionRow(A, 2, "open", "place", b"{}"), ProjectionRow(B, 1, "open", "place", b"{}")]
        )
        assert [(one.key, one.version) for one in await store.projected("board", None, None, 10)] == [(A, 3), (B, 1)]
        assert await store.watermark("board", 0) == 9

    @behaviour
    async def test_the_same_version_is_written_anew(self, place: Place) -> None:
        store = (await place.owner()).store
        await store.project("board", 0, 0, 5, [ProjectionRow(A, 3, "paid", "charge", b'{"old":1}')])
        await store.project("board", 0, 5, 5, [ProjectionRow(A, 3, "paid", "charge", b'{"new":1}')])
        assert [one.fields for one in await store.projected("board", None, None, 10)] == [b'{"new":1}']

    @behaviour
    async def test_projections_and_shards_keep_apart(self, place: Place) -> None:
        store = (await place.owner()).store
        await store.project("board", 0, 0, 5, [ProjectionRow(A, 1, "open", "place", b"{}")])
        await store.project("list", 0, 0, 7, [ProjectionRow(B, 1, "open", "place", b"{}")])
        await store.project("board", 1, 0, 3, [])
        assert [await store.watermark(*one) for one in (("board", 0), ("list", 0), ("board", 1))] == [5, 7, 3]
        assert [one.key for one in await store.projected("board", None, None, 10)] == [A]

    @behaviour
    async def test_a_projection_is_read_by_tag_in_pages(self, place: Place) -> None:
        store = (await place.owner()).store
        rows = [ProjectionRow(key, 1, tag, "place", b"{}") for key, tag in ((C, "open"), (A, "open"), (B, "paid"))]
        await store.project("board", 0, 0, 5, rows)
        assert [one.key for one in await store.projected("board", "open", None, 10)] == [A, C]
        assert [one.key for one in await store.projected("board", None, A, 1)] == [B]
