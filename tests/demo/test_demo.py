"""``onex demo`` proves what it prints: with sound effects it finds nothing, and with a planted fault it does."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onex.cli.demo.command import Proof, perform
from onex.cli.demo.files import DemoFiles
from onex.cli.demo.kill_moments import kill_moments
from onex.cli.demo.trial import Trial
from onex.cli.demo.verdict import DemoResult
from onex.cli.demo.workload import orders
from onex.cli.main import main

ONEX = Path(sys.executable).with_name("onex")
KEYS = [
    *("instances", "actions", "intents", "kills", "effects_lost", "effects_retried", "effects_repeated"),
    *("replay_mismatches", "unverified", "actions_per_s", "p99_ms", "report", "work"),
]

RANDOM_KEYS = """
import sys
from uuid import uuid4
from onex.cli.demo import engine as demo_engine
sys.exit(demo_engine.main(sys.argv[1:], lambda one: one.model_copy(update={"idempotency_key": str(uuid4())})))
"""


def demo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As a person types it, in an empty directory."""
    return subprocess.run([ONEX, "demo", *words], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def planted(folder: Path, script: str) -> Proof:
    with DemoFiles(f"sqlite:///{folder / 'proof.db'}") as place:
        engine = (sys.executable, "-P", "-c", script)
        return perform(orders(40, place.folder), place, 1, io.StringIO(), engine=engine)


def test_two_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    done = demo(tmp_path, "--workflow", "orders", "--instances", "60", "--json", "--seed", "7")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert list(told) == KEYS
    assert (told["instances"], told["actions"], told["intents"]) == (60, 180, 120)
    assert told["kills"] == 2
    assert (told["effects_lost"], told["effects_repeated"], told["replay_mismatches"], told["unverified"]) == (
        0,
        0,
        0,
        0,
    )
    assert told["effects_retried"] >= 1
    assert told["actions_per_s"] > 0
    assert told["p99_ms"] > 0
    page = Path(told["report"]).read_text()
    assert f"Nothing was done twice: {told['effects_retried']} retried effect" in page
    assert page.count("kill -9 at ") == 2
    assert told["work"] == ""
    # the world outside agrees: one receipt and one parcel per order
    assert len(list((tmp_path / ".onex/demo/orders").rglob("*.json"))) == 120
    assert done.stderr.count("killed the engine at") == 2


def test_the_engine_is_killed_inside_both_windows(tmp_path: Path) -> None:
    done = demo(tmp_path, "--path", str(package_of_some_files(tmp_path)))
    assert done.returncode == 0, done.stdout + done.stderr
    percents = [int(line.split()[4]) for line in done.stdout.splitlines() if line.startswith("killed the engine at")]
    assert 25 <= percents[0] <= 50
    assert 50 <= percents[1] <= 80
    assert "Try:" in done.stdout
    proof, work = (line for line in done.stdout.splitlines() if line.endswith(".html"))
    assert proof.split()[0] == "proof", "the proof is the first page that is named, and what the work made the second"
    assert (tmp_path / ".onex/demo/proof.html").read_text().count('href="analysis/report.html"') == 1
    assert (tmp_path / work.split()[-1]).is_file()
    assert not (tmp_path / ".onex/demo/ledger.jsonl").exists()


def package_of_some_files(folder: Path) -> Path:
    tree = folder / "tree"
    tree.mkdir()
    for n in range(30):
        (tree / f"part_{n}.py").write_text(f"def part_{n}(x: int) -> int:\n    return x + {n}\n")
    return tree


def test_random_keys_are_seen_as_repeated_effects(tmp_path: Path) -> None:
    proof = planted(tmp_path, RANDOM_KEYS)
    assert proof.result.effects_repeated >= 1
    assert proof.result.effects_retried == 0
    assert proof.exit_code == 1
    assert any(fault.startswith("repeated: orders:") for fault in proof.faults)
    assert "did not prove" in Path(proof.result.report).read_text()


def test_dropped_outbox_rows_are_seen_as_lost_effects(tmp_path: Path) -> None:
    kills: list[int] = []

    def drop() -> None:
        kills.append(1)
        if len(kills) < 2:
            return
        with sqlite3.connect(tmp_path / "proof.db") as database:
            dropped = database.execute(
                "delete from outbox where (n, ordinal) in (select n, ordinal from outbox limit 3)"
            )
            assert dropped.rowcount == 3
        database.close()

    with DemoFiles(f"sqlite:///{tmp_path / 'proof.db'}") as place:
        proof = perform(orders(40, place.folder), place, 1, io.StringIO(), between=drop)
    assert proof.result.effects_lost == 3
    assert proof.exit_code == 1
    assert any("neither an outcome nor an outbox row" in fault for fault in proof.faults)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(12))
def test_wherever_the_kills_fall(tmp_path: Path, seed: int) -> None:
    with DemoFiles(f"sqlite:///{tmp_path / 'proof.db'}") as place:
        proof = perform(orders(10 + 40 * seed, place.folder), place, seed, io.StringIO())
    assert proof.faults == []


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo in the middle of its work; no process of it outlives the test."""
    late = next(seed for seed in range(100) if kill_moments(2000, random.Random(seed))[0].at > 900)
    words = [str(ONEX), "demo", "--workflow", "orders", "--instances", "1000", "--seed", str(late)]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while "effects seen" not in process.stdout.readline():
            assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def engines(folder: Path) -> list[int]:
    """Processes that were started as an engine for this folder's orders."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            here = os.readlink(place / "cwd") == str(folder)
        except OSError:
            continue
        if here and b"onex.cli.demo.engine" in words:
            found.append(int(place.name))
    return found


def gone(folder: Path) -> bool:
    for _ in range(100):
        if not engines(folder):
            return True
        time.sleep(0.1)
    return False


def test_ctrl_c_ends_the_engine_and_says_where_the_store_is(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        assert len(engines(tmp_path)) == 1
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130
    assert "sqlite:///.onex/demo.db" in told
    assert "Traceback" not in told
    assert gone(tmp_path)
    assert not (tmp_path / ".onex/demo/ledger.jsonl").exists()
    assert (tmp_path / ".onex/demo.db").exists()


def test_an_engine_does_not_outlive_its_witness(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        process.kill()
        process.communicate()
    assert gone(tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--instances", "3"], 2, "greater than or equal to 10"),
        (["--instances", "30", "--path", "."], 2, "--path is for code_analysis"),
        (["--workflow", "code_analysis", "--instances", "30"], 2, "--instances is for orders"),
        (["--store", "memory:"], 2, "name a file"),
        (["--path", "."], 2, "holds no Python file"),
    ],
)
def test_a_wrong_wish_is_told_and_nothing_is_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *words]) == code
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_json_names_are_those_promised() -> None:
    assert list(DemoResult.model_fields) == KEYS


def test_a_kill_that_somebody_asks_for_is_one_more_and_changes_nothing(tmp_path: Path) -> None:
    """Asked for as soon as the second engine takes work, so it may meet the one that the second drawn kill is for."""
    with DemoFiles(f"sqlite:///{tmp_path / 'proof.db'}") as place:
        engines: list[Trial] = []

        def ready(trial: Trial) -> None:
            engines.append(trial)
            if len(engines) == 2:
                assert trial.kill_now()
                assert not trial.kill_now(), "it is dead"

        proof = perform(orders(60, place.folder), place, 1, io.StringIO(), ready=ready)
    assert proof.faults == []
    assert proof.result.kills == 3 and len(engines) == 4
