"""A run ends when it is told to, whatever its effects do; what was cut off is left to the next engine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.conftest import ONEX, Commands

JOB = Path(__file__).parents[1] / "nodes" / "job"
QUICK = """
import sys
from onex.cli import shutdown
from onex.cli.main import main
from onex.nodes import isolated_call
isolated_call.GRACE_S, shutdown.END_S, shutdown.LEAVE_S = map(float, sys.argv[1:4])
sys.exit(main(sys.argv[4:]))
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Run:
    """``onex run``, with times of its own for how long an end may take."""

    def __init__(self, grace_s: float, end_s: float, leave_s: float, *words: str) -> None:
        times = map(str, (grace_s, end_s, leave_s))
        self.popen = subprocess.Popen(
            [sys.executable, "-c", QUICK, *times, "run", str(JOB), "--json", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._told: list[str] = []
        self._news = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            with self._news:
                self._told.append(line)
                self._news.notify_all()

    def until(self, text: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: text in "".join(self._told), timeout=30), self._told

    def closed(self) -> None:
        assert self.popen.stdout is not None and self.popen.stderr is not None
        self._listener.join(10)
        self.popen.stdout.close()
        self.popen.stderr.close()

    def end(self, *numbers: signal.Signals) -> Ended:
        for number in numbers:
            self.popen.send_signal(number)
        assert self.popen.stdout is not None
        out = self.popen.stdout.read()
        code = self.popen.wait(timeout=60)
        self._listener.join(10)
        return Ended(code, out, "".join(self._told))


@pytest.fixture
def runs(place: Path, commands: Commands) -> Iterator[Callable[..., Run]]:
    started: list[Run] = []

    def start(
        *words: str,
        grace_s: float = 60.0,
        end_s: float = 60.0,
        leave_s: float = 60.0,
        what: str,
        trigger: str = "waits",
    ) -> Run:
        submitted = commands("submit", "job:1", trigger, "--payload", json.dumps({"what": what}), "--no-wait")
        assert submitted.code == 0, submitted
        run = Run(grace_s, end_s, leave_s, *words)
        started.append(run)
        run.until("running job")
        return run

    yield start
    for one in started:
        one.popen.kill()
        one.popen.wait()
        one.closed()


def status_of(commands: Commands) -> str:
    shown = commands("show", "job:1", "--json")
    return str(shown.row["status"]) if shown.code == 0 else ""


def begun(commands: Commands) -> None:
    """The effect runs: its start was recorded, in the first minute, before it did."""
    while status_of(commands) != "busy":
        time.sleep(0.02)
    time.sleep(0.3)


def test_a_try_that_the_end_of_a_run_cut_off_is_told_as_that(runs: Callable[..., Run], commands: Commands) -> None:
    run = runs(what="waits")
    begun(commands)
    while not json.loads(commands("show", "job:1", "--json").out)["open"][0][
        "running"
    ]:  # null until its start is recorded
        time.sleep(0.02)
    assert commands("show", "job:1").out.splitlines()[-1].split() == ["awork", "running", "attempt", "1"]
    told = json.loads(run.end(signal.SIGINT).out)
    assert (told["effects_run"], told["effects_cut_off"], told["waiting"]) == (1, 1, 1)
    shown = commands("show", "job:1", "--history", "--attempts").out
    assert "  awork of version 1: waiting, 1 try so far\n" in shown
    assert shown.splitlines()[-1].split()[-8:] == ["cut", "off", "its", "engine", "closed", "while", "it", "ran"]
    row = json.loads(commands("show", "job:1", "--json", "--attempts").out)
    assert row["open"][0]["running"] is False
    (tried,) = row["attempts"][0]["attempts"]
    assert (tried["attempt"], tried["outcome"], tried["error"]) == (1, "cut_off", "its engine closed while it ran")
    assert tried["began_at"] < tried["ended_at"]


def test_what_was_cut_off_is_counted_in_the_last_line_and_runs_again(place: Path, commands: Commands) -> None:
    commands("submit", "job:1", "waits", "--payload", '{"what": "waits once"}', "--no-wait")
    run = subprocess.Popen([ONEX, "run", JOB], stdout=subprocess.PIPE, text=True)
    begun(commands)
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=60)
    assert out.endswith("1 committed, 0 refused, 1 effect run, 1 cut off, 1 waiting\n")
    (place / "again").touch()
    assert commands("run", JOB, "--until-idle", "-q").code == 0
    shown = commands("show", "job:1", "--attempts").out
    assert "  awork of version 1: after 2 tries, did at version 2" in shown


STUBBORN = ["swallows cancellation", "swallows everything"]


@pytest.mark.parametrize("what", STUBBORN)
@pytest.mark.parametrize(
    ("number", "code", "ending"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 0, "terminated")]
)
def test_an_effect_that_swallows_its_cancellation_holds_the_end_up_for_a_stated_time(
    number: signal.Signals, code: int, ending: str, what: str, runs: Callable[..., Run], commands: Commands
) -> None:
    run = runs(what=what, grace_s=0.2, leave_s=0.5)
    begun(commands)
    ended = run.end(number)
    assert ended.code == code, ended
    told = json.loads(ended.out)
    assert (told["ended"], told["waiting"]) == (ending, 1)
    if what == "swallows cancellation":  # of the other Python itself says that it ignores its end
        assert "Traceback" not in ended.err
    assert commands("show", "job:1", "--json").row["status"] == "busy"  # the next owner runs it again


