"""The troubles: what an operating system does to a process. Each is brought on, lasts a moment, and is taken away again.

A trouble that this machine cannot give says so, and is counted as left out.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.house import ROOT, Clients, Disk, Engine, Wrong, with_descriptors, without_descriptors

FULL_S = 0.8
STOPPED_S = 1.5
EXHAUSTED_S = 0.8
LOCKED_S = 1.2
MOVED_S = 0.6
HOUR_US = 3600 * 1_000_000
REFUSED = 3  # what `onex run` ends with when a store is taken, or cannot be written


@dataclass(slots=True)
class Scene:
    """What a trouble may touch. ``skipped`` tells why one was not given."""

    engine: Engine
    clients: Clients
    disk: Disk
    store: Path
    chance: random.Random
    skipped: dict[str, str]


def kill_engine(scene: Scene) -> None:
    scene.engine.kill()
    scene.engine.start()


def kill_engine_while_it_starts(scene: Scene) -> None:
    scene.engine.kill()
    for _ in range(3):
        scene.engine.start()
        time.sleep(scene.chance.random() * 0.9)
        scene.engine.kill()
    scene.engine.start()


def kill_workers(scene: Scene) -> None:
    """The fork server and all it forked, or one of them."""
    helpers = scene.engine.helpers()
    if not helpers:
        return
    some = helpers if scene.chance.random() < 0.5 else [scene.chance.choice(helpers)]
    for pid in some:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def stop_engine(scene: Scene) -> None:
    """For a while it does not run at all, and another that wants its store is refused meanwhile."""
    os.kill(scene.engine.pid, signal.SIGSTOP)
    try:
        time.sleep(STOPPED_S)
        _refused(scene, f"sqlite:///{scene.store}")
    finally:
        os.kill(scene.engine.pid, signal.SIGCONT)


def end_engine(scene: Scene) -> None:
    """In order, as a deployment does."""
    scene.engine.end()
    scene.engine.start()


def full_disk(scene: Scene) -> None:
    scene.disk.fill(scene.engine.pid)
    try:
        time.sleep(FULL_S)
    finally:
        if scene.engine.runs:
            scene.disk.free(scene.engine.pid)


def kill_engine_on_a_full_disk(scene: Scene) -> None:
    """It dies without room, and the next one starts without room."""
    if not scene.disk.mounted:
        scene.skipped["kill_engine_on_a_full_disk"] = scene.disk.how
        return
    scene.disk.fill(scene.engine.pid)
    try:
        time.sleep(FULL_S / 2)
        scene.engine.kill()
        scene.engine.start()
        time.sleep(FULL_S)
    finally:
        scene.disk.free(scene.engine.pid)


def read_only(scene: Scene) -> None:
    """Who starts on a store that cannot be written ends with a reason, and changes nothing."""
    scene.engine.end()
    files = [*scene.store.parent.glob(f"{scene.store.name}*")]
    modes = {path: path.stat().st_mode for path in (scene.store.parent, *files)}
    try:
        for path in files:
            path.chmod(0o444)
        scene.store.parent.chmod(0o555)
        code, told = _tried(scene, f"sqlite:///{scene.store}")
        if code is None:
            scene.skipped["read_only"] = "a mode binds nobody here (root with every capability)"
        elif code != REFUSED or not told:
            raise Wrong(f"on a store that cannot be written, run ended with {code}: {told}")
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    scene.engine.start()


def no_descriptors(scene: Scene) -> None:
    without_descriptors(scene.engine.pid)
    try:
        time.sleep(EXHAUSTED_S)
    finally:
        if scene.engine.runs:
            with_descriptors(scene.engine.pid)


def clock_steps(scene: Scene) -> None:
    """Forth and back by hours, as a machine's that is set: beyond the hour for which answers are kept."""
    scene.engine.set_clock(scene.chance.randrange(-3 * HOUR_US, 3 * HOUR_US))
    time.sleep(0.2)
    scene.engine.set_clock(scene.chance.randrange(-3 * HOUR_US, 3 * HOUR_US))


def second_engine(scene: Scene) -> None:
    """The same store by its name, by a roundabout path, by a link of either kind: each is refused, and the first goes on."""
    roundabout = scene.store.parent / ".." / scene.store.parent.name / scene.store.name
    _refused(scene, f"sqlite:///{scene.chance.choice([scene.store, roundabout])}")
    link = scene.store.with_name("link.db")
    for make in (link.symlink_to, link.hardlink_to):
        make(scene.store)
        try:
            _refused(scene, f"sqlite:///{link}")
        finally:
            link.unlink()


def moved_store(scene: Scene) -> None:
    """Somebody takes the file away, and puts it back. What was told meanwhile must be in it."""
    away = scene.store.with_name("away.db")
    scene.store.rename(away)
    time.sleep(MOVED_S)
    away.replace(scene.store)


def locked_store(scene: Scene) -> None:
    """Somebody with another tool begins to write, and takes his time."""
    other = sqlite3.connect(scene.store, isolation_level=None, timeout=30)
    try:
        other.execute("begin immediate")
        time.sleep(LOCKED_S)
        other.execute("rollback")
    finally:
        other.close()


def stop_client(scene: Scene) -> None:
    """In the middle of whatever it does, with whatever lock it has just then."""
    pid = scene.clients.any_pid()
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STOPPED_S)
    os.kill(pid, signal.SIGCONT)


def few_descriptors(scene: Scene) -> None:
    """Who starts with next to none runs, or ends with a reason; the next one starts with enough."""
    scene.engine.end()
    for most in (scene.chance.randrange(7, 12), scene.chance.randrange(12, 24)):
        code, told = _tried(scene, f"sqlite:///{scene.store}", "sh", "-c", f'ulimit -n {most}; exec "$@"', "sh")
        if code is not None and (code not in (1, 2, REFUSED) or not told):
            raise Wrong(f"with {most} descriptors, run ended with {code}: {told}")
    scene.engine.start()


def kill_client(scene: Scene) -> None:
    scene.clients.kill_one(scene.chance.randrange(1 << 30))


ALL: tuple[Callable[[Scene], None], ...] = (
    kill_engine,
    kill_engine_while_it_starts,
    kill_workers,
    stop_engine,
    end_engine,
    full_disk,
    kill_engine_on_a_full_disk,
    read_only,
    no_descriptors,
    clock_steps,
    few_descriptors,
    locked_store,
    moved_store,
    second_engine,
    kill_client,
    stop_client,
)


def _refused(scene: Scene, url: str) -> None:
    """Another engine that asks for this store ends, and says why. Raises Wrong."""
    code, told = _tried(scene, url)
    if code is None:
        raise Wrong(f"a second engine runs on {url}")
    if code != REFUSED or not told:
        raise Wrong(f"a second engine on {url} ended with {code}: {told}")


def _tried(scene: Scene, url: str, *before: str) -> tuple[int | None, str]:
    """An engine that ought to end at once: its exit code, None when it runs; and its last words."""
    process = subprocess.Popen(
        [*before, *scene.engine.command(url=url)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=scene.engine.environ,
        cwd=ROOT,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line.strip())
        if line.startswith("running "):
            process.kill()
            process.communicate()
            return None, line
    process.communicate()
    return process.returncode, lines[-1] if lines else ""
