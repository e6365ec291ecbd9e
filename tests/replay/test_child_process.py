"""A process that folds ends with its parent, whatever it is at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from onex.processes.child_process import serve
from tests.laws.tree import ROOT

PARENT = """
from onex.processes.child_process import Child
from tests.replay.test_child_process import hanging

if __name__ == "__main__":
    child = Child(hanging)
    print(child.receive(), flush=True)
    child.receive()
"""


def hanging(line: Connection) -> None:
    """A child whose code hangs: it reads nothing, writes nothing, and waits for nothing."""

    async def run() -> None:
        line.send(os.getpid())
        while True:
            pass

    serve(line, run, "a test")


def test_a_child_that_hangs_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    words = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True, env=words) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    try:
        for _ in range(200):
            if gone(child):
                return
            time.sleep(0.05)
        raise AssertionError(f"process {child} is still there")
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def gone(process: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
