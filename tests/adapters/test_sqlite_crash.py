"""kill -9 at any moment: what was acknowledged is there, what is there is whole, and the next owner goes on."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onex.adapters.sqlite.core import SqliteCore
from onex.ports import EnumOutboxState, Position

CHILD = Path(__file__).with_name("writing_child.py")
ALL = 10**9


def killed(path: Path, chance: random.Random) -> list[tuple[int, str, int, str]]:
    """What the child was sure of when it died: ``(n, action id, version, key)``."""
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(path), str(chance.randrange(10**6))], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(chance.random() * 0.05)
    child.kill()
    rest, _ = child.communicate(timeout=30)
    lines = [first, *rest.splitlines(keepends=True)]
    told = [line.split() for line in lines if line.endswith("\n")]
    return [(int(n), action_id, int(version), key) for n, action_id, version, key in told]


def whole(path: Path) -> dict[int, tuple[str, int, str]]:
    """Everything a store must agree with itself about; then its log, by position."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    connection.close()
    core = SqliteCore(path)
    log = core.log(Position(0, 0), ALL)
    assert [entry.position.n for entry in log] == list(range(1, len(log) + 1))
    assert core.counts().actions == len(log)
    for stored in core.instances(None, None, None, ALL):
        history = core.history(stored.key, 0, ALL)
        assert [entry.version for entry in history] == list(range(1, stored.version + 1))
        assert (history[-1].position, history[-1].state_hash) == (stored.position, stored.state_hash)
        assert stored.state == b'{"v":%d}' % stored.version
    waits = core.outbox([EnumOutboxState.WAITING], None, None, ALL)
    assert {row.action_id for row in waits} <= {entry.row.action_id for entry in log}
    core.close()
    return {entry.position.n: (entry.row.action_id.hex(), entry.version, str(entry.key)) for entry in log}


def crashes(path: Path, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    sure: dict[int, tuple[str, int, str]] = {}
    for _ in range(rounds):
        sure |= {n: (action_id, version, key) for n, action_id, version, key in killed(path, chance)}
        found = whole(path)
        assert {n: found.get(n) for n in sure} == sure
    assert len(sure) > rounds
    core = SqliteCore(path)
    assert core.own("after all") == {0: rounds + 1}
    core.close()


def test_what_was_acknowledged_survives_fifteen_kills(tmp_path: Path) -> None:
    crashes(tmp_path / "store.db", rounds=15, seed=15)


@pytest.mark.long
def test_what_was_acknowledged_survives_two_hundred_kills(tmp_path: Path) -> None:
    crashes(tmp_path / "store.db", rounds=200, seed=200)
