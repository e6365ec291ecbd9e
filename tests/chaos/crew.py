"""The workers of a run and what happens to them: killed, stopped past their lease, told to end, cut off, slowed, left without
database or broker. Each worker reaches the store through a proxy of its own.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from onex import wiring
from tests.chaos.bus_side import BusSide
from tests.chaos.processes import APP, ROOT, RunFailed
from tests.chaos.proxy import Proxy
from tests.chaos.worker import END
from tests.servers.postgres_server import PostgresServer

WORKERS = 3
LEASE_S = 1.0
STALLED_S = 120.0
TOLD_S = 5.0
LATE_S = 15.0


class Crew:
    """The workers of a run. One that ends by itself is a finding, unless the database was away."""

    def __init__(self, server: PostgresServer, folder: Path, environ: Mapping[str, str], shards: int) -> None:
        self.server, self.folder, self.environ = server, folder, environ
        self.url = server.url("chaos") + f"&shards={shards}"
        self.proxies = [Proxy(server.port) for _ in range(WORKERS)]
        self.living: dict[int, subprocess.Popen[bytes]] = {}
        self.starts = self.ended_late = 0

    def start(self, place: int) -> None:
        self.starts += 1
        url = self.url.replace(f":{self.server.port}/", f":{self.proxies[place].port}/")
        with (self.folder / f"worker-{self.starts}.log").open("wb") as errors:
            self.living[place] = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker", "worker", APP, "--store", url, "--lease", str(LEASE_S),
                 "--workers", "1", "--projection", "-v"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env=self.environ, cwd=ROOT,
            )  # fmt: skip

    def keep(self) -> None:
        """What has ended is started again: a worker that cannot reach its store when it begins says so and ends."""
        for place in range(WORKERS):
            process = self.living.get(place)
            if process is None or process.poll() is not None:
                if process is not None and process.returncode == 70:
                    raise RunFailed(f"a worker ended with a defect: {self.said()}")
                self.start(place)

    def said(self) -> str:
        return "\n".join(one.read_text(errors="replace")[-800:] for one in sorted(self.folder.glob("worker-*.log")))

    def tell(self) -> None:
        """Each living worker writes into its log what it waits for (``worker``)."""
        asked = [process for process in self.living.values() if process.poll() is None]
        for process in asked:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGUSR1)
        logs, end_s = list(self.folder.glob("worker-*.log")), time.monotonic() + TOLD_S
        while sum(END in one.read_text(errors="replace") for one in logs) < len(asked) and time.monotonic() < end_s:
            time.sleep(0.05)

    def end(self) -> None:
        for process in self.living.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.living.values():
            self.ended_well(process)

    def ended_well(self, process: subprocess.Popen[bytes]) -> None:
        """After SIGTERM. One that had only begun to load ends by the signal itself. One that was not done after 20 s ends itself,
        which loses nothing: on a machine that is busy that is no finding, and its log says what it waited for. Raises RunFailed.
        """
        try:
            code = process.wait(LATE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGUSR1)
            code = process.wait(60)
        if code == 128 + signal.SIGTERM:
            self.ended_late += 1
        elif code not in (0, -signal.SIGTERM):
            raise RunFailed(f"a worker ended with {code} after SIGTERM: {self.said()}")


class Troubles:
    """Each does one thing, and ends when it is over."""

    def __init__(self, crew: Crew, bus: BusSide, chance: random.Random) -> None:
        self.crew, self.bus, self.chance = crew, bus, chance
        self.takeovers_s: list[float] = []

    @property
    def all(self) -> tuple[Callable[[], None], ...]:
        return (
            self.kill,
            self.stop_past_its_lease,
            self.tell_to_end,
            self.cut,
            self.slow,
            self.refuse,
            self.stop_database,
            self.take_broker_away,
        )

    def _one(self) -> tuple[int, subprocess.Popen[bytes]]:
        place = self.chance.randrange(WORKERS)
        return place, self.crew.living[place]

    def kill(self) -> None:
        _, process = self._one()
        about, begun_s = f"pid {process.pid} ", time.monotonic()
        had = asyncio.run(shards_of(self.crew.url, about))
        process.kill()
        process.wait()
        while had and asyncio.run(shards_of(self.crew.url, about)):
            if time.monotonic() - begun_s > STALLED_S:
                raise RunFailed("a killed worker keeps its shards")
            time.sleep(0.02)
        if had:
            self.takeovers_s.append(time.monotonic() - begun_s)

    def stop_past_its_lease(self) -> None:
        _, process = self._one()
        process.send_signal(signal.SIGSTOP)
        time.sleep(LEASE_S * self.chance.uniform(1.5, 4))
        process.send_signal(signal.SIGCONT)

    def tell_to_end(self) -> None:
        _, process = self._one()
        process.terminate()
        self.crew.ended_well(process)

    def cut(self) -> None:
        for _ in range(self.chance.randrange(1, 4)):
            self.crew.proxies[self.chance.randrange(WORKERS)].cut()
            time.sleep(self.chance.uniform(0.0, 0.3))

    def slow(self) -> None:
        proxy = self.crew.proxies[self.chance.randrange(WORKERS)]
        proxy.delay_s = self.chance.uniform(0.005, 0.05)
        time.sleep(2.0)
        proxy.delay_s = 0.0

    def refuse(self) -> None:
        """A network that is gone for one of them, for longer than its lease."""
        proxy = self.crew.proxies[self.chance.randrange(WORKERS)]
        proxy.refuses = True
        proxy.cut()
        time.sleep(LEASE_S * self.chance.uniform(0.5, 3))
        proxy.refuses = False

    def stop_database(self) -> None:
        self.crew.server.stop()
        time.sleep(self.chance.uniform(0.0, 1.0))
        self.crew.server.start(max_connections="100")

    def take_broker_away(self) -> None:
        self.bus.cluster.take_down()
        time.sleep(self.chance.uniform(0.5, 3.0))
        self.bus.cluster.bring_up()


async def shards_of(url: str, about: str) -> int:
    """How many shards the worker has in the store's table, dead or alive."""
    reader = await wiring.open_shared(wiring.StoreUrl.parse(url), create=False)
    try:
        seen = await reader.look()
        ids = {one.worker.id for one in seen.workers if one.worker.about.startswith(about)}
        return sum(owner.worker in ids for owner in seen.owners)
    finally:
        await reader.close()
