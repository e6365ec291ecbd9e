"""A comparison divides only what was measured in one round, hides nothing that failed, and leaves no process and no file.

Tiny programs stand for the peers here: what is tested is the order, the maths and the counting. The peers themselves are
installed and run by ``make peers`` alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.peers import compare as command
from bench.peers import driver
from bench.peers.child_process import run
from bench.peers.compare import Comparison, Started, choose, compare, result, run_once
from bench.peers.environments import ROOT, NotInstalled, environment
from bench.peers.figures import Run, figures, table
from bench.peers.peers import LOCKS, PROGRAMS
from bench.peers.programs import onex_peer
from onex.bench.machine import HostFacts

HOST = HostFacts(100.0, 0.5, "3.11.7", "abc", 8.0)
PROGRAM = """
import json, sys
from pathlib import Path
log, name, rates = Path(sys.argv[1]), sys.argv[2], [float(rate) for rate in sys.argv[3].split(",")]
folder = Path(sys.argv[sys.argv.index("--folder") + 1])
(folder / "store.db").write_text("rows")
with log.open("a") as lines:
    lines.write(name + "\\n")
round_ = log.read_text().splitlines().count(name) - 1
print("a line of its own")
print(json.dumps({"rate": rates[round_], "workflows": 10, "seconds": 1.0, "cpu_us": 5.0, "alone_ms": [1.0, 2.0],
                  "settings": {"journal_mode": "wal"}, "versions": {"sqlite": "3"}}))
