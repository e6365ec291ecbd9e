"""A forked child holds nothing of the store, whatever becomes of it or of its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from onex.adapters.owner_lock import OwnerLock, holders_of, lock_path, owner_of
from onex.adapters.sqlite.core import SqliteCore

Fork = Callable[[], int]


def native_fork() -> int:
    """By C code: Python's hooks are not called."""
    return int(ctypes.CDLL(None).fork())


@contextmanager
def child(fork: Fork) -> Iterator[int]:
    """A copy of this process that only lives."""
    pid = fork()
    if pid == 0:
        while True:
            signal.pause()
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def taken(path: Path) -> OwnerLock:
    lock = OwnerLock(path)
    assert lock.take()
    return lock


@pytest.mark.parametrize("fork", [os.fork, native_fork])
def test_a_lock_that_is_freed_is_free_though_a_forked_child_lives(tmp_path: Path, fork: Fork) -> None:
    lock = taken(tmp_path / "owner")
    with child(fork):
        lock.free()
        taken(tmp_path / "owner").free()


def test_a_child_that_is_forked_does_not_free_its_parents_lock(tmp_path: Path) -> None:
    lock = taken(tmp_path / "owner")
    with child(os.fork) as pid:
        while pid in holders_of(lock.path):
            time.sleep(0.001)
        assert not OwnerLock(lock.path).take()
        assert owner_of(lock.path) == os.getpid()
    assert not OwnerLock(lock.path).take()
    lock.free()


def heard(out: IO[bytes]) -> tuple[int, int]:
    """Of the owner and its child, once both have said that they run: before that the child still holds what it was born with."""
    lines = sorted(out.readline() for _ in range(2))
    assert lines[1] == b"the child runs\n"
    owner, forked = map(int, lines[0].split())
    return owner, forked


def engine_that_forks(path: Path, fork: str) -> tuple[int, int]:
    """A process that owns the store and is killed; a child that it forked lives on. (owner, child)."""
    body = f"""
import ctypes, os, signal, sys, time
from pathlib import Path
from onex.adapters.sqlite.core import SqliteCore
core = SqliteCore(Path({str(path)!r}))
assert core.own("owner")
pid = {fork}
if pid == 0:
    os.write(1, b"the child runs\\n")
    os.close(1)
    while True:
        signal.pause()
os.write(1, b"%d %d\\n" % (os.getpid(), pid))
signal.pause()
"""
    engine = subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE)
    assert engine.stdout is not None
    owner, forked = heard(engine.stdout)
    engine.kill()
    engine.wait()
    engine.stdout.close()
    return owner, forked


def test_the_death_of_an_owner_frees_the_store_though_its_child_lives(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    _, forked = engine_that_forks(path, "os.fork()")
    try:
        core = SqliteCore(path)
        assert core.own("next")
        core.close()
    finally:
        os.kill(forked, signal.SIGKILL)


def test_a_lock_that_a_child_keeps_names_the_child_and_never_the_dead(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    owner, forked = engine_that_forks(path, "ctypes.CDLL(None).fork()")
    try:
        assert owner not in holders_of(lock_path(path))
        assert owner_of(lock_path(path)) is None
        assert holders_of(lock_path(path)) == [forked]
    finally:
        os.kill(forked, signal.SIGKILL)


def test_a_child_that_ends_in_order_leaves_the_next_owners_file_alone(tmp_path: Path) -> None:
    """Its connections would, at its end, fold a WAL into the file that nobody but the child still has."""
    path = tmp_path / "store.db"
    body = f"""
import os, signal, sys
from pathlib import Path
from onex.adapters.sqlite.core import SqliteCore
core = SqliteCore(Path({str(path)!r}))
assert core.own("owner")
for number in range(200):
    core.send_all([b"x" * 1000], number)
pid = os.fork()
if pid == 0:
    os.write(1, b"the child runs\\n")
    sys.stdin.readline()
    sys.exit(0)
os.write(1, b"%d %d\\n" % (os.getpid(), pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    engine = subprocess.Popen([sys.executable, "-c", body], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert engine.stdin is not None and engine.stdout is not None
    heard(engine.stdout)
    engine.wait()

    core = SqliteCore(path)
    assert core.own("next")
    for number in range(200):
        core.send_all([b"y" * 1000], number)
    core.close()
    before = path.read_bytes()
    engine.stdin.write(b"end\n")
    engine.stdin.close()
    assert engine.stdout.read() == b""  # until the child has ended too
    engine.stdout.close()
    assert path.read_bytes() == before
    assert sqlite3.connect(path).execute("pragma integrity_check").fetchall() == [("ok",)]
