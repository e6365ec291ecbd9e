"""Workers that share a PostgreSQL store, as processes: started, killed, stopped, and told to end. Nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from pydantic import JsonValue

import onex
from onex.kernel.errors import CommitUnknown, OwnershipLost
from onex.wiring.client import EngineClient
from onex.wiring.engine import open_worker
from onex.wiring.store_access import StoreNotShared, engine_runs, owner_pid
from tests.laws.tree import ROOT
from tests.servers.postgres_server import PostgresServer

ONEX = Path(sys.executable).with_name("onex")
ORDERS = ROOT / "examples" / "orders"
PLACE: dict[str, JsonValue] = {"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}
MANY = 24
PATIENCE_S = 60.0
END = ""


def _read(log: IO[str], lines: queue.SimpleQueue[str]) -> None:
    """To its end: a worker whose log nobody reads would stand still when the pipe is full."""
    with log:
        for line in log:
            lines.put(line)
    lines.put(END)


class Crew:
    """The workers of one test, and what their command says of them."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.environment = {**os.environ, "ONEX_STORE": url, "ONEX_ORDERS_DIR": str(folder / "out")}
        self.out = folder / "out"
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, app: Path = ORDERS) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [ONEX, "worker", app, "--lease", "1", "--json"], env=self.environment, stderr=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.processes.append(worker)
        log, worker.stderr = worker.stderr, None
        assert log is not None
        lines = queue.SimpleQueue[str]()
        threading.Thread(target=_read, args=(log, lines), daemon=True).start()
        assert any("running " in line for line in iter(lines.get, END))
        return worker

    def told(self, *words: str) -> Any:
        done = subprocess.run(
            [ONEX, *words, "--json"], env=self.environment, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    def seen(self) -> str:
        """The last line of ``onex workers``."""
        words = [str(ONEX), "workers"]
        return subprocess.check_output(words, env=self.environment, text=True).splitlines()[-1]

    async def until(self, is_so: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """How many shards each process has, by its id, as soon as it is as wanted."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                seen = await asyncio.to_thread(self.told, "workers")
                shards = {one["about"].split()[1]: one["shards"] for one in seen["workers"]}
                if is_so(shards):
                    return shards
                await asyncio.sleep(0.1)

    async def placed(self, client: EngineClient, names: str) -> None:
        """Orders are placed at once, and each is seen through to its end."""
        keys = [f"orders:{names}{number}" for number in range(MANY)]
        await asyncio.gather(*(client.submit(key, "place", PLACE, timeout_s=PATIENCE_S) for key in keys))
        for key in keys:
            assert (await client.wait(key, "shipped", timeout_s=PATIENCE_S)).version == 3

    def paid(self) -> int:
        return len(list((self.out / "receipts").glob("[!.]*.json")))


@pytest.fixture
def crew(postgres: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Crew]:
    found = Crew(postgres.url(f"crew_{request.node.name[:40]}".lower()) + "&shards=16", tmp_path)
    yield found
    for worker in found.processes:
        if worker.poll() is None:
            worker.send_signal(signal.SIGCONT)
            worker.kill()
        worker.wait()
        if worker.stdout is not None:
            worker.stdout.close()


def test_a_worker_that_is_killed_is_taken_over_and_one_that_comes_gets_its_share(crew: Crew) -> None:
    first, second = crew.start(), crew.start()

    async def script() -> None:
        shares = await crew.until(lambda shards: len(shards) == 2 and sum(shards.values()) == 16)
        assert min(shares.values()) > 0
        assert owner_pid(crew.url) in (first.pid, second.pid)
        async with await onex.connect(crew.url, ORDERS) as client:
            await crew.placed(client, "before ")
            first.kill()
            await crew.placed(client, "after ")
            assert await crew.until(lambda shards: str(second.pid) in shards and shards[str(second.pid)] == 16)
            third = crew.start()
            await crew.until(lambda shards: str(third.pid) in shards and sum(shards.values()) == 16)
            await crew.placed(client, "with three ")
        assert crew.paid() == 3 * MANY

    asyncio.run(script())


def test_a_worker_that_stood_still_past_its_lease_commits_nothing_and_goes_on_with_new_shards(crew: Crew) -> None:
    first, second = crew.start(), crew.start()

    async def script() -> None:
        await crew.until(lambda shards: len(shards) == 2 and sum(shards.values()) == 16)
        async with await onex.connect(crew.url, ORDERS) as client:
            first.send_signal(signal.SIGSTOP)
            await crew.placed(client, "without ")
            await crew.until(lambda shards: shards == {str(second.pid): 16})
            first.send_signal(signal.SIGCONT)
            await crew.until(
                lambda shards: len(shards) == 2 and sum(shards.values()) == 16 and min(shards.values()) > 0
            )
            await crew.placed(client, "with ")
        assert crew.paid() == 2 * MANY
        assert first.poll() is None

    asyncio.run(script())


def test_a_worker_that_is_told_to_end_gives_its_shards_at_once(crew: Crew) -> None:
    first, second = crew.start(), crew.start()

    async def script() -> None:
        await crew.until(lambda shards: len(shards) == 2 and sum(shards.values()) == 16)
        async with await onex.connect(crew.url, ORDERS) as client:
            placing = asyncio.create_task(crew.placed(client, "meanwhile "))
            first.terminate()
            await crew.until(lambda shards: shards == {str(second.pid): 16})
            await placing

    asyncio.run(script())
    out, _ = first.communicate()
    assert json.loads(out)["ended"] == "terminated"
    assert crew.paid() == MANY


def test_an_engine_for_itself_and_workers_refuse_each_other(crew: Crew) -> None:
    async def script() -> None:
        async with await onex.open(crew.url, ORDERS):
            with pytest.raises(OwnershipLost, match="for itself"):
                await open_worker(crew.url, ORDERS)
            alone = await asyncio.to_thread(crew.told, "workers")
            assert alone == {"shards": 16, "free": 0, "alone": True, "workers": []}
            assert (await asyncio.to_thread(crew.seen)).startswith(
                "no workers: one engine (onex run) has the 16 shards"
            )
        async with await open_worker(crew.url, ORDERS) as worker:
            assert len(worker.service.fences) == 16
            assert not (await asyncio.to_thread(crew.told, "workers"))["alone"]
            assert (await asyncio.to_thread(crew.seen)).startswith("1 worker shares 16 shards of ")
            with pytest.raises(OwnershipLost):
                await onex.open(crew.url, ORDERS)

    asyncio.run(script())


def test_whoever_asks_is_told_that_an_engine_runs_on_whatever_machine(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onex.wiring.store_access.owner_pid", lambda url: None)  # its process is on another machine

    async def script() -> None:
        async with await onex.open(crew.url, ORDERS):
            assert await engine_runs(crew.url)
        assert not await engine_runs(crew.url)
        async with await open_worker(crew.url, ORDERS):
            assert await engine_runs(crew.url)
        assert not await engine_runs(crew.url)
        with pytest.raises(CommitUnknown, match="no engine runs on"):
            async with await onex.connect(crew.url) as client:
                await client.submit("orders:1", "place", PLACE, timeout_s=0.1)

    asyncio.run(script())


def test_a_store_in_a_file_is_not_shared(tmp_path: Path) -> None:
    with pytest.raises(StoreNotShared, match="postgres://"):
        asyncio.run(open_worker(f"sqlite:///{tmp_path / 'store.db'}", ORDERS))