"""


def a_run(rate: float, *alone_ms: float) -> Run:
    return Run(rate=rate, workflows=9, seconds=1, cpu_us=7, alone_ms=alone_ms or (1,), settings={}, versions={})


# --- figures ----------------------------------------------------------------------------------------------------------


def test_a_ratio_is_of_one_round() -> None:
    """The machine was ten times slower in the second round: the ratio does not know."""
    found = figures("peer", [a_run(1000), a_run(100), a_run(800)], [a_run(500), a_run(50), a_run(400)])
    assert (found.ratio, found.rate, found.rounds) == (0.5, 400, 3)


def test_waits_of_all_rounds_are_one_sample() -> None:
    found = figures("peer", [a_run(1), a_run(1)], [a_run(1, 1.0, 2.0), a_run(1, 3.0, 90.0)])
    assert (found.p50_ms, found.p99_ms, found.counted) == (2.0, 90.0, 4)


@pytest.mark.parametrize(("ours", "theirs"), [(2, 1), (1, 2), (0, 0)])
def test_rounds_that_do_not_match_are_not_divided(ours: int, theirs: int) -> None:
    with pytest.raises(ValueError, match=f"peer has {theirs} rounds beside {ours} of ours"):
        figures("peer", [a_run(1)] * ours, [a_run(1)] * theirs)


def test_the_table_begins_with_the_fastest() -> None:
    ours = [a_run(100)]
    lines = table(
        [figures("slow", ours, [a_run(25)]), figures("onex", ours, ours), figures("fast", ours, [a_run(2500)])]
    )
    assert [line.split()[:3] for line in lines[1:]] == [
        ["fast", "2,500", "25"], ["onex", "100", "1"], ["slow", "25", "0.25"],
    ]  # fmt: skip
    assert lines[0].split()[:2] == ["peer", "workflows/s"]


def test_the_last_line_has_what_every_bench_answers() -> None:
    ours = [a_run(100)]
    rows = [figures("onex", ours, ours), figures("other", ours, [a_run(50)])]
    line = json.loads(json.dumps(result(Comparison(rows, {"gone": "no index"}, {"bad": "ended with 1"}), HOST)))
    assert (line["bench"], line["unit"], line["value"], line["fsync_us"]) == ("peers", "workflows/s", 100.0, 100.0)
    assert {"load", "python", "commit"} < set(line)
    assert line["peers"]["other"]["ratio"] == 0.5
    assert (line["detail"]["skipped"], line["detail"]["failed"]) == ({"gone": "no index"}, {"bad": "ended with 1"})


# --- rounds -----------------------------------------------------------------------------------------------------------


class Programs:
    def __init__(self, folder: Path) -> None:
        self.place, self._folder = folder / "place", folder
        self.place.mkdir()
        (folder / "program.py").write_text(PROGRAM)

    def program(self, name: str, *rates: float) -> Started:
        words = [sys.executable, str(self._folder / "program.py"), str(self._folder / "log"), name]
        return Started(name, [*words, ",".join(map(str, rates))])

    def code(self, name: str, code: str) -> Started:
        return Started(name, [sys.executable, "-c", code])

    @property
    def order(self) -> list[str]:
        return (self._folder / "log").read_text().splitlines()


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


def test_every_second_round_runs_backwards_and_no_store_is_left(programs: Programs) -> None:
    found = compare([programs.program("onex", 10, 20), programs.program("other", 5, 5)], 2, 1.0, programs.place)
    assert programs.order == ["onex", "other", "other", "onex"]
    assert [(row.name, row.ratio) for row in found.rows] == [("onex", 1.0), ("other", 0.375)]
    assert list(programs.place.iterdir()) == []


def test_a_program_that_fails_is_named_and_the_others_are_measured(programs: Programs) -> None:
    bad = programs.code("bad", "raise RuntimeError('3 workflows were lost')")
    found = compare([programs.program("onex", 10, 10), bad], 2, 1.0, programs.place)
    assert [row.name for row in found.rows] == ["onex"]
    assert found.failed == {"bad": "ended with 1: RuntimeError: 3 workflows were lost"}
    assert list(programs.place.iterdir()) == []


def test_without_our_own_figures_there_are_none(programs: Programs) -> None:
    found = compare([programs.code("onex", "print()"), programs.program("other", 5)], 1, 1.0, programs.place)
    assert (found.rows, found.ours, list(found.failed)) == ([], None, ["onex"])


@pytest.mark.parametrize("said", ["done", '{"rate": 0}', '{"rate": "fast"}'])
def test_a_last_line_that_is_no_figures_is_refused(programs: Programs, said: str) -> None:
    with pytest.raises(ValueError, match="its last line is no figures"):
        run_once(programs.code("other", f"print({said!r})"), 1.0, programs.place)


def test_a_peer_that_cannot_be_installed_is_skipped_aloud(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def only_ours(name: str, lock: Path) -> Path:
        asked.append(name)
        if name != "onex":
            raise NotInstalled(f"no index has {lock.name}\nsaid the installer")
        return Path("python")

    monkeypatch.setattr(command, "environment", only_ours)
    started, skipped = command.install(choose(["dbos", "floor"]))
    assert [one.name for one in started] == ["onex"] and asked == ["onex", "floor", "dbos"]
    assert set(skipped) == {"floor", "dbos-async", "dbos-queue"}
    assert "SKIPPED dbos: no index has dbos.txt\nsaid the installer" in capsys.readouterr().err


def test_a_skip_is_counted_and_is_no_failure(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = ([programs.program("onex", 10)], {"dbos-async": "no index\nsaid the installer"})
    monkeypatch.setattr(command, "install", lambda chosen: answer)
    assert command.main(["--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == ["skipped: 1, failed: 0", "  dbos-async: no index"]
    assert json.loads(lines[-1])["detail"]["skipped"] == answer[1]


def test_a_failure_is_the_exit_code(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = programs.code("other", "raise SystemExit(3)")
    monkeypatch.setattr(command, "install", lambda chosen: ([programs.program("onex", 10), bad], {}))
    assert command.main(["--rounds", "1", "--json"]) == 1


def test_what_the_installer_said_is_the_reason(tmp_path: Path) -> None:
    with pytest.raises(NotInstalled, match="No such file"):
        environment("peer", tmp_path / "peer.txt", tmp_path)
    (tmp_path / "peer.txt").write_text("this is === no requirement\n")
    with pytest.raises(NotInstalled, match="no requirement"):
        environment("peer", tmp_path / "peer.txt", tmp_path)


def test_an_environment_is_made_once_for_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / "peer.txt"
    lock.write_text("# needs nothing\n")
    python = environment("peer", lock, tmp_path)
    kept = python.parent / "kept"
    kept.touch()
    assert environment("peer", lock, tmp_path) == python and kept.exists()
    lock.write_text("# needs nothing, otherwise\n")
    assert environment("peer", lock, tmp_path) == python and not kept.exists()


def test_a_name_chooses_an_environment_or_a_row_beside_ours() -> None:
    assert [one.name for one in choose(["langgraph-exit", "floor"])] == ["onex", "floor", "langgraph-exit"]
    assert {one.name for one in choose(["dbos"])} == {"onex", "dbos-async", "dbos-queue"}
    assert list(choose([])) == list(PROGRAMS)
    with pytest.raises(ValueError, match="there is no peer 'temporal'; there are dbos, dbos-async"):
        choose(["temporal"])


def test_every_peer_has_its_program_and_its_lock() -> None:
    for one in PROGRAMS:
        assert (ROOT / f"{one.module.replace('.', '/')}.py").is_file()
        assert (ROOT / LOCKS[one.environment]).is_file()


# --- processes --------------------------------------------------------------------------------------------------------

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""


def ends(pid: int) -> bool:
    """Whether the process is gone, or a zombie that nobody waits for, within some seconds."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    ended = run([sys.executable, "-c", FAMILY, str(tmp_path / "pid")], tmp_path, timeout_s=2.0)
    assert ended.code == -signal.SIGKILL and ended.error == "killed after 2 s"
    assert ends(int(ended.output))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process(tmp_path: Path, sent: signal.Signals) -> None:
    """The parent is ended as by Ctrl-C or ``kill``; its child and grandchild end, too."""
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal: a job in the background ignores it
from pathlib import Path
from bench.peers import compare
compare.install = lambda chosen: ([compare.Started("onex", [sys.executable, "-c", {FAMILY!r}, {str(tmp_path / "pid")!r}])], {{}})
sys.exit(compare.main(["--json"]))
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    os.kill(parent.pid, sent)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 130 and said.endswith("interrupted; nothing runs on\n")
    assert ends(int((tmp_path / "pid").read_text()))


