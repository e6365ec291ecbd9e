"""The floor's writes are real: what was answered is in the file, and a killed floor ends what it began."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bench.peers import driver
from bench.peers.environments import ROOT
from bench.peers.figures import Run
from bench.peers.programs import floor
from bench.peers.programs.floor import Begin, Comment, FloorEngine, FloorPeer, to_json

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from bench.peers.programs import floor

floor.OUTSIDE.act = lambda: os.kill(os.getpid(), signal.SIGKILL)

async def go():
    engine = floor.FloorEngine(Path(sys.argv[1]))
    await floor.FloorPeer(engine, Path(sys.argv[1])).wave(["a", "b"])

asyncio.run(go())
"""


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> driver.Outside:
    counts = driver.Outside()
    monkeypatch.setattr(driver, "OUTSIDE", counts)
    monkeypatch.setattr(floor, "OUTSIDE", counts)
    return counts


def rows(file: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(file) as other:
        return other.execute(query).fetchall()


def test_an_answered_action_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "floor.db"

    async def go() -> None:
        engine = FloorEngine(file)
        assert engine.settings == {"journal_mode": "wal", "synchronous": "full"}
        await engine.submit("a", to_json(Begin()))
        assert rows(file, "SELECT version, CAST(action AS TEXT) FROM log")[0] == (1, '{"kind":"begin"}')
        await engine.close()

    asyncio.run(go())


def test_a_job_has_six_rows_of_the_log_and_leaves_no_outbox(tmp_path: Path, outside: driver.Outside) -> None:
    file = tmp_path / "floor.db"

    async def go() -> None:
        engine = FloorEngine(file)
        peer = FloorPeer(engine, file)
        await peer.wave([f"job-{n}" for n in range(50)])
        assert await peer.count_done() == 50
        await engine.close()

    asyncio.run(go())
    assert outside.calls == 150
    assert rows(file, "SELECT count(*), count(DISTINCT id), max(version) FROM log") == [(300, 50, 6)]
    assert rows(file, "SELECT count(*) FROM outbox") == [(0,)]
    assert rows(file, "SELECT DISTINCT version, state ->> 'status', state ->> 'left' FROM state") == [(6, "done", 0)]


def test_a_killed_floor_ends_what_it_began(tmp_path: Path, outside: driver.Outside) -> None:
    """Killed at its first effect: the commands are durable, and each effect runs when it is opened again."""
    file = tmp_path / "floor.db"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(file)], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert rows(file, "SELECT count(*) FROM outbox") == [(6,)]

    async def go() -> None:
        engine = FloorEngine(file)
        await engine.done("a")
        await engine.done("b")
        assert engine.state("a").words == driver.COMMENTS[-1]
        assert await FloorPeer(engine, file).count_done() == 2
        await engine.close()

    asyncio.run(go())
    assert outside.calls == 6


def test_a_state_that_somebody_else_wrote_ends_it(tmp_path: Path) -> None:
    file = tmp_path / "floor.db"

    async def go() -> None:
        engine = FloorEngine(file)
        await engine.submit("a", to_json(Comment(text="first")))
        with sqlite3.connect(file) as other:
            other.execute("UPDATE state SET version = 7")
        with pytest.raises(RuntimeError, match="somebody else wrote"):
            await FloorPeer(engine, file).wave(["a"])
        assert rows(file, "SELECT count(*) FROM log") == [(1,)]
        await engine.close()

    asyncio.run(go())


def test_its_program_answers_as_every_peer_does(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "bench.peers.programs.floor", "--folder", str(tmp_path), "--seconds", "0.05"]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    found = Run.model_validate_json(ended.stdout)
    assert set(found.versions) == {"pydantic", "sqlite"} and found.settings["synchronous"] == "full"
