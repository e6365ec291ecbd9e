"""A PostgreSQL store as a recorded run: what one engine does is the same record on both stores, and damage is seen on both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from random import Random
from uuid import NAMESPACE_OID, uuid5

import asyncpg
import pytest

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.postgres.link import Connection
from onex.adapters.postgres.run import PostgresRun
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import NOTHING, WorkflowKey
from onex.kernel.errors import OnexError
from onex.replay.history_export import export_history
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict, ReplayResult
from onex.replay.verify import verify
from onex.testing.conformance.owner import ENV
from onex.wiring.recorded import RecordedRun, RunSource
from onex.wiring.store_access import StoreUrl, open_kept
from tests.engine.jobs import Add, Start, Told, Worker, registry
from tests.servers.postgres_server import PostgresServer

Value = int | str | bytes | bool | None
SHORT, LONG, DONE, OTHER = (WorkflowKey("job", name) for name in ("short", "long", "done", "other"))
HOUR_US = 3_600_000_000


class SetClock(SystemClock):
    """Shows the time that the test has set, and real durations."""

    us = 1_700_000_000_000_000

    def now_us(self) -> int:
        return self.us


async def written(url: str) -> None:
    """The same on any store: one instance that ended, one longer than what is sorted at once, one with a timer and a message."""
    store = await open_kept(StoreUrl.parse(url))
    clock = SetClock()
    engine = ReducerPatternEngine(store, store, registry(Worker()), clock, UuidV7(), ENV)
    async with await engine.start("tester"):

        async def submit(key: WorkflowKey, trigger: str, payload: object) -> None:
            clock.us += 1_000
            name = uuid5(NAMESPACE_OID, str(clock.us))
            await engine.submit(key, trigger, payload, action_id=name, correlation_id=name)  # type: ignore[arg-type]

        await submit(DONE, "start", Start(text="quick"))
        await engine.wait(DONE)
        for _ in range(300):
            await submit(LONG, "add", Add())
        await submit(LONG, "wake_me", Add(amount=3600))
        await submit(SHORT, "add", Add(amount=3))
        await submit(SHORT, "tell", Told(text=OTHER.instance_id))
        await engine.wait(OTHER, until="new", timeout_s=20)
        await submit(SHORT, "shout", NOTHING)
        await engine.idle()
        await submit(
            SHORT, "add", Add()
        )  # a neighbour without an intent: nothing stored tells one intent of a row from another's
        await submit(SHORT, "start", Start(text="slow"))
    await store.close()


async def exported(run: RecordedRun) -> str:
    out = StringIO()
    await export_history(run, out)
    return out.getvalue()


async def replayed(run: RecordedRun, part: tuple[int, int] = (0, 1)) -> ReplayResult:
    replay = Replay(run, registry(Worker()), (), run.redacted_since, run.damaged)
    async for _ in replay.all(None, part):
        pass
    return replay.result


def lines(text: str) -> list[object]:
    """Of an export, without where in its log a row stands: with more shards that is another place."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        line.pop("position", None)
    return found


@asynccontextmanager
async def at(postgres: PostgresServer, database: str) -> AsyncIterator[Connection]:
    """A connection that may do what only damage does."""
    dsn = f"postgres://postgres@127.0.0.1:{postgres.port}/{database}"
    admin = await asyncpg.connect(dsn, server_settings={"search_path": "onex"})
    try:
        yield admin
    finally:
        await admin.close()


def url_of(postgres: PostgresServer, database: str) -> str:
    return f"postgres://postgres@127.0.0.1:{postgres.port}/{database}"


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> str:
    """A store in a database of its own, so that the whole can be copied."""

    async def go() -> None:
        async with at(postgres, "postgres") as admin:
            await admin.execute("create database replayed")
        await written(f"{url_of(postgres, 'replayed')}?shards=4")

    asyncio.run(go())
    return url_of(postgres, "replayed")


def test_the_same_work_is_the_same_record_on_both_stores(url: str, tmp_path: Path) -> None:
    async def go() -> None:
        file = f"sqlite:///{tmp_path / 'store.db'}"
        await written(file)
        async with RunSource(store_url=file).opened() as one, RunSource(store_url=url).opened() as two:
            assert lines(await exported(two)) == lines(await exported(one))
            results = [await replayed(one), await replayed(two)]
            assert results[0] == results[1]
            assert (results[1].by_verdict, results[1].damage) == ({EnumReplayVerdict.EQUAL: 4}, [])
            assert results[1].actions == two.actions == one.actions

    asyncio.run(go())


def test_shares_of_several_readers_are_the_whole(url: str) -> None:
    async def go() -> None:
        whole = ReplayResult()
        for part in range(3):
            async with RunSource(store_url=url).opened() as run:
                whole.join(await replayed(run, (part, 3)))
        assert (whole.instances, whole.by_verdict) == (4, {EnumReplayVerdict.EQUAL: 4})

    asyncio.run(go())


# --- damage ---------------------------------------------------------------------------------------------------------------


FREE = {
    "workflow_key", "due_us", "attempt", "fence", "crashes", "error", "result", "updated_us", "began_us",
    "lease_until_us", "failures", "held", "epoch", "priority", "started", "checksum",
}  # fmt: skip
"""Columns of which no other value says whether they are right: any could have been written."""