# --- the driver -------------------------------------------------------------------------------------------------------


class MemoryPeer:
    """``loses``: every workflow of this name is lost. ``repeats``: its effect runs twice."""

    def __init__(self, loses: str = "", repeats: str = "") -> None:
        self.settings: Mapping[str, str] = {"journal_mode": "memory"}
        self._loses, self._repeats, self._done = loses, repeats, 0

    async def wave(self, names: Sequence[str]) -> None:
        await asyncio.sleep(0.001 * len(names))
        for name in names:
            for _ in range(driver.TASKS + (name == self._repeats)):
                driver.OUTSIDE.act()
            self._done += name != self._loses

    async def count_done(self) -> int:
        return self._done


def measured(peer: MemoryPeer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    @asynccontextmanager
    async def opened(folder: Path, mode: str) -> AsyncIterator[MemoryPeer]:
        yield peer

    monkeypatch.setattr(driver, "OUTSIDE", driver.Outside())
    return asyncio.run(driver.measure(opened, folder, "", 0.01))


def test_what_is_measured_is_what_a_run_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Run.model_validate({**measured(MemoryPeer(), tmp_path, monkeypatch), "versions": {}})
    assert found.workflows >= driver.WARM and len(found.alone_ms) >= driver.ALONE_MIN
    assert found.rate == pytest.approx(found.workflows / found.seconds)


@pytest.mark.parametrize(
    ("peer", "told"),
    [(MemoryPeer(loses="job-3"), "are done in the store"), (MemoryPeer(repeats="job-3"), "effects ran where")],
)
def test_a_rate_of_lost_or_repeated_work_is_none(
    peer: MemoryPeer, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match=told):
        measured(peer, tmp_path, monkeypatch)


def test_our_own_program_runs_on_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = driver.Outside()
    monkeypatch.setattr(driver, "OUTSIDE", outside)
    monkeypatch.setattr(onex_peer, "OUTSIDE", outside)
    found = asyncio.run(driver.measure(onex_peer.opened, tmp_path, "", 0.05))
    assert Run.model_validate({**found, "versions": {}}).settings == {"journal_mode": "wal", "synchronous": "full"}
    assert (tmp_path / "onex.db").stat().st_size > 0