@pytest.mark.parametrize("what", [*STUBBORN, "blocks the loop"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_signal_ends_at_once(
    number: signal.Signals, code: int, what: str, runs: Callable[..., Run], commands: Commands
) -> None:
    run = runs(what=what)
    begun(commands)
    run.popen.send_signal(number)
    if what != "blocks the loop":
        run.until("Ctrl-C again ends at once")
    while run.popen.poll() is None:  # two that come together are one
        run.popen.send_signal(number)
        try:
            run.popen.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    ended = run.end()
    assert (ended.code, ended.out) == (code, "")
    assert "ended at once; the next engine runs again what was running, under the same key" in ended.err
    assert "Traceback" not in ended.err
    assert commands("show", "job:1", "--json").row["status"] == "busy"


def test_an_effect_that_blocks_the_loop_holds_the_end_up_for_a_stated_time(
    runs: Callable[..., Run], commands: Commands
) -> None:
    run = runs(what="blocks the loop", end_s=0.5)
    begun(commands)
    ended = run.end(signal.SIGINT)
    assert ended.code == 130
    assert "could not stop in order within 0.5 s, and ended" in ended.err


def test_threads_that_an_effect_left_in_the_loop_do_not_hold_the_process(
    runs: Callable[..., Run], commands: Commands
) -> None:
    run = runs(what="leaves a thread", leave_s=0.3)
    begun(commands)
    ended = run.end(signal.SIGINT)
    assert ended.code == 130
    assert json.loads(ended.out)["ended"] == "interrupted"
    assert "do not end; the process ends without them" in ended.err


@pytest.mark.parametrize(
    ("what", "status"), [("its task exits", "done"), ("awaits a task that exits", "unknown"), ("exit0", "unknown")]
)
def test_what_an_effect_or_its_task_exits_with_is_not_how_a_run_ends(
    what: str, status: str, runs: Callable[..., Run], commands: Commands
) -> None:
    run = runs(what=what)
    while status_of(commands) in ("", "busy"):
        assert run.popen.poll() is None
    ended = run.end(signal.SIGTERM)
    assert (ended.code, json.loads(ended.out)["ended"]) == (0, "terminated")
    assert commands("show", "job:1", "--json").row["status"] == status


def test_until_idle_ends_though_an_effect_holds_on(runs: Callable[..., Run]) -> None:
    run = runs("--until-idle", what="swallows everything", trigger="waits_hasty", grace_s=0.1, leave_s=0.3)
    ended = run.end()
    assert (ended.code, json.loads(ended.out)["ended"]) == (0, "idle")
    assert json.loads(ended.out)["waiting"] == 0
