"""Old log rows go into an archive and then out of the store; what was promised about them still holds."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
from blake3 import blake3

from onex.adapters.clock import UuidV7
from onex.adapters.sqlite.store import SqliteStore
from onex.engine.fold import SNAPSHOT_EVERY
from onex.engine.intake import id_of_idempotency_key
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.refold import HistoryCut
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import ActionExpiredError, InstanceFinished
from onex.ports import NewBlob
from onex.replay.compaction import CompactionResult, archive, carry_out, collect
from onex.replay.history_export import export_history
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict, ReplayResult
from onex.replay.verify import verify
from onex.testing.conformance.owner import ENV, A, B, Owner, row
from onex.wiring.recorded import RunSource, StoreImport
from onex.wiring.store_access import KeptStore, StoreUrl, open_kept
from tests.cli.conftest import Commands, commands, place  # noqa: F401 - fixtures
from tests.engine.hand_clock import HandClock
from tests.engine.jobs import Add, Start, Told, Worker, registry
from tests.servers.postgres_server import PostgresServer

DAY_S = 24 * 3600
DAY_US = DAY_S * 1_000_000
DONE, IDLE, LONG, WAITS, NEW = (WorkflowKey("job", name) for name in ("done", "idle", "long", "waits", "new"))
OLD_ID = UUID(int=((time.time_ns() // 1_000_000 - 99 * DAY_S * 1000) << 80) | 7 << 76 | 2 << 62)
"""A UUIDv7 of 99 days ago."""
KEYED = id_of_idempotency_key("third")
"""An id without an age."""


@asynccontextmanager
async def engine_at(url: str, at_us: int) -> AsyncIterator[tuple[ReducerPatternEngine, HandClock]]:
    store, clock = await open_kept(StoreUrl.parse(url)), HandClock()
    clock.at_us = at_us
    engine = ReducerPatternEngine(store, store, registry(Worker()), clock, UuidV7(), ENV)
    async with asyncio.timeout(60), await engine.start("test"):
        yield engine, clock
    await store.close()


async def aged(url: str) -> None:
    """A hundred days ago one ended, one fell idle, one waits for its timer; one goes on to this day, and one is new."""
    async with engine_at(url, time.time_ns() // 1000 - 100 * DAY_US) as (engine, clock):
        await engine.submit(DONE, "start", Start(text="quick"))
        await engine.wait(DONE)
        for n in range(3):
            await engine.submit(IDLE, "add", Add(amount=n + 1), action_id=KEYED if n == 2 else None)
        assert (await engine.submit(IDLE, "add", Add(amount=3), action_id=KEYED)).duplicate
        await engine.submit_many([(LONG, "add", Add(amount=100))] * (SNAPSHOT_EVERY // 2))
        await engine.submit_many([(LONG, "add", Add(amount=100))] * (SNAPSHOT_EVERY // 2 + 5))
        await engine.submit(WAITS, "wake_me", Add(amount=200 * DAY_S))
        clock.forward(99 * DAY_S)
        await engine.submit(LONG, "add", Add(amount=100))
        await engine.submit(NEW, "add", Add())


async def compacted(url: str, file: Path, days: int = 90) -> CompactionResult:
    result, now = CompactionResult(), time.time_ns() // 1000
    store = await open_kept(StoreUrl.parse(url))
    with file.open("w") as out:
        cuts = await archive(store, now - days * DAY_US, out, result)
    await carry_out(store, cuts, now, result)
    await collect(store, now, result, dry=False)
    await store.close()
    return result


async def lines(source: RunSource) -> set[str]:
    """Every row of the source, as an export writes it."""
    out = StringIO()
    async with source.opened() as run:
        await export_history(run, out)
    return {line for line in out.getvalue().splitlines() if json.loads(line)["line"] == "row"}


async def replayed(source: RunSource) -> ReplayResult:
    async with source.opened() as run:
        replay = Replay(run, registry(Worker()), (), run.redacted_since, run.damaged)
        async for _ in replay.all():
            pass
        assert (await verify(run)).findings == 0
    return replay.result


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return f"{server.url(f'compacted_{tmp_path.name[-20:]}'.lower().replace('-', '_'))}&shards=1"


def test_what_is_old_goes_into_an_archive_that_replays_and_the_store_goes_on(url: str, tmp_path: Path) -> None:
    async def go() -> None:
        await aged(url)
        store, first = RunSource(store_url=url), RunSource(file=str(tmp_path / "first.onexrun"))
        before = await lines(store)
        result = await compacted(url, tmp_path / "first.onexrun")
        assert (result.instances, result.cut, result.ended, result.stayed) == (5, 3, 1, 0)
        left, gone = await lines(store), await lines(first)
        assert (left | gone, left & gone, len(gone)) == (before, set(), result.rows)
        assert (await replayed(store)).by_verdict == {EnumReplayVerdict.EQUAL: 3}  # of long, new and waits
        assert (await replayed(first)).by_verdict == {EnumReplayVerdict.EQUAL: 3}  # of done, idle and long

        now = time.time_ns() // 1000
        async with engine_at(url, now) as (engine, _):
            with pytest.raises(InstanceFinished):
                await engine.submit(DONE, "start", Start(text="quick"))
            with pytest.raises(ActionExpiredError):
                await engine.submit(IDLE, "add", Add(), action_id=OLD_ID)
            assert (await engine.submit(IDLE, "add", Add(amount=4))).version == 4
            with pytest.raises(HistoryCut, match="begins behind version 3"):
                await engine.state_at(IDLE, 2)
            assert (await engine.state_at(IDLE, 4)).count == 10  # type: ignore[attr-defined]  # a Job
        assert (await replayed(store)).by_verdict == {EnumReplayVerdict.EQUAL: 4}

        async with engine_at(url, now) as (engine, _):  # beside an engine that goes on
            goes_on = asyncio.gather(*(engine.submit(f"job:beside{n}", "add", Add()) for n in range(50)))
            assert (await compacted(url, tmp_path / "none.onexrun")).cut == 0
            assert {one.version for one in await goes_on} == {1}
        second = RunSource(file=str(tmp_path / "second.onexrun"))
        async with engine_at(url, now) as (engine, _):
            later = await compacted(url, tmp_path / "second.onexrun", days=0)
            assert (
                later.cut >= 50
            )  # idle again, the new one, and those of a moment ago; the last row of the shard stays
            assert (await engine.submit("job:beside1", "add", Add())).version == 2
            assert (await engine.submit(IDLE, "add", Add())).version == 5
            again = await engine.submit(IDLE, "add", Add(amount=3), action_id=KEYED)
            assert (again.duplicate, again.version) == (False, 6)  # it was forgotten with its row
        assert (await replayed(second)).by_verdict == {EnumReplayVerdict.EQUAL: later.cut}
        assert set((await replayed(store)).by_verdict) == {EnumReplayVerdict.EQUAL}

    asyncio.run(go())


def test_an_open_message_holds_back_what_is_younger(tmp_path: Path) -> None:
    async def go() -> None:
        url = f"sqlite:///{tmp_path / 'store.db'}"
        async with engine_at(url, time.time_ns() // 1000 - 100 * DAY_US) as (engine, clock):
            await engine.submit(IDLE, "add", Add())
            clock.forward(3600)
            await engine.submit(WAITS, "tell", Told(text="gone"))
            await engine.idle()
            clock.forward(3600)
            await engine.submit(DONE, "start", Start(text="quick"))
            await engine.wait(DONE)
            await engine.submit(NEW, "add", Add())
        store = await SqliteStore.open(tmp_path / "store.db")
        entry = next(one for one in await store.history(WAITS, 0, 9) if one.row.kind == "tell")
        await store._writes.call(  # as if its receiver had never answered
            lambda core: core.transaction(
                lambda cursor: (
                    cursor.execute(
                        "insert into outbox(n, ordinal, instance, priority, due_us, timer)"
                        " select n, 0, instance, 2, 0, '' from log where n = ?",
                        (entry.position.n,),
                    ).rowcount
                )
            )
        )
        await store.close()
        result = await compacted(url, tmp_path / "first.onexrun")
        assert (result.cut, result.held_by) == (1, f"{WAITS} version 1")

    asyncio.run(go())


def test_a_blob_that_a_state_names_stays_when_the_row_that_brought_it_goes(tmp_path: Path) -> None:
    data = b"kept by the state", b"kept by nobody"
    kept, lost = (blake3(one).digest() for one in data)

    async def go() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        owner = await Owner.of(store)
        change = owner.change(
            A, row("a1"), row_blobs=((0, kept), (0, lost)), state=b'{"page":{"digest":"%s"}}' % kept.hex().encode()
        )
        await owner.commit(
            change, blobs=tuple(NewBlob(blake3(one).digest(), "text/plain", one) for one in data), at_us=9
        )
        await owner.apply(B, row("b1"))
        await store.close()
        result = await compacted(f"sqlite:///{tmp_path / 'store.db'}", tmp_path / "first.onexrun")
        assert (result.cut, result.blobs, result.blob_bytes) == (1, 1, len(data[1]))
        reader = await SqliteStore.open(tmp_path / "store.db", read_only=True)
        assert (await reader.blob(kept), await reader.blob(lost)) == (data[0], None)
        await reader.close()

    asyncio.run(go())


def test_an_archive_and_what_is_left_are_imported_as_stores_to_read(tmp_path: Path) -> None:
    async def go() -> None:
        url = f"sqlite:///{tmp_path / 'store.db'}"
        await aged(url)
        await compacted(url, tmp_path / "first.onexrun")
        for number, source in enumerate((RunSource(file=str(tmp_path / "first.onexrun")), RunSource(store_url=url))):
            file = tmp_path / f"{number}.onexrun"
            async with source.opened() as run:
                with file.open("w") as out:
                    await export_history(run, out)
            with StoreImport(f"sqlite:///{tmp_path / f'{number}.db'}") as made:
                async with RunSource(file=str(file)).opened() as run:
                    await made.take(run)  # type: ignore[arg-type]  # it is a file
                made.finish()
            imported = RunSource(store_url=f"sqlite:///{tmp_path / f'{number}.db'}")
            assert await lines(imported) == await lines(source) or number == 1  # other positions: some are gone
            assert set((await replayed(imported)).by_verdict) == {EnumReplayVerdict.EQUAL}

    asyncio.run(go())


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("old") / "store.db"
    asyncio.run(aged(f"sqlite:///{path}"))
    return path


POINTS = ["fsync", "link", "before-1", "after-1", "before-2", "after-2", "after-3"]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_the_archive_has_what_the_store_lost(old: Path, tmp_path: Path, point: str) -> None:
    path, file = tmp_path / "store.db", tmp_path / "first.onexrun"
    path.write_bytes(old.read_bytes())

    def gc(point: str, file: Path) -> int:
        words = [sys.executable, "-m", "tests.replay.killed_compaction", str(path), str(file), point]
        return subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, timeout=60).returncode

    def is_there(file: Path) -> bool:
        return file.exists()

    async def rows(file: Path) -> set[str]:
        return await lines(RunSource(file=str(file))) if is_there(file) else set()

    async def go() -> None:
        store = RunSource(store_url=f"sqlite:///{path}")
        before = await lines(store)
        assert gc(point, file) == -9
        left = await lines(store)
        assert left | await rows(file) == before
        assert (left == before) is (point in ("fsync", "link", "before-1"))
        assert set((await replayed(store)).by_verdict) == {EnumReplayVerdict.EQUAL}
        assert gc("none", tmp_path / "second.onexrun") == 0  # the next run does the rest
        assert await lines(store) | await rows(file) | await rows(tmp_path / "second.onexrun") == before
        assert len(await lines(store)) < len(before)

    asyncio.run(go())


@pytest.fixture
def shop(place: Path, old: Path) -> Iterator[KeptStore | None]:  # noqa: F811 - the fixture
    (place / "store.db").write_bytes(old.read_bytes())
    yield None


def test_the_command_says_what_would_go_and_then_what_went(commands: Commands, shop: None) -> None:  # noqa: F811
    told = commands("gc", "--older-than", "90d", "--dry-run", "--json").row
    assert (told["cut"], told["ended"], told["dry_run"]) == (3, 1, True)
    assert commands("gc", "--older-than", "90d").code == 0
    assert "an idempotency key among them that is sent again is applied again" in commands("gc", "--dry-run").err
    assert commands("gc", "--older-than", "90d", "--dry-run", "--json").row == told
    went = commands("gc", "--older-than", "90d", "--archive", "old.onexrun", "--json").row
    assert (went["cut"], went["rows"]) == (told["cut"], told["rows"])
    assert commands("verify", "--from", "old.onexrun").code == 0
    assert commands("verify").code == 0
    assert "behind version 3" in commands("show", str(IDLE)).out
    refused = commands("show", str(IDLE), "--at", "2", "--app", "nowhere")
    assert refused.code in (1, 2)
    again = commands("gc", "--older-than", "90d", "--archive", "old.onexrun")
    assert (again.code, "name another file" in again.err) == (2, True)
    short = commands("gc", "--older-than", "5h")
    assert (short.code, "168 h for which action ids are remembered" in short.err) == (2, True)
    assert commands("gc", "--older-than", "soon").code == 2
