"""A real standby takes over: what was acknowledged is there, the engine goes on, and a server that only reads says so."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import JsonValue

import onex
from onex.adapters.postgres.errors import StandbyOnly
from onex.kernel.errors import OnexError
from tests.laws.tree import ROOT
from tests.servers.postgres_server import PostgresServer, running_server

ONEX = Path(sys.executable).with_name("onex")
ORDERS = ROOT / "examples" / "orders"
PLACE: dict[str, JsonValue] = {"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}


class Pair(NamedTuple):
    """A commit on the primary is answered when the standby has it and shows it."""

    primary: PostgresServer
    standby: PostgresServer

    @property
    def url(self) -> str:
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgres://postgres@{hosts}/postgres?target_session_attrs=read-write"

    @property
    def standby_url(self) -> str:
        return self.standby.url()

    async def promote(self) -> None:
        connection = await asyncpg.connect(self.standby_url.partition("?")[0])
        assert await connection.fetchval("select pg_promote(wait => true)")
        await connection.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with (
        running_server(synchronous_standby_names="*", synchronous_commit="remote_apply") as primary,
        running_server(primary) as standby,
    ):
        yield Pair(primary, standby)


def replayed(url: str) -> str:
    return subprocess.run(
        [ONEX, "replay", ORDERS, "--strict", "--store", url], capture_output=True, text=True, check=True
    ).stdout


def test_a_promoted_standby_is_gone_on_with_and_nothing_acknowledged_is_lost(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    acknowledged: dict[UUID, str] = {}

    async def go() -> None:
        async with await onex.open(pair.url, ORDERS) as engine:
            stop = asyncio.Event()

            async def client(name: str) -> None:
                number = 0
                while not stop.is_set():
                    key, action_id = f"orders:{name}-{number}", uuid4()
                    while True:  # a client that has no answer sends the same id again
                        try:
                            done = await engine.submit(key, "place", PLACE, action_id=action_id)
                            break
                        except OnexError as error:
                            assert error.retryable, error
                    assert done.version == 1
                    acknowledged[action_id] = key
                    number += 1

            clients = [asyncio.create_task(client(name)) for name in "abcd"]
            while len(acknowledged) < 40:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(pair.primary.stop)
            before = len(acknowledged)
            await pair.promote()
            while len(acknowledged) < before + 40:
                await asyncio.sleep(0.01)
            stop.set()
            await asyncio.gather(*clients)
            await engine.idle()
            for action_id, key in acknowledged.items():
                again = await engine.submit(key, "place", PLACE, action_id=action_id)
                assert (again.duplicate, again.version) == (True, 1)
            counts = await engine.reader.counts()
            assert counts.by_status == {("orders", "shipped"): counts.instances}
            assert counts.instances == len(acknowledged)

    asyncio.run(go())
    receipts = len(list((tmp_path / "out" / "receipts").glob("[!.]*.json")))
    assert receipts == len(acknowledged)  # each order was paid under one key
    assert f"{receipts} segments: equal" in replayed(pair.standby_url)


def test_a_standby_is_read_and_refuses_the_rest_by_name(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))

    async def go() -> None:
        async with await onex.open(pair.url, ORDERS) as engine:
            await engine.submit("orders:1", "place", PLACE)
            await engine.wait("orders:1", "shipped")
            with pytest.raises(StandbyOnly, match="takes reads only"):
                await onex.open(pair.standby_url, ORDERS)
        assert "1 segment: equal" in await asyncio.to_thread(replayed, pair.standby_url)

    asyncio.run(go())
    told = subprocess.run(
        [ONEX, "submit", "orders:2", "place", "--no-wait", "--store", pair.standby_url], capture_output=True, text=True
    )
    assert told.returncode == 3
    assert "takes reads only" in told.stderr
