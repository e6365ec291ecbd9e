"""Workers on PostgreSQL, each behind a proxy of ours, and all that can happen to them: ``python -m tests.chaos.workers --seed 7``.

Three workers share a store and a bus. They are killed, stopped past their lease, told to end; their connections are cut, slowed and
refused; the database is stopped as a crash does; the broker goes away. Clients send from outside the whole time, through the store
and by the bus. At the end everything due is done, and the check from outside (``outside_check``) compares the log with what was
answered and with what the far side saw; ``bus_side`` compares it with what the bus was told; each instance stands in the projection
as in the log; and its history is checked to be linearizable (``history``). Exit code 1 when something is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from onex import wiring
from onex.engine.projections import WORKFLOW
from onex.ports import EnumOutboxState, Position
from tests.chaos.bus_side import BusSide
from tests.chaos.chaos_run import CALM, CLIENTS, evidence_of
from tests.chaos.crew import LEASE_S, STALLED_S, Crew, Troubles
from tests.chaos.far_side import OutsideService
from tests.chaos.history import Operation, not_linearizable
from tests.chaos.outside_check import Row, Verdict, check
from tests.chaos.processes import APP, ROOT, TOKEN, Clients, RunFailed, of_this_run
from tests.servers.postgres_server import NoServer, PostgresServer

SHOWN = 10


class Report(NamedTuple):
    """``takeovers_s``: after each kill, how long until its shards were another's. ``silences_s[trouble]``: the longest time without
    any answer to anybody, from the beginning of that trouble to the next. ``by_bus`` actions came by the bus, and ``events`` were
    read from it. ``ended_late`` workers were not done with ending 20 s after they were told to."""

    seed: int
    troubles: Counter[str]
    client_troubles: Counter[str]
    verdict: Verdict
    wrong: list[str]
    takeovers_s: list[float]
    silences_s: dict[str, float]
    by_bus: int
    events: int
    ended_late: int
    seconds: float

    @property
    def is_fine(self) -> bool:
        return not self.wrong and not self.verdict.found


def run_workers(seed: int, troubles: int, folder: Path, *, shards: int = 16, seconds: float = 0.0) -> Report:
    """``troubles`` of them, each kind about as often, and more of them until ``seconds`` have passed. Raises NoServer."""
    chance, token, begun_s = random.Random(seed), uuid4().hex, time.monotonic()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONEX_")}
    bus = BusSide()
    environ = {**kept, **bus.environment, TOKEN: token, "CHAOS_FAR_SIDE": str(folder / "far"), "PYTHONPATH": str(ROOT)}
    given: Counter[str] = Counter()
    silences_s: dict[str, float] = {}
    wrong: list[str] = []
    schedule: list[Callable[[], None]] = []
    verdict = Verdict({}, {})
    server = PostgresServer()
    crew = Crew(server, folder, environ, shards)
    clients = Clients(crew.url, environ, folder)
    trouble = Troubles(crew, bus, chance)
    try:
        server.start(max_connections="100")
        for proxy in crew.proxies:
            proxy.__enter__()
        with OutsideService(folder / "far", folder / "far.jsonl", seed) as far:
            try:
                crew.keep()
                for _ in range(CLIENTS):
                    clients.start(chance.randrange(1 << 30))
                _wait_for(clients, crew, CALM[1])
                with bus.sending():
                    while given.total() < troubles or time.monotonic() - begun_s < seconds:
                        schedule = schedule or chance.sample(trouble.all, len(trouble.all))
                        one, begun_with = schedule.pop(), (clients.answers, time.monotonic())
                        one()
                        given[one.__name__] += 1
                        crew.keep()
                        silent_s = _wait_for(clients, crew, chance.randrange(*CALM), begun_with)
                        silences_s[one.__name__] = max(silent_s, silences_s.get(one.__name__, 0.0))
                clients.finish()
                asyncio.run(_at_rest(crew.url, bus))
                crew.end()
                evidence = asyncio.run(evidence_of(crew.url, clients.told, clients.refused, far.calls))
                verdict = check(evidence)
                wrong += _histories(clients)
                wrong += asyncio.run(bus.wrong(evidence.log))
                wrong += asyncio.run(_projected(crew.url, evidence.log))
                wrong += _replayed(crew.url, environ, folder)
            except RunFailed as failed:
                wrong.append(str(failed))
                crew.tell()
    finally:
        for left in of_this_run(token):
            os.kill(int(left.partition(":")[0]), signal.SIGKILL)
        for process in crew.living.values():
            process.wait()
        for proxy in crew.proxies:
            if proxy.port:
                proxy.__exit__()
        bus.close()
        server.remove()
    return Report(
        seed, given, clients.troubles, verdict, wrong, trouble.takeovers_s, silences_s, len(bus.sent), bus.events,
        crew.ended_late, time.monotonic() - begun_s,
    )  # fmt: skip


def _wait_for(clients: Clients, crew: Crew, answers: int, since: tuple[int, float] | None = None) -> float:
    """Until so many more were answered; the longest time without any answer, since ``since`` or now.

    Raises RunFailed when nothing moves though nothing is wrong.
    """
    seen, moved_s = since or (clients.answers, time.monotonic())
    wanted, silent_s = clients.answers + answers, 0.0
    while clients.answers < wanted:
        time.sleep(0.02)
        crew.keep()
        crashed = clients.crashed()
        if crashed is not None:
            raise RunFailed(crashed)
        if clients.answers > seen:
            silent_s = max(silent_s, time.monotonic() - moved_s)
            seen, moved_s = clients.answers, time.monotonic()
        elif time.monotonic() - moved_s > STALLED_S:
            raise RunFailed(f"nobody was answered for {STALLED_S} s, though nothing is wrong: {crew.said()}")
    return silent_s


async def _at_rest(url: str, bus: BusSide) -> None:
    """Until nothing waits any more, on the store and on the bus. Raises RunFailed."""
    reader = await wiring.open_shared(wiring.StoreUrl.parse(url), create=False)
    end_s = time.monotonic() + STALLED_S
    try:
        await bus.arrived(reader)
        while rows := await reader.outbox([EnumOutboxState.WAITING], None, None, 5):
            if time.monotonic() > end_s:
                raise RunFailed(f"there wait still, though all is well: {[(row.pointer, row.timer) for row in rows]}")
            await asyncio.sleep(0.1)
        await bus.told(reader)
        for shard in range(reader.shards):
            while await reader.log(Position(shard, await reader.watermark(WORKFLOW, shard)), 1):
                if time.monotonic() > end_s:
                    raise RunFailed(f"the projection of shard {shard} does not follow its log")
                await asyncio.sleep(0.1)
    finally:
        await reader.close()


async def _projected(url: str, log: Sequence[Row]) -> list[str]:
    """Instances whose row of the projection is not the last one of their log."""
    last = {row.key: (row.version, row.status) for row in log}
    reader = await wiring.open_reader(url)
    try:
        rows = await reader.projected(WORKFLOW, None, None, 10**6)
    finally:
        await reader.close()
    shown = {str(row.key): (row.version, row.tag) for row in rows}
    return [
        f"{key} stands at {last.get(key)} in the log, and at {shown.get(key)} in the projection"
        for key in sorted(last.keys() | shown.keys())
        if last.get(key) != shown.get(key)
    ]


def _histories(clients: Clients) -> list[str]:
    """What each client was told and when, per instance, against the only order there is: that of the versions."""
    operations = [
        Operation(one.key, one.version, one.begun_s, one.told_s)
        for one in clients.told
        if one.begun_s and not one.again
    ]
    return [f"the history of {key} is not linearizable: {why}" for key, why in not_linearizable(operations).items()]


def _replayed(url: str, environ: Mapping[str, str], folder: Path) -> list[str]:
    """Where the log does not fold to what was stored, it is kept: the server goes with the run."""
    onex = Path(sys.executable).with_name("onex")
    words: list[str | Path] = [onex, "replay", APP, "--store", url, "--strict"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=dict(environ))
    if not done.returncode:
        return []
    export: list[str | Path] = [onex, "export", "--no-redact", "--store", url, "--out", folder / "all.onexrun"]
    subprocess.run(export, cwd=ROOT, env=dict(environ))
    return [f"replay ended with {done.returncode}: {(done.stdout + done.stderr)[-4000:]}"]


def told(report: Report) -> list[str]:
    """A short table: what was done to them, what it came to."""
    lines = [f"workers, seed {report.seed}: {sum(report.troubles.values())} troubles in {report.seconds:.0f} s"]
    for name, count in sorted(report.troubles.items()):
        lines.append(
            f"  {name.replace('_', ' '):<32}{count:>8}   silent for {report.silences_s.get(name, 0.0):.1f} s at most"
        )
    numbers = {
        **report.verdict.numbers,
        "actions by the bus": report.by_bus,
        "events on the bus": report.events,
        "workers that ended late": report.ended_late,
    }
    lines += [f"  {name:<32}{count:>8,}" for name, count in numbers.items()]
    lines += [f"  a client met {name:<19}{count:>8,}" for name, count in sorted(report.client_troubles.items())]
    for kind in ("lost", "twice"):
        lines.append(f"  {kind:<32}{len(report.verdict.found.get(kind, ())):>8}")
    if taken := sorted(report.takeovers_s):
        worst = taken[min(len(taken) - 1, int(0.99 * len(taken)))]
        lines.append(
            f"  takeover, lease {LEASE_S:g} s: p50 {taken[len(taken) // 2]:.2f} s, p99 {worst:.2f} s of {len(taken)}"
        )
    for kind, found in report.verdict.found.items():
        lines += [f"FOUND {kind} ({len(found)}):", *(f"  {one}" for one in found[:SHOWN])]
    return [*lines, *(f"WRONG {one}" for one in report.wrong)]


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.chaos.workers", description=__doc__)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--troubles", type=int, default=16)
    words.add_argument("--seconds", type=float, default=0.0, help="go on with more troubles for so long")
    words.add_argument("--folder", type=Path, default=None, help="where to keep what there is to see")
    given = words.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="chaos-workers-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report = run_workers(given.seed, given.troubles, folder, seconds=given.seconds)
    except NoServer as error:
        print(f"SKIPPED: {error}")
        return 0
    print("\n".join(told(report)))
    if report.is_fine:
        if given.folder is None:
            shutil.rmtree(folder)
        return 0
    print(f"\nseed {given.seed}, {given.troubles} troubles; all there is to see: {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
