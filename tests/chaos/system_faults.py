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

from tests.chaos.processes import ROOT, Clients, Disk, Engine, RunFailed, with_descriptors, without_descriptors

FULL_S = 0.8
STOPPED_S = 1.5
EXHAUSTED_S = 0.8
LOCKED_S = 1.2
MOVED_S = 0.6
HOUR_US = 3600 * 1_000_000
REFUSED = 3  # what `onex run` ends with when a store is taken, or cannot be written


@dataclass(slots=True)
class Targets:
    """What a trouble may touch. ``skipped`` tells why one was not given."""

    engine: Engine
    clients: Clients
    disk: Disk
    store: Path
    chance: random.Random
    skipped: dict[str, str]


def kill_engine(targets: Targets) -> None:
    targets.engine.kill()
    targets.engine.start()


def kill_engine_while_it_starts(targets: Targets) -> None:
    targets.engine.kill()
    for _ in range(3):
        targets.engine.start()
        time.sleep(targets.chance.random() * 0.9)
        targets.engine.kill()
    targets.engine.start()


def kill_workers(targets: Targets) -> None:
    """The fork server and all it forked, or one of them."""
    helpers = targets.engine.helpers()
    if not helpers:
        return
    some = helpers if targets.chance.random() < 0.5 else [targets.chance.choice(helpers)]
    for pid in some:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def stop_engine(targets: Targets) -> None:
    """For a while it does not run at all, and another that wants its store is refused meanwhile."""
    os.kill(targets.engine.pid, signal.SIGSTOP)
    try:
        time.sleep(STOPPED_S)
        _refused(targets, f"sqlite:///{targets.store}")
    finally:
        os.kill(targets.engine.pid, signal.SIGCONT)


def end_engine(targets: Targets) -> None:
    """In order, as a deployment does."""
    targets.engine.end()
    targets.engine.start()


def full_disk(targets: Targets) -> None:
    targets.disk.fill(targets.engine.pid)
    try:
        time.sleep(FULL_S)
    finally:
        if targets.engine.runs:
            targets.disk.free(targets.engine.pid)


def kill_engine_on_a_full_disk(targets: Targets) -> None:
    """It dies without room, and the next one starts without room."""
    if not targets.disk.mounted:
        targets.skipped["kill_engine_on_a_full_disk"] = targets.disk.how
        return
    targets.disk.fill(targets.engine.pid)
    try:
        time.sleep(FULL_S / 2)
        targets.engine.kill()
        targets.engine.start()
        time.sleep(FULL_S)
    finally:
        targets.disk.free(targets.engine.pid)


def read_only(targets: Targets) -> None:
    """Who starts on a store that cannot be written ends with a reason, and changes nothing."""
    targets.engine.end()
    files = [*targets.store.parent.glob(f"{targets.store.name}*")]
    modes = {path: path.stat().st_mode for path in (targets.store.parent, *files)}
    try:
        for path in files:
            path.chmod(0o444)
        targets.store.parent.chmod(0o555)
        code, told = _tried(targets, f"sqlite:///{targets.store}")
        if code is None:
            targets.skipped["read_only"] = "a mode binds nobody here (root with every capability)"
        elif code != REFUSED or not told:
            raise RunFailed(f"on a store that cannot be written, run ended with {code}: {told}")
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    targets.engine.start()


def no_descriptors(targets: Targets) -> None:
    without_descriptors(targets.engine.pid)
    try:
        time.sleep(EXHAUSTED_S)
    finally:
        if targets.engine.runs:
            with_descriptors(targets.engine.pid)


def clock_steps(targets: Targets) -> None:
    """Forth and back by hours, as a machine's that is set: beyond the hour for which answers are kept."""
    targets.engine.set_clock(targets.chance.randrange(-3 * HOUR_US, 3 * HOUR_US))
    time.sleep(0.2)
    targets.engine.set_clock(targets.chance.randrange(-3 * HOUR_US, 3 * HOUR_US))


def second_engine(targets: Targets) -> None:
    """The same store by its name, by a roundabout path, by a link of either kind: each is refused, and the first goes on."""
    roundabout = targets.store.parent / ".." / targets.store.parent.name / targets.store.name
    _refused(targets, f"sqlite:///{targets.chance.choice([targets.store, roundabout])}")
    link = targets.store.with_name("link.db")
    for make in (link.symlink_to, link.hardlink_to):
        make(targets.store)
        try:
            _refused(targets, f"sqlite:///{link}")
        finally:
            link.unlink()


def moved_store(targets: Targets) -> None:
    """Somebody takes the file away, and puts it back. What was told meanwhile must be in it."""
    away = targets.store.with_name("away.db")
    targets.store.rename(away)
    time.sleep(MOVED_S)
    away.replace(targets.store)


def locked_store(targets: Targets) -> None:
    """Somebody with another tool begins to write, and takes his time."""
    other = sqlite3.connect(targets.store, isolation_level=None, timeout=30)
    try:
        other.execute("begin immediate")
        time.sleep(LOCKED_S)
        other.execute("rollback")
    finally:
        other.close()


def stop_client(targets: Targets) -> None:
    """In the middle of whatever it does, with whatever lock it has just then."""
    pid = targets.clients.any_pid()
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STOPPED_S)
    os.kill(pid, signal.SIGCONT)


def few_descriptors(targets: Targets) -> None:
    """Who starts with next to none runs, or ends with a reason; the next one starts with enough."""
    targets.engine.end()
    for most in (targets.chance.randrange(7, 12), targets.chance.randrange(12, 24)):
        code, told = _tried(targets, f"sqlite:///{targets.store}", "sh", "-c", f'ulimit -n {most}; exec "$@"', "sh")
        if code is not None and (code not in (1, 2, REFUSED) or not told):
            raise RunFailed(f"with {most} descriptors, run ended with {code}: {told}")
    targets.engine.start()


def kill_client(targets: Targets) -> None:
    targets.clients.kill_one(targets.chance.randrange(1 << 30))


ALL: tuple[Callable[[Targets], None], ...] = (
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


def _refused(targets: Targets, url: str) -> None:
    """Another engine that asks for this store ends, and says why. Raises RunFailed."""
    code, told = _tried(targets, url)
    if code is None:
        raise RunFailed(f"a second engine runs on {url}")
    if code != REFUSED or not told:
        raise RunFailed(f"a second engine on {url} ended with {code}: {told}")


def _tried(targets: Targets, url: str, *before: str) -> tuple[int | None, str]:
    """An engine that ought to end at once: its exit code, None when it runs; and its last words."""
    process = subprocess.Popen(
        [*before, *targets.engine.command(url=url)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=targets.engine.environ,
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
