"""One run with real processes: peace, a fault, peace, a fault ..., drawn from a seed, by the number of answers and not by time.

At the end everything due is done, and the check from outside compares the log with what was seen.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from onex import wiring
from onex.ports import EnumOutboxState, Position, Reader
from tests.chaos.far_side import Call, OutsideService
from tests.chaos.outside_check import Acknowledged, Evidence, Left, Refused, Row, Verdict, check
from tests.chaos.processes import APP, ROOT, TOKEN, Clients, Disk, Engine, RunFailed, of_this_run
from tests.chaos.system_faults import ALL, Targets

CLIENTS = 3
CALM = (40, 120)  # answers between two troubles
STALLED_S = 120.0
PAGE = 1000


class Run(NamedTuple):
    """What a run came to. ``wrong`` ended it before its time, or was found beside the judge's findings."""

    seed: int
    troubles: Counter[str]
    skipped: dict[str, str]
    ended: Counter[str]
    client_troubles: Counter[str]
    verdict: Verdict
    wrong: list[str]
    disk: str
    starts: int


@dataclass(slots=True)
class _RunState:
    seed: int
    folder: Path
    targets: Targets
    far: OutsideService
    token: str
    wrong: list[str] = field(default_factory=list)
    given: Counter[str] = field(default_factory=Counter)


def run_chaos(
    seed: int, troubles: int, folder: Path, words: tuple[str, ...] = (), without: frozenset[str] = frozenset()
) -> Run:
    """``troubles`` of them, each kind about as often. The folder holds what there is to look at afterwards.

    ``words`` go before the engine's command. Raises ValueError for a kind left out that there is not.
    """
    kinds = tuple(kind for kind in ALL if kind.__name__ not in without)
    if unknown := without - {kind.__name__ for kind in ALL}:
        raise ValueError(f"there is no trouble {', '.join(sorted(unknown))}")
    chance = random.Random(seed)
    token = uuid4().hex
    far_place = folder / "far"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONEX_")}
    environ = {**kept, TOKEN: token, "CHAOS_FAR_SIDE": str(far_place), "PYTHONPATH": str(ROOT)}
    disk = Disk(folder / "disk")
    store = disk.place / "store.db"
    url = f"sqlite:///{store}"
    engine, clients = Engine(url, folder, environ, words), Clients(url, environ, folder)
    targets = Targets(engine, clients, disk, store, chance, {})
    with OutsideService(far_place, folder / "far.jsonl", seed) as far:
        state = _RunState(seed, folder, targets, far, token)
        verdict = Verdict({}, {})
        try:
            _go_through(state, _schedule(chance, kinds, troubles))
            verdict = check(asyncio.run(_evidence(state)))
            state.wrong += _check_leftovers(state)
        except RunFailed as wrong:
            state.wrong.append(str(wrong))
        finally:
            _kill_all(state)
            if state.wrong or verdict.found:
                disk.keep(folder / "store-at-the-end")
            disk.close()
    return Run(
        seed,
        state.given,
        targets.skipped,
        engine.ended,
        clients.troubles,
        verdict,
        state.wrong,
        disk.how,
        engine.starts,
    )


def _schedule(
    chance: random.Random, kinds: Sequence[Callable[[Targets], None]], troubles: int
) -> list[Callable[[Targets], None]]:
    """Every kind once in a while, in an order of chance."""
    drawn: list[Callable[[Targets], None]] = []
    while len(drawn) < troubles:
        drawn += chance.sample(kinds, len(kinds))
    return drawn[:troubles]


def _go_through(state: _RunState, schedule: list[Callable[[Targets], None]]) -> None:
    targets = state.targets
    targets.engine.start()
    if not targets.engine.wait_until_it_runs():
        raise RunFailed(f"the engine does not start: {targets.engine.said()}")
    for _ in range(CLIENTS):
        targets.clients.start(targets.chance.randrange(1 << 30))
    for trouble in schedule:
        _wait_for_answers(state, targets.chance.randrange(*CALM))
        _note(state, f"trouble {trouble.__name__}")
        trouble(targets)
        state.given[trouble.__name__] += trouble.__name__ not in targets.skipped
        targets.engine.wait_until_it_runs()
    _wait_for_answers(state, CALM[1])
    _note(state, "peace")
    targets.clients.finish()
    targets.engine.restart_if_ended()
    targets.engine.end()
    targets.engine.drain()


