"""A projection is kept while its engine runs, read by any process, and obeys the settings; so do the engine's limits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path

import pytest

import onex
from onex.engine.limits import Limits
from onex.engine.projections import ProjectionMaterializerService, lag_of
from onex.kernel.errors import ValidationError
from onex.kernel.retry import RetryPolicy
from onex.ports import LogEntry, Position, ProjectionRow
from onex.settings import InvalidSetting
from onex.wiring import open_reader

ORDERS = Path(__file__).resolve().parents[2] / "examples" / "orders"


def run(story: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20))


def cancelled(entry: LogEntry) -> ProjectionRow | None:
    """A user's own: who cancelled."""
    if entry.row.kind != "cancel":
        return None
    return ProjectionRow(
        entry.key, entry.version, "cancelled", entry.row.kind, b'{"by":"%b"}' % entry.row.issuer.encode()
    )


def test_a_projection_is_kept_by_the_engine_and_read_by_any_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"

    async def story() -> None:
        async with await onex.open(url, ORDERS) as engine:
            built_in = await engine.materialize()
            own = await engine.materialize("cancelled", cancelled)
            done = [await engine.submit(f"orders:{n}", "cancel", issuer="shop") for n in (1, 2)]
            reached = done[-1].position
            assert [row.tag for row in await built_in.rows(reached=reached)] == ["cancelled"] * 2
            await own.wait(reached)
            reader = await open_reader(url)
            rows = await reader.projected("cancelled", None, None, 10)
            assert [(str(row.key), row.fields) for row in rows] == [
                ("orders:1", b'{"by":"shop"}'),
                ("orders:2", b'{"by":"shop"}'),
            ]
            lag = await lag_of(reader, reader, "cancelled", engine.clock.now_us())
            assert (lag.watermark, lag.rows) == (Position(0, 2), 0)
            await reader.close()
        async with await onex.open(url, ORDERS) as engine:  # nobody keeps it now
            await engine.submit("orders:3", "cancel")
            assert await engine.tables.watermark("cancelled", 0) == 2
            view = await engine.materialize("cancelled", cancelled)
            await view.wait(Position(0, 3))

    run(story())


@pytest.mark.parametrize("name", ["", "two\nlines", "\udc80"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    async def story() -> None:
        async with await onex.open("memory:", ORDERS) as engine:
            with pytest.raises(ValidationError, match="printable"):
                await engine.materialize(name)

    run(story())


def test_a_name_is_kept_once() -> None:
    async def story() -> None:
        async with await onex.open("memory:", ORDERS) as engine:
            await engine.materialize("cancelled", cancelled)
            with pytest.raises(ValidationError, match="'cancelled' is maintained here already"):
                await engine.materialize("cancelled")

    run(story())


def test_settings_reach_what_obeys_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "REDUCER_MAX_RETRIES": "2",
        "REDUCER_INITIAL_BACKOFF_MS": "20",
        "REDUCER_MAX_BACKOFF_MS": "40",
        "ACTION_DEDUP_TTL_HOURS": "24",
        "PROJECTION_BATCH_SIZE": "7",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    async def story() -> None:
        async with await onex.open("memory:", ORDERS) as engine:
            limits = engine.service.limits
            assert limits.conflicts == RetryPolicy(max_attempts=3, initial_s=0.020, max_s=0.040)
            assert (limits.dedup_hours, engine.intake.dedup_hours) == (24, 24)
            view = await engine.materialize()
            assert isinstance(view, ProjectionMaterializerService) and view.batch == 7
        async with await onex.open("memory:", ORDERS, limits=Limits(batch=3)) as engine:
            assert engine.service.limits == Limits(batch=3)

    run(story())


def test_a_setting_that_cannot_be_meant_opens_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDUCER_MAX_RETRIES", "many")

    async def story() -> None:
        with pytest.raises(InvalidSetting, match="REDUCER_MAX_RETRIES='many'"):
            await onex.open(f"sqlite:///{tmp_path}/store.db", ORDERS)

    run(story())
    assert list(tmp_path.iterdir()) == []
