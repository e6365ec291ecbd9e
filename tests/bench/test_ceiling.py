"""The ceiling writes what the store writes: a ratio to anything less would flatter."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from onex.adapters.postgres.address import Address
from onex.adapters.postgres.store import PostgresStore
from onex.adapters.sqlite.core import SqliteCore
from onex.bench.ceiling import RowSizes, append_ceiling, fsync_us, measure
from onex.bench.postgres.ceiling import WAYS, Way, fill
from onex.kernel.action import WorkflowKey
from onex.ports import EnumOutboxState, Position
from tests.servers.postgres_server import PostgresServer

SHAPE = RowSizes(keys=7, payload_bytes=20, state_bytes=30, intents_bytes=10, intents_every=3)


def test_what_the_ceiling_writes_is_a_store_that_agrees_with_itself(tmp_path: Path) -> None:
    measured = measure(tmp_path / "store.db", batch=20, seconds=0.05, shape=SHAPE)
    core = SqliteCore(tmp_path / "store.db")
    log = core.log(Position(0, 0), 10**6)
    assert len(log) == 20 * measured.transactions == core.counts().actions
    assert {len(entry.row.payload) for entry in log} == {20}
    for number in range(1, 8):
        key = WorkflowKey("orders", f"order-{number}")
        history = core.history(key, 0, 10**6)
        assert [entry.version for entry in history] == list(range(1, core.load([key])[key].version + 1))
    emitted = [entry.position.n for entry in log if entry.position.n % 3 == 0]
    waits = core.outbox([EnumOutboxState.WAITING], None, None, 10**6)
    assert [row.pointer.n for row in waits] == [n for n in emitted if n > len(log) - 20]
    core.close()


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_the_ceiling_of_a_server_writes_is_a_store_that_agrees_with_itself(
    way: Way, postgres: PostgresServer
) -> None:
    async def go() -> None:
        address = Address.parse(postgres.url(f"ceiling_{way.batch}_{way.together}".lower()))
        measured = await fill(address, way, 0.05, SHAPE)
        store = await PostgresStore.open(address, read_only=True)
        first, log = 7, await store.log(Position(0, 0), 10**6)
        assert len(log) == first + way.batch * measured.transactions == (await store.counts()).actions
        assert {len(entry.row.payload) for entry in log} == {20}
        keys = [WorkflowKey("orders", f"order-{number}") for number in range(1, 8)]
        for key, stored in (await store.load(keys)).items():
            history = await store.history(key, 0, 10**6)
            assert [entry.version for entry in history] == list(range(1, stored.version + 1))
        emitted = [entry.position.n for entry in log if entry.row.intents != b"[]"]
        waits = await store.outbox([EnumOutboxState.WAITING], None, None, 10**6)
        assert [row.pointer.n for row in waits] == [n for n in emitted if n > len(log) - way.batch]
        await store.close()

    asyncio.run(go())


def test_the_ceiling_is_a_rate(tmp_path: Path) -> None:
    assert append_ceiling(tmp_path / "store.db", batch=5, seconds=0.02) > 0
    assert fsync_us(tmp_path, count=5) > 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["store.db"]
