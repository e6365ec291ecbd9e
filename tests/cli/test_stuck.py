"""A step that does not return from a call into C: its process ends by itself, and the next one holds the instance it was on.

Real processes, started again as a supervisor does. The call is a regular expression that turns for ever: it holds the
interpreter, so no Python code of that process runs any more. The other waits in C and leaves the interpreter free.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import ONEX
from tests.servers.postgres_server import PostgresServer

APP = """
import re
import time
from typing import Literal
from onex import Action, Payload, State, Step, workflow

class Match(State):
    status: Literal["new"] = "new"
    found: int = 0

class Text(Payload):
    text: str = ""

matches = workflow("match", Match)

@matches.on("new -> new")
def look(match: Match, action: Action[Text]) -> Step[Match]:
    if action.payload.text == "wait":
        time.sleep(3600)
    re.match("(a+)+$", action.payload.text)
    return Step(match.evolve(found=match.found + 1))
"""
EVIL = "a" * 60 + "b"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's timer on a thread's clock is Linux's")


class Folder:
    """One app and store, and commands on them."""

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url = path, url
        self.environment = {**os.environ, "ONEX_STORE": url, "ONEX_STEP_BUDGET_MS": "200"}
        (path / "match.py").write_text(APP)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ONEX, *words], cwd=self.path, capture_output=True, text=True, timeout=90, env=self.environment, check=False
        )

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """It is told to end, and does, unless it has ended before."""
        words = [str(ONEX), "worker", "match.py", "--lease", "1", "-q"]
        with subprocess.Popen(words, cwd=self.path, stderr=subprocess.DEVNULL, env=self.environment) as worker:
            try:
                yield worker
            finally:
                worker.terminate()

    def submit(self, key: str, text: str = "", *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("submit", key, "look", "--payload", json.dumps({"text": text}), *words)

    def rows(self, *words: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.run(*words, "--json").stdout.splitlines()]


@pytest.mark.parametrize("text", [EVIL, pytest.param("wait", marks=pytest.mark.long)])
def test_the_instance_a_process_was_stuck_on_is_held_after_its_restart(tmp_path: Path, text: str) -> None:
    at = Folder(tmp_path, f"sqlite:///{tmp_path}/store.db")
    for key in ("match:before", "match:bad"):
        at.submit(key, "", "--no-wait")
    assert at.run("run", "match.py", "--until-idle").returncode == 0
    at.submit("match:bad", text, "--no-wait")
    stuck = at.run("run", "match.py", "--until-idle")
    assert stuck.returncode == -signal.SIGVTALRM
    at.submit("match:before", "", "--no-wait")
    at.submit("match:bad", "", "--no-wait")
    again = at.run("run", "match.py", "--until-idle")
    assert again.returncode == 0
    assert "step was stuck" in again.stderr and "match.py:" in again.stderr
    assert [(row["key"], row["code"]) for row in at.rows("rejections")] == [("match:bad", "reducer_failed")]
    version = {row["key"]: row["version"] for row in at.rows("ls")}
    assert version == {"match:before": 2, "match:bad": 1}
    released = at.run("submit", "match:bad", "look", "--no-wait")
    assert released.returncode == 0
    shown = at.run("show", "match:bad")
    assert "held" in shown.stdout and "did not return from a call into C" in shown.stdout
    assert at.run("replay", "match.py").returncode == 0


@pytest.mark.long
def test_among_several_it_is_found_by_running_each_alone(tmp_path: Path) -> None:
    at = Folder(tmp_path, f"sqlite:///{tmp_path}/store.db")
    at.submit("match:bad", "", "--no-wait")
    assert at.run("run", "match.py", "--until-idle").returncode == 0
    for key, text in (("match:one", ""), ("match:bad", EVIL), ("match:two", "")):
        at.submit(key, text, "--no-wait")
    codes: list[int] = []
    while 0 not in codes and len(codes) < 4:
        codes.append(at.run("run", "match.py", "--until-idle").returncode)
    assert codes == [-signal.SIGVTALRM, -signal.SIGVTALRM, 0]
    assert {row["key"]: row["version"] for row in at.rows("ls")} == {"match:bad": 1, "match:one": 1, "match:two": 1}


def test_a_worker_is_ended_and_the_next_one_of_its_machine_holds_the_instance(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    at = Folder(tmp_path, postgres.url("stuck") + "&shards=4")
    with at.worker():
        assert at.submit("match:bad").returncode == 0
    with at.worker() as stuck:
        at.submit("match:bad", EVIL, "--no-wait")
        assert stuck.wait(timeout=60) == -signal.SIGVTALRM
    with at.worker():
        assert at.submit("match:other").returncode == 0
        refused = at.submit("match:bad")
        assert "instance_held" in refused.stderr or "is held" in refused.stderr
    assert [(row["key"], row["code"]) for row in at.rows("rejections")] == [("match:bad", "reducer_failed")]