def others(value: Value) -> Iterator[Value]:
    """What may stand there instead: the server keeps the type."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value ^ 1
        yield value ^ 1 << 8
    elif isinstance(value, str):
        yield f"{value}x"
    elif isinstance(value, bytes):
        yield bytes([value[0] ^ 1]) + value[1:] if value else b"x"
        yield value[:-1]


ROWS = [
    ("log", "instance = (select instance from workflow_state where instance_id = 'done') and version = 2"),
    ("log", "instance = (select instance from workflow_state where instance_id = 'short') and version = 2"),
    ("log", "instance = (select instance from workflow_state where instance_id = 'long') and version = 290"),
    ("workflow_state", "instance_id = 'short'"),
    ("outbox", "timer = 'alarm'"),
    ("outbox", "timer = ''"),
]


@pytest.mark.parametrize(("table", "where"), ROWS)
def test_whatever_is_turned_in_a_row_is_seen_by_replay_and_never_called_equal(
    url: str, postgres: PostgresServer, table: str, where: str
) -> None:
    async def go() -> None:
        unseen, tried = [], 0
        run = await PostgresRun.open(StoreUrl.parse(url).address)  # type: ignore[arg-type]  # it has one
        async with at(postgres, "replayed") as admin:
            row = await admin.fetchrow(f"select ctid, * from {table} where {where}")
            assert row is not None
            place = row["ctid"]
            for name, value in list(row.items())[1:]:
                for other in others(value):
                    if name in FREE or other == value:
                        continue
                    change = f"update {table} set {name} = $1 where ctid = $2 returning ctid"
                    try:
                        place = await admin.fetchval(change, other, place)
                    except asyncpg.UniqueViolationError:
                        continue  # what a key cannot be
                    tried += 1
                    result = await replayed(run)
                    if not result.mismatches and not result.damage:
                        unseen.append((name, other))
                    place = await admin.fetchval(change, value, place)
        assert unseen == []
        assert tried > 3
        assert (await replayed(run)).by_verdict == {EnumReplayVerdict.EQUAL: 4}
        await run.close()

    asyncio.run(go())


SEEN = [
    ("delete from workflow_state where instance_id = 'other'", "belongs to an instance that is not there"),
    ("delete from codes", "was made by code that is not listed"),
    ("delete from envs", "was made under an environment that is not listed"),
    (
        "delete from log where instance = (select instance from workflow_state where instance_id = 'long') and version = 7",
        "do not follow one another",
    ),
    (
        "update log set prev = 1 where n = (select position from workflow_state where instance_id = 'short')",
        "does not follow the row of its instance that it names",
    ),
    ("update outbox set priority = 9", "holds a priority of the wrong length or value"),
    ("update outbox set state = 'lost'", "holds a state of the wrong length or value"),
    ("update outbox set ordinal = 7 where timer = ''", "names an intent that its row of the log does not have"),
    ("update shards set n = n + 1 where shard = 0", "positions were given"),
    (
        "insert into snapshots select 77, 1, state_schema, code_id, state_hash, 0, state from workflow_state limit 1",
        "is of an instance, or a version, that is not there",
    ),
]


@pytest.mark.parametrize(("change", "told"), SEEN)
def test_rows_that_contradict_each_other_are_told_in_words(
    url: str, postgres: PostgresServer, change: str, told: str
) -> None:
    """On a copy of the whole database."""

    async def go() -> None:
        async with at(postgres, "postgres") as admin:
            await admin.execute("drop database if exists damaged with (force)")
            await admin.execute("create database damaged template replayed")
        async with at(postgres, "damaged") as admin:
            await admin.execute(change)
        async with RunSource(store_url=url_of(postgres, "damaged")).opened() as run:
            result = await replayed(run)
        said = [*result.damage, *(segment.reason for segment in result.bad)]
        assert any(told in one for one in said), said

    asyncio.run(go())


VERIFIED = {
    "log": "n instance version prev action_id kind payload issued_us correlation issuer body_hash intents status code_id env_id"
    " payload_schema state_hash checksum",
    "workflow_state": "workflow_type instance_id version epoch status state_schema state_hash code_id position last_us state cut"
    " checksum",
    "outbox": "n ordinal instance timer state",
}


def test_a_flipped_byte_is_found_by_verify_without_any_code(url: str, postgres: PostgresServer) -> None:
    chance, tried = Random(20261129), 0

    async def is_seen() -> bool:
        try:
            return (await verify(run)).findings > 0
        except OnexError:
            return True

    async def go() -> None:
        nonlocal tried
        async with at(postgres, "replayed") as admin:
            while tried < 40:
                table = chance.choice([*VERIFIED, "log"])
                column = chance.choice(VERIFIED[table].split())
                rows = await admin.fetch(f"select ctid, {column} as value from {table} order by random() limit 1")
                place, value = rows[0]["ctid"], rows[0]["value"]
                raw = bytearray(
                    value.to_bytes(8, "big", signed=True) if isinstance(value, int)
                    else value.encode() if isinstance(value, str) else value
                )  # fmt: skip
                if not raw:
                    continue
                raw[chance.randrange(len(raw))] ^= 1 if isinstance(value, str) else chance.randrange(1, 256)
                other = (
                    int.from_bytes(raw, "big", signed=True) if isinstance(value, int)
                    else raw.decode() if isinstance(value, str) else bytes(raw)
                )  # fmt: skip
                change = f"update {table} set {column} = $1 where ctid = $2 returning ctid"
                try:
                    place = await admin.fetchval(change, other, place)
                except asyncpg.PostgresError:
                    continue  # what a key cannot be, or no text
                tried += 1
                assert await is_seen(), (table, column, value, other)
                await admin.fetchval(change, value, place)
        assert (await verify(run)).findings == 0
        await run.close()

    async def opened() -> PostgresRun:
        return await PostgresRun.open(StoreUrl.parse(url).address)  # type: ignore[arg-type]  # it has one

    with asyncio.Runner() as runner:
        run = runner.run(opened())
        runner.run(go())
