"""Registration on a real Consul and a real PostgreSQL, by the contract's own targets: no function of ours makes a call.

Faults come from proxies between the engine and the servers: away, cut in the middle, and a process that is killed between the two.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from pydantic import JsonValue

import onex
from onex.workflows import registration
from onex.workflows.registration.payloads import Registration
from tests.chaos.proxy import Proxy
from tests.servers.consul_server import ConsulServer
from tests.servers.postgres_server import PostgresServer
from tests.workflows.registration.test_phases import event

ONEX = str(Path(sys.executable).with_name("onex"))
APP = Path(registration.__file__).parent
TABLE = """create table if not exists node_registrations(node_id text primary key, node_name text not null, node_type text not null,
  node_version text not null, epoch bigint not null, event_id uuid not null, record jsonb not null)"""


@dataclass
class World:
    """Both servers behind proxies; ``node`` is an id of this test alone."""

    consul: ConsulServer
    postgres: PostgresServer
    to_consul: Proxy
    to_postgres: Proxy
    node: str

    @property
    def key(self) -> str:
        return f"registration:{self.node}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ONEX_CONSUL_URL": f"http://127.0.0.1:{self.to_consul.port}",
            "ONEX_DIRECTORY_URL": f"postgres://postgres@127.0.0.1:{self.to_postgres.port}/postgres",
        }

    def event(self, minute: int = 0, *, epoch: int = 1, version: str = "1.2.0") -> dict[str, JsonValue]:
        return event(minute, epoch=epoch, version=version, beat=600) | {"node_id": self.node}

    def in_consul(self) -> dict[str, JsonValue] | None:
        """The value of its key, if its service stands there, too."""
        service = f"onex-effect-{self.node}" in self.consul.ask("agent/services")
        found = self.consul.ask(f"kv/nodes/{self.node}")
        assert service == (found is not None)
        value: dict[str, JsonValue] | None = json.loads(base64.b64decode(found[0]["Value"])) if found else None
        return value

    async def in_postgres(self) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(f"postgres://postgres@127.0.0.1:{self.postgres.port}/postgres")
        try:
            found: list[asyncpg.Record] = await connection.fetch(
                "select node_version, epoch, record from node_registrations where node_id = $1", self.node
            )
            return found
        finally:
            await connection.close()


@pytest.fixture
def world(consul: ConsulServer, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    async def table() -> None:
        connection = await asyncpg.connect(f"postgres://postgres@127.0.0.1:{postgres.port}/postgres")
        await connection.execute(TABLE)
        await connection.close()

    asyncio.run(table())
    with Proxy(consul.port) as to_consul, Proxy(postgres.port) as to_postgres:
        made = World(consul, postgres, to_consul, to_postgres, f"node-{uuid4().hex[:12]}")
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@contextmanager
def away(*proxies: Proxy) -> Iterator[None]:
    for proxy in proxies:
        proxy.refuses = True
        proxy.cut()
    yield
    for proxy in proxies:
        proxy.refuses = False


async def status(engine: onex.ReducerPatternEngine, world: World, wanted: str) -> Registration:
    await engine.wait(world.key, until=wanted, timeout_s=60)
    state = await engine.state(world.key)
    return Registration.model_validate(state.model_dump() if state is not None else None)


def test_a_node_stands_in_both_directories_once_and_leaves_both(world: World) -> None:
    async def run() -> None:
        async with await onex.open("memory:", APP) as engine:
            for _ in range(2):  # the second is a duplicate
                await engine.submit(world.key, "introspected", world.event(5))
            await status(engine, world, "complete")
            await engine.submit(world.key, "introspected", world.event(1, version="1.0.0"))  # late, and old
            await engine.idle()
            found, value = await world.in_postgres(), world.in_consul()
            assert [(row["node_version"], row["epoch"]) for row in found] == [("1.2.0", 1)]
            assert value is not None
            assert json.loads(found[0]["record"]) == value["node"], "both hold the same event"
            await engine.submit(world.key, "introspected", world.event(6, version="1.3.0"))
            await status(engine, world, "complete")
            assert [row["node_version"] for row in await world.in_postgres()] == ["1.3.0"]
            await engine.submit(world.key, "deregister", {"reason": "the test is over"})
            await status(engine, world, "deregistered")
            assert (await world.in_postgres(), world.in_consul()) == ([], None)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("which", "stands"),
    [
        (lambda world: [world.to_consul], "partial"),
        (lambda world: [world.to_postgres], "partial"),
        (lambda world: [world.to_consul, world.to_postgres], "failed"),
    ],
    ids=["consul", "postgres", "both"],
)
def test_a_directory_that_is_away_is_told_and_made_good_when_it_is_back(
    world: World, which: Callable[[World], list[Proxy]], stands: str
) -> None:
    async def run() -> None:
        async with await onex.open("memory:", APP) as engine:
            with away(*which(world)):
                await engine.submit(world.key, "introspected", world.event())
                state = await status(engine, world, stands)
                assert state.reason
            await status(engine, world, "complete")
            assert len(await world.in_postgres()) == 1
            assert world.in_consul() is not None

    asyncio.run(run())


def test_connections_that_are_cut_in_the_middle_leave_one_entry_in_each(world: World) -> None:
    async def run() -> None:
        async with await onex.open("memory:", APP) as engine:
            world.to_consul.delay_s = world.to_postgres.delay_s = 0.05
            await engine.submit(world.key, "introspected", world.event())
            for _ in range(6):
                await asyncio.sleep(0.04)
                world.to_consul.cut()
                world.to_postgres.cut()
            world.to_consul.delay_s = world.to_postgres.delay_s = 0
            await status(engine, world, "complete")
            assert len(await world.in_postgres()) == 1
            assert world.in_consul() is not None

    asyncio.run(run())


def test_an_engine_that_is_killed_between_the_two_goes_on_with_the_other_one(world: World, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'nodes.db'}"
    words = [ONEX, "run", str(APP), "--store", store]
    environment = {**os.environ, **world.environment}

    async def told(wanted: str) -> None:
        async with await onex.connect(store) as client:
            await client.wait(world.key, until=wanted, timeout_s=60)

    def begun() -> subprocess.Popen[bytes]:
        return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    world.to_postgres.delay_s = 30
    first = begun()
    try:
        submit = [ONEX, "submit", world.key, "introspected", "--store", store, "--payload", json.dumps(world.event())]
        sent = subprocess.run(submit, capture_output=True, text=True, timeout=60, check=False)
        assert sent.returncode == 0, sent.stderr
        end_s = time.monotonic() + 30
        while world.consul.ask(f"kv/nodes/{world.node}") is None and time.monotonic() < end_s:
            time.sleep(0.05)
        assert asyncio.run(world.in_postgres()) == []
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    world.to_postgres.delay_s = 0
    world.to_postgres.cut()
    second = begun()
    try:
        asyncio.run(told("complete"))
        assert len(asyncio.run(world.in_postgres())) == 1
        assert world.in_consul() is not None
    finally:
        second.terminate()
        second.wait(timeout=30)
