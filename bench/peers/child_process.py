"""A child with all that it starts: when this process is interrupted or stopped, the whole group ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Ended(NamedTuple):
    """``code`` is the exit code, -N when signal N ended it. ``output`` and ``error`` are what it wrote."""

    code: int
    output: str
    error: str


def run(words: Sequence[str], folder: Path, timeout_s: float, environment: Mapping[str, str] | None = None) -> Ended:
    """The command's end. One that takes longer than ``timeout_s`` is killed, and its error says so."""
    with subprocess.Popen(
        words,
        cwd=folder,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, which can be ended as a whole
    ) as child:
        try:
            output, error = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _end(child.pid)
            output, error = child.communicate()
            return Ended(child.wait(), output, f"{error}killed after {timeout_s:g} s")
        finally:
            _end(child.pid)
        return Ended(child.returncode, output, error)


def _end(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
