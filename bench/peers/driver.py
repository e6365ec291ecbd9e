"""Drives one peer: the same waves, the same counting and the same answer for each. It needs the standard library only.

A workflow of the job is: a start, three effects whose outcomes are stored, two commands. It is done when all of that is durable.
A peer gets a list of names, a *wave*, and runs each as one workflow with as many at once as suits it. Two things are measured:

- ``rate``: workflows per second of a wave that takes about ``seconds``, after warm-up waves that tell how many that are;
- ``alone_ms``: waves of one workflow each, one after another, for as long again, with nothing else to do.

Then the peer counts what its store holds, and the driver counts how often the effect ran. Anything but one done workflow for each
name and three effects for each workflow ends the program: a rate of lost work means nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, Protocol

TASKS = 3
COMMENTS = ("by the way", "thank you")
SYNCHRONOUS = ("off", "normal", "full", "extra")
WARM = 20
ALONE_MIN, ALONE_MAX = 20, 2000


class Peer(Protocol):
    @property
    def settings(self) -> Mapping[str, str]:
        """What makes its writes durable, read back from a connection of its own."""

    async def wave(self, names: Sequence[str]) -> None:
        """Runs one workflow for each name, and returns when all are done and durable."""

    async def count_done(self) -> int:
        """How many workflows the store holds with three outcomes and both commands."""


Opened = Callable[[Path, str], AbstractAsyncContextManager[Peer]]


async def by_clients(
    names: Sequence[str], send: Callable[[Sequence[str]], Awaitable[None]], clients: int = 32, at_once: int = 10
) -> None:
    """``clients`` at a time, each of which sends ``at_once`` names, waits until they are answered, and sends the next."""

    async def client(number: int) -> None:
        own = names[number::clients]
        for first in range(0, len(own), at_once):
            await send(own[first : first + at_once])

    await asyncio.gather(*map(client, range(clients)))


class Outside:
    """The world that the effects change: it only counts."""

    def __init__(self) -> None:
        self.calls = 0

    def act(self) -> None:
        self.calls += 1


OUTSIDE = Outside()


class Wave(NamedTuple):
    workflows: int
    seconds: float


def main(opened: Opened, packages: Sequence[str]) -> None:
    """What a program ends with. ``packages`` are the distributions whose versions it reports."""
    parser = argparse.ArgumentParser(description="Run the job on one peer, and print what was measured as JSON.")
    parser.add_argument(
        "--folder", type=Path, required=True, help="an empty folder for the store, on the disk to measure"
    )
    parser.add_argument("--mode", default="", help="one of the ways this peer can be used")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long the measured wave is to take")
    given = parser.parse_args()
    measured = asyncio.run(measure(opened, given.folder, given.mode, given.seconds))
    measured["versions"] = {name: version(name) for name in packages} | {"sqlite": sqlite3.sqlite_version}
    sys.stdout.write(json.dumps(measured, allow_nan=False) + "\n")


async def measure(opened: Opened, folder: Path, mode: str, seconds: float) -> dict[str, object]:
    """``{rate, workflows, seconds, cpu_us, alone_ms, settings}``. ``cpu_us`` of this process for each workflow of the wave.

    Raises RuntimeError when the store or the outside does not hold what was run.
    """
    async with opened(folder, mode) as peer:
        waves = _Waves(peer)
        warm = await waves.run(WARM)
        while warm.seconds < seconds / 4:  # the first ones also import, and create tables
            warm = await waves.run(2 * warm.workflows)
        cpu = _cpu_s()
        wave = await waves.run(_enough(warm, seconds))
        while wave.seconds < 0.8 * seconds:  # the peer was slower while it got warm
            more = await waves.run(_enough(wave, seconds - wave.seconds))
            wave = Wave(wave.workflows + more.workflows, wave.seconds + more.seconds)
        cpu = _cpu_s() - cpu
        alone: list[float] = []
        until = time.perf_counter() + seconds
        while len(alone) < ALONE_MIN or (len(alone) < ALONE_MAX and time.perf_counter() < until):
            alone.append(round((await waves.run(1)).seconds * 1e3, 4))
        await waves.assert_all_done()
        return {
            "rate": wave.workflows / wave.seconds,
            "workflows": wave.workflows,
            "seconds": wave.seconds,
            "cpu_us": cpu / wave.workflows * 1e6,
            "alone_ms": alone,
            "settings": dict(peer.settings),
        }


class _Waves:
    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._begun = 0

    async def run(self, count: int) -> Wave:
        names = [f"job-{number}" for number in range(self._begun, self._begun + count)]
        self._begun += count
        started = time.perf_counter()
        await self._peer.wave(names)
        return Wave(count, time.perf_counter() - started)

    async def assert_all_done(self) -> None:
        done = await self._peer.count_done()
        if (done, OUTSIDE.calls) != (self._begun, TASKS * self._begun):
            raise RuntimeError(
                f"{self._begun} workflows were run; {done} are done in the store, and {OUTSIDE.calls} effects ran "
                f"where {TASKS * self._begun} should have"
            )


def _enough(wave: Wave, seconds: float) -> int:
    """As many workflows as take about ``seconds`` at the rate of ``wave``, and at least as many as to warm up."""
    return max(WARM, round(wave.workflows / wave.seconds * seconds))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def sqlite_settings(connection: sqlite3.Connection) -> dict[str, str]:
    """What a connection says of itself: ``synchronous`` is off, normal, full or extra. With full each commit waits for the disk."""
    (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
    (level,) = connection.execute("PRAGMA synchronous").fetchone()
    return {"journal_mode": str(journal), "synchronous": SYNCHRONOUS[level]}
