"""A projection reports where it is, and stops before the row on which its own function fails."""

from __future__ import annotations

import asyncio

import pytest

from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.pending import Committed
from onex.engine.projections import Lag, Project, ProjectionFailed, ProjectionMaterializerService, lag_of, latest
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import DatabaseConnectionError, OnexError, ProjectionLagging
from onex.ports import LogEntry, LogRow, Position, ProjectionRow, Projections
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add

K = WorkflowKey("job", "1")


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]  # each test is a coroutine function of its own


def tables(engine: ReducerPatternEngine) -> Projections:
    return engine.store  # type: ignore[return-value]  # both embedded stores keep projections too


def view(engine: ReducerPatternEngine, project: Project = latest) -> ProjectionMaterializerService:
    return ProjectionMaterializerService(
        engine.reader, tables(engine), engine.commit_signal, engine.clock, "view", project, batch=2
    )


def not_thirty(entry: LogEntry) -> ProjectionRow:
    if b"30" in entry.row.payload:
        raise ArithmeticError("no thirty \udc80")
    return latest(entry)


def test_lag_is_rows_and_the_age_of_the_oldest_of_them(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            one = view(engine)
            assert await one.lag() == Lag(Position(0, 0), 0, 0.0)
            await engine.submit_many([(K, "add", Add(amount=amount)) for amount in (2, 4, 6)])
            issued_us = [entry.row.issued_us for entry in await engine.reader.history(K, 0, 3)]
            assert await tables(engine).project("view", 0, 0, 1, [])
            lag = await lag_of(engine.reader, tables(engine), "view", issued_us[1] + 5_000)
            assert lag == Lag(Position(0, 1), 2, 5.0)
            assert (await one.lag_ms()) > 0
            assert await one.catch_up() == 2
            assert (await one.lag(), await one.lag_ms()) == (Lag(Position(0, 3), 0, 0.0), 0.0)

    run(go())


class Untellable(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "raised", [SystemExit(3), KeyboardInterrupt(), Untellable(), StopIteration(), asyncio.CancelledError()]
)
def test_whatever_a_function_raises_it_stands_still_and_says_why(one_store: OneStore, raised: BaseException) -> None:
    def fatal(entry: LogEntry) -> ProjectionRow:
        raise raised

    async def go() -> None:
        async with one_store.engine() as engine:
            one = view(engine, fatal)
            await one.start()
            done = await engine.submit(K, "add", Add(amount=2))
            with pytest.raises(ProjectionFailed, match=type(raised).__name__):
                await one.rows(reached=done.position)
            await one.close()

    run(go())


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("row", "a str"),
        ((K, 1, "tag", "add", b"{}"), "a tuple"),
        (ProjectionRow(K, 1, 7, "add", b"{}"), "a row whose tag is an int"),  # type: ignore[arg-type]  # the mistake
        (ProjectionRow(K, 2**64, "tag", "add", b"{}"), "a row whose version no store takes"),
        (ProjectionRow(K, 1, "\udc80", "add", b"{}"), "a row with text that no store takes"),
        (ProjectionRow(("job",), 1, "tag", "add", b"{}"), "a row whose key is a tuple"),  # type: ignore[arg-type]  # too
        (ProjectionRow(K, True, "tag", "add", b"{}"), "a row whose version is a bool"),
        (ProjectionRow(WorkflowKey("job", "2"), 1, "tag", "add", b"{}"), "a row of job:2"),
        (ProjectionRow(K, 1, "tag", "add", b"[]"), "a row whose fields are no JSON object"),
        (ProjectionRow(K, 1, "tag", "add", b"\xff"), "a row whose fields are no JSON object"),
    ],
)
def test_what_is_no_row_is_reported_and_nothing_of_it_is_kept(one_store: OneStore, row: object, wrong: str) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            one = view(engine, lambda entry: row)  # type: ignore[arg-type,return-value]  # that is the mistake
            await engine.submit(K, "add", Add(amount=2))
            with pytest.raises(ProjectionFailed, match=f"returned {wrong}"):
                await one.catch_up()
            assert (await one.rows(), (await one.lag()).watermark) == ([], Position(0, 0))

    run(go())


