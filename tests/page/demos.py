"""A real ``onex demo`` that stays up, for who looks at its page."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StayingDemo:
    """``address`` is that of its page. ``end`` is Ctrl-C in its terminal; it returns the demo's JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.address = re.findall(r"http://127\.0\.0\.1:\d+", self._until("watch it"))[0]

    def until_all_is_proved(self) -> None:
        self._until("until Ctrl-C")

    def end(self) -> dict[str, object]:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        told: dict[str, object] = json.loads(out.splitlines()[-1])
        return told

    def _until(self, text: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if text in line:
                return line
        raise AssertionError(f"it ended and never said {text!r}")


@contextmanager
def staying(place: Path, *words: str) -> Iterator[StayingDemo]:
    """It runs in ``place``, and leaves its store there."""
    onex = str(Path(sys.executable).with_name("onex"))
    process = subprocess.Popen(
        [onex, "demo", "--stay", "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, start_new_session=True, cwd=place,
    )  # fmt: skip
    try:
        yield StayingDemo(process)
    finally:
        process.kill()
        process.communicate()
