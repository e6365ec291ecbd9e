"""One run: peace, trouble, peace, trouble ... drawn from a seed, by what clients were answered and not by the clock.

In the end everything drains, and the counter judges from outside.
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
from tests.chaos.far_side import FarSide
from tests.chaos.house import APP, ROOT, TOKEN, Clients, Disk, Engine, Wrong, of_this_run
from tests.chaos.judge import Evidence, Left, Row, Verdict, judge
from tests.chaos.troubles import ALL, Scene

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
    lives: int


@dataclass(slots=True)
class _Stage:
    seed: int
    folder: Path
    scene: Scene
    far: FarSide
    token: str
    wrong: list[str] = field(default_factory=list)
    given: Counter[str] = field(default_factory=Counter)


def play(
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
    scene = Scene(engine, clients, disk, store, chance, {})
    with FarSide(far_place, folder / "far.jsonl", seed) as far:
        stage = _Stage(seed, folder, scene, far, token)
        verdict = Verdict({}, {})
        try:
            _live(stage, _schedule(chance, kinds, troubles))
            verdict = judge(asyncio.run(_evidence(stage)))
            stage.wrong += _looked_over(stage)
        except Wrong as wrong:
            stage.wrong.append(str(wrong))
        finally:
            _sweep(stage)
            if stage.wrong or verdict.found:
                disk.keep(folder / "store-at-the-end")
            disk.close()
    return Run(
        seed, stage.given, scene.skipped, engine.ended, clients.troubles, verdict, stage.wrong, disk.how, engine.lives
    )


def _schedule(
    chance: random.Random, kinds: Sequence[Callable[[Scene], None]], troubles: int
) -> list[Callable[[Scene], None]]:
    """Every kind once in a while, in an order of chance."""
    drawn: list[Callable[[Scene], None]] = []
    while len(drawn) < troubles:
        drawn += chance.sample(kinds, len(kinds))
    return drawn[:troubles]


def _live(stage: _Stage, schedule: list[Callable[[Scene], None]]) -> None:
    scene = stage.scene
    scene.engine.start()
    if not scene.engine.wait_until_it_runs():
        raise Wrong(f"the engine does not start: {scene.engine.said()}")
    for _ in range(CLIENTS):
        scene.clients.start(scene.chance.randrange(1 << 30))
    for trouble in schedule:
        _calm(stage, scene.chance.randrange(*CALM))
        _note(stage, f"trouble {trouble.__name__}")
        trouble(scene)
        stage.given[trouble.__name__] += trouble.__name__ not in scene.skipped
        scene.engine.wait_until_it_runs()
    _calm(stage, CALM[1])
    _note(stage, "peace")
    scene.clients.finish()
    scene.engine.look_after()
    scene.engine.end()
    scene.engine.drain()


def _calm(stage: _Stage, answers: int) -> None:
    """Until so many more were answered. Raises Wrong when nothing moves though nothing is wrong."""
    scene = stage.scene
    seen, moved = scene.clients.answers, time.monotonic()
    wanted = seen + answers
    while scene.clients.answers < wanted:
        time.sleep(0.02)
        scene.engine.look_after()
        crashed = scene.clients.crashed()
        if crashed is not None:
            raise Wrong(crashed)
        if scene.clients.answers > seen:
            seen, moved = scene.clients.answers, time.monotonic()
        elif time.monotonic() - moved > STALLED_S:
            raise Wrong(f"nobody was answered for {STALLED_S} s, though nothing is wrong and the engine runs")


def _note(stage: _Stage, text: str) -> None:
    clients = stage.scene.clients
    with (stage.folder / "story.log").open("a") as story:
        story.write(f"{len(clients.told)} told, {len(clients.refused)} refused, {len(stage.far.calls)} calls: {text}\n")


async def _evidence(stage: _Stage) -> Evidence:
    clients, reader = stage.scene.clients, await wiring.open_reader(stage.scene.engine.url)
    try:
        told, refused = stage.scene.engine.told_inside()
        evidence = Evidence(clients.told + told, clients.refused + refused, await _log(reader), stage.far.calls)
        for row in await reader.outbox(list(EnumOutboxState), None, None, 10**6):
            name = json.loads(row.intents)[row.pointer.ordinal]["name"]
            evidence.left.append(Left(str(row.key), row.version, name, row.state.value))
        evidence.rejected = {(one.key, one.action_id.hex()) for one in await reader.rejections(None, None, 0, 10**6)}
        return evidence
    finally:
        await reader.close()


async def _log(reader: Reader) -> list[Row]:
    log: list[Row] = []
    after = Position(0, 0)
    while entries := await reader.log(after, PAGE):
        for entry in entries:
            row = entry.row
            counted: Counter[str] = Counter()
            intents: list[tuple[str, int]] = []
            for one in json.loads(row.intents or b"[]"):
                if not one.get("cancel"):
                    intents.append((one["name"], counted[one["name"]]))
                counted[one["name"]] += 1
            cause = (row.cause or b"").hex()
            log.append(
                Row(str(entry.key), entry.version, row.action_id.hex(), row.kind, row.status, tuple(intents), cause)
            )
        after = entries[-1].position
    return log


def _looked_over(stage: _Stage) -> list[str]:
    """Beside the ledger: what replay says, and what was left lying about."""
    scene = stage.scene
    wrong: list[str] = []
    onex = Path(sys.executable).with_name("onex")
    replay = subprocess.run(
        [onex, "replay", APP, "--store", scene.engine.url, "--strict"], capture_output=True, text=True, cwd=ROOT
    )
    if replay.returncode:
        wrong.append(f"replay ended with {replay.returncode}: {(replay.stdout + replay.stderr)[-1000:]}")
    if (owner := wiring.owner_pid(scene.engine.url)) is not None:
        wrong.append(f"process {owner} still holds the store's lock")
    for life in range(1, scene.engine.lives + 1):  # a task or thread that died, and nobody was told
        said = scene.engine.log(life).read_text(errors="replace")
        wrong += [f"life {life} of the engine said: {said[-1500:]}"] if "Traceback" in said else []
    left = sorted(path.name for path in scene.store.parent.iterdir() if path.name.endswith((".new", "-journal")))
    if left:
        wrong.append(f"files were left beside the store: {', '.join(left)}")
    until = time.monotonic() + 10  # who watches an engine's end needs a moment to see it
    while (orphans := of_this_run(stage.token)) and time.monotonic() < until:
        time.sleep(0.1)
    return [*wrong, *(f"a process outlived the run: {one}" for one in orphans)]


def _sweep(stage: _Stage) -> None:
    """However it ended, no process of the run is left behind."""
    for one in of_this_run(stage.token):
        with suppress(ProcessLookupError):
            os.kill(int(one.partition(":")[0]), 9)
    process = stage.scene.engine.process
    if process is not None:
        process.wait()