def test_the_rows_before_the_one_it_failed_on_are_kept(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            one = ProjectionMaterializerService(
                engine.reader, tables(engine), engine.commit_signal, engine.clock, "view", not_thirty
            )
            await engine.submit_many([(f"job:{n}", "add", Add(amount=n)) for n in (2, 4, 30, 6)])
            with pytest.raises(ProjectionFailed, match=r"at 0:3 \(job:30, 'add'\)"):
                await one.catch_up()
            assert sorted(row.key.instance_id for row in await one.rows()) == ["2", "4"]
            lag = await one.lag()
            assert (lag.watermark, lag.rows) == (Position(0, 2), 2)

    run(go())


def test_one_exception_raised_again_and_again_does_not_grow(one_store: OneStore) -> None:
    shared = ArithmeticError("one for all")

    def fatal(entry: LogEntry) -> ProjectionRow:
        raise shared

    def depth() -> int:
        trace, frames = shared.__traceback__, 0
        while trace is not None:
            trace, frames = trace.tb_next, frames + 1
        return frames

    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", Add())
            depths = []
            for _ in range(5):
                with pytest.raises(ProjectionFailed):
                    await view(engine, fatal).catch_up()
                depths.append(depth())
            assert set(depths) == {2}

    run(go())


class TwoShards:
    """A log of two shards, of which the second has seven rows."""

    def __init__(self, rows: dict[int, int]) -> None:
        self.rows = rows

    async def log(self, after: Position, limit: int) -> list[LogEntry]:
        row = LogRow(b"", "add", b"", 0, b"", None, "", b"", b"", "open")
        last = self.rows[after.shard]
        return [
            LogEntry(Position(after.shard, n), K, n, row, 1, 1, b"")
            for n in range(after.n + 1, min(last, after.n + limit) + 1)
        ]

    async def watermark(self, name: str, shard: int) -> int:
        return 2


@pytest.mark.parametrize("last", [2, 3, 4, 7, 64, 65, 1000])
def test_lag_counts_the_rows_of_its_own_shard(last: int) -> None:
    async def go() -> None:
        log = TwoShards({0: 5000, 1: last})
        lag = await lag_of(log, log, "view", 0, shard=1)  # type: ignore[arg-type]  # as much of both as it asks
        assert (lag.watermark, lag.rows) == (Position(1, 2), last - 2)

    run(go())


def test_a_projection_whose_tables_fail_in_an_unknown_way_says_so(
    one_store: OneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            one = view(engine)

            async def broken(*given: object) -> bool:
                raise ZeroDivisionError("nobody thought of it")

            monkeypatch.setattr(one.tables, "project", broken)
            await one.start()
            done = await engine.submit(K, "add", Add(amount=2))
            with pytest.raises(OnexError, match="stopped: ZeroDivisionError"):
                await one.rows(reached=done.position)
            await one.close()

    run(go())


def test_a_function_that_raises_stops_before_its_row_and_who_waits_gets_the_error(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            one = view(engine, not_thirty)
            await one.start()
            done = [await engine.submit(K, "add", Add(amount=amount)) for amount in (2, 30)]
            with pytest.raises(ProjectionFailed, match=r"'view' raised at 0:[12] \(job:1, 'add'\): ArithmeticError"):
                await one.rows(reached=done[-1].position)
            assert isinstance(one.failed, ProjectionFailed)
            assert "no thirty \\udc80" in one.failed.message
            assert (await one.lag()).rows >= 1
            await one.close()
            assert (await engine.submit(K, "add", Add(amount=4))).version == 3
        async with one_store.engine() as engine:  # mended, it goes on where it stood
            mended = view(engine)
            await mended.catch_up()
            (row,) = await mended.rows()
            assert (row.version, mended.failed) == (3, None)

    run(go())


def test_a_store_that_could_not_be_written_for_a_while_stops_nothing(
    one_store: OneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            one = view(engine)
            kept, refused = tables(engine).project, 0

            async def refuse_twice(name: str, shard: int, from_n: int, to_n: int, rows: list[ProjectionRow]) -> bool:
                nonlocal refused
                refused += 1
                if refused <= 2:
                    raise DatabaseConnectionError("the disk can only be read")
                return await kept(name, shard, from_n, to_n, rows)

            monkeypatch.setattr(engine.store, "project", refuse_twice)
            await one.start()
            told = await engine.submit(K, "add", Add(amount=2))
            (row,) = await one.rows(reached=told.position)
            assert (row.version, one.failed, refused) == (1, None, 3)
            await one.close()

    run(go())


class CountedTables:
    """The tables of a store, and how often the watermark was asked for."""

    def __init__(self, tables: Projections) -> None:
        self.tables, self.asked = tables, 0
        self.project, self.projected = tables.project, tables.projected

    async def watermark(self, name: str, shard: int) -> int:
        self.asked += 1
        return await self.tables.watermark(name, shard)


def test_many_who_wait_do_not_each_ask_the_store_at_every_move(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            counted = CountedTables(tables(engine))
            one = ProjectionMaterializerService(
                engine.reader, counted, engine.commit_signal, engine.clock, "view", latest, batch=1
            )
            answers = await engine.submit_many([(K, "add", Add(amount=1)) for _ in range(40)])
            last = [answer.position for answer in answers if isinstance(answer, Committed)][-1]
            waiting = [asyncio.create_task(one.wait(last)) for _ in range(50)]
            while counted.asked < len(waiting):
                await asyncio.sleep(0)
            await one.catch_up()
            await asyncio.gather(*waiting)
            assert counted.asked <= len(waiting) + 41 + 1  # each once, and each of 40 batches of one row

    run(go())


def test_two_of_one_name_change_nothing_twice(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            both = [view(engine), view(engine)]
            for one in both:
                await one.start()
            done = await engine.submit_many([(f"job:{n % 5}", "add", Add()) for n in range(40)])
            last = done[-1]
            assert not isinstance(last, Exception)
            rows = [await one.rows(reached=Position(0, 40)) for one in both]
            assert rows[0] == rows[1]
            assert [row.version for row in rows[0]] == [8] * 5
            with pytest.raises(ProjectionLagging, match="is at 40, 1 behind"):
                await both[0].wait(Position(0, 41))
            for one in both:
                await one.close()

    run(go())