def _wait_for_answers(state: _RunState, answers: int) -> None:
    """Until so many more were answered. Raises RunFailed when nothing moves though nothing is wrong."""
    targets = state.targets
    seen, moved = targets.clients.answers, time.monotonic()
    wanted = seen + answers
    while targets.clients.answers < wanted:
        time.sleep(0.02)
        targets.engine.restart_if_ended()
        crashed = targets.clients.crashed()
        if crashed is not None:
            raise RunFailed(crashed)
        if targets.clients.answers > seen:
            seen, moved = targets.clients.answers, time.monotonic()
        elif time.monotonic() - moved > STALLED_S:
            raise RunFailed(f"nobody was answered for {STALLED_S} s, though nothing is wrong and the engine runs")


def _note(state: _RunState, text: str) -> None:
    clients = state.targets.clients
    with (state.folder / "story.log").open("a") as story:
        story.write(f"{len(clients.told)} told, {len(clients.refused)} refused, {len(state.far.calls)} calls: {text}\n")


async def _evidence(state: _RunState) -> Evidence:
    clients, (told, refused) = state.targets.clients, state.targets.engine.answers_inside()
    return await evidence_of(
        state.targets.engine.url, clients.told + told, clients.refused + refused, state.far.calls
    )  # fmt: skip


async def evidence_of(url: str, told: list[Acknowledged], refused: list[Refused], calls: list[Call]) -> Evidence:
    """All there is to check by, with what the store holds."""
    reader = await wiring.open_reader(url)
    try:
        evidence = Evidence(told, refused, await log_of(reader), calls)
        for row in await reader.outbox(list(EnumOutboxState), None, None, 10**6):
            name = json.loads(row.intents)[row.pointer.ordinal]["name"]
            evidence.left.append(Left(str(row.key), row.version, name, row.state.value))
        evidence.rejected = {(one.key, one.action_id.hex()) for one in await reader.rejections(None, None, 0, 10**6)}
        return evidence
    finally:
        await reader.close()


async def log_of(reader: Reader) -> list[Row]:
    """Every row, shard by shard, each in its order."""
    log: list[Row] = []
    for shard in range(reader.shards):
        log += await _log_of_shard(reader, shard)
    return log


async def _log_of_shard(reader: Reader, shard: int) -> list[Row]:
    log: list[Row] = []
    after = Position(shard, 0)
    while entries := await reader.log(after, PAGE):
        for entry in entries:
            row = entry.row
            counted: Counter[str] = Counter()
            intents: list[tuple[str, int]] = []
            for one in json.loads(row.intents or b"[]"):
                if not one.get("cancel"):
                    intents.append((one["name"], counted[one["name"]]))
                counted[one["name"]] += 1
            cause = (row.cause_id or b"").hex()
            log.append(
                Row(str(entry.key), entry.version, row.action_id.hex(), row.kind, row.status, tuple(intents), cause)
            )
        after = entries[-1].position
    return log


def _check_leftovers(state: _RunState) -> list[str]:
    """Beside the ledger: what replay says, and what was left lying about."""
    targets = state.targets
    wrong: list[str] = []
    onex = Path(sys.executable).with_name("onex")
    replay = subprocess.run(
        [onex, "replay", APP, "--store", targets.engine.url, "--strict"], capture_output=True, text=True, cwd=ROOT
    )
    if replay.returncode:
        wrong.append(f"replay ended with {replay.returncode}: {(replay.stdout + replay.stderr)[-1000:]}")
    if (owner := wiring.owner_pid(targets.engine.url)) is not None:
        wrong.append(f"process {owner} still holds the store's lock")
    for start in range(1, targets.engine.starts + 1):  # a task or thread that died, and nobody was told
        said = targets.engine.log(start).read_text(errors="replace")
        wrong += [f"start {start} of the engine said: {said[-1500:]}"] if "Traceback" in said else []
    left = sorted(path.name for path in targets.store.parent.iterdir() if path.name.endswith((".new", "-journal")))
    if left:
        wrong.append(f"files were left beside the store: {', '.join(left)}")
    until = time.monotonic() + 10  # who watches an engine's end needs a moment to see it
    while (orphans := of_this_run(state.token)) and time.monotonic() < until:
        time.sleep(0.1)
    return [*wrong, *(f"a process outlived the run: {one}" for one in orphans)]


def _kill_all(state: _RunState) -> None:
    """However it ended, no process of the run is left behind."""
    for one in of_this_run(state.token):
        with suppress(ProcessLookupError):
            os.kill(int(one.partition(":")[0]), 9)
    process = state.targets.engine.process
    if process is not None:
        process.wait()
