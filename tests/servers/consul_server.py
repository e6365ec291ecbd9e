"""A real Consul for tests: the package of an earlier release of Debian, the last one under a free licence (`debian_packages`).

It ends with the process that started it, also when that is killed: a shell that waits for the end of a pipe stops it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from tests.servers.debian_packages import NoPackages, unpacked
from tests.servers.prometheus_server import free_port

RELEASE: Final = "bullseye"
START_S = 60.0
SETTINGS = 'disable_update_check = true\nsession_ttl_min = "1s"'


class ConsulServer:
    """``stop`` and ``start`` take it away and bring it back on the same port, with what it knew."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        self.port, self._others = free_port(), [free_port() for _ in range(3)]
        self.url = f"http://127.0.0.1:{self.port}"
        self._keeper: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Raises RuntimeError when it has no leader in time."""
        server, lan, wan = self._others
        script = '"$@" & server=$!; cat >/dev/null; kill -KILL "$server" 2>/dev/null; wait "$server"'
        words = [
            self._program, "agent", "-server", "-bootstrap-expect=1", f"-data-dir={self._folder / 'data'}", "-bind=127.0.0.1",
            "-client=127.0.0.1", f"-http-port={self.port}", "-dns-port=-1", "-grpc-port=-1", f"-server-port={server}",
            f"-serf-lan-port={lan}", f"-serf-wan-port={wan}", "-node=test", "-hcl", SETTINGS, "-log-level=warn",
        ]  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._keeper = subprocess.Popen(
                ["sh", "-c", script, "sh", *words], stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True, env={"PATH": os.environ["PATH"], "HOME": str(self._folder)},
            )  # fmt: skip
        end_s = time.monotonic() + START_S
        while not self._has_leader():
            if time.monotonic() > end_s or self._keeper.poll() is not None:
                self.stop()
                raise RuntimeError(
                    f"consul does not start: {(self._folder / 'log').read_text(errors='replace')[-600:]}"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None

    def _has_leader(self) -> bool:
        try:
            return bool(self.ask("status/leader"))
        except (URLError, OSError):
            return False

    def ask(self, path: str) -> Any:
        """An answer of its API; None for what it does not have. Raises URLError."""
        try:
            with urlopen(f"{self.url}/v1/{path}", timeout=10) as answer:
                return json.load(answer)
        except HTTPError as error:
            if error.code == 404:
                return None
            raise


@contextmanager
def running_consul() -> Iterator[ConsulServer]:
    """Skips the test, aloud, where Consul cannot be had."""
    try:
        program = unpacked("consul", ["consul"], RELEASE) / "usr" / "bin" / "consul"
    except NoPackages as error:
        pytest.skip(f"no Consul here: {error}")
    folder = Path(tempfile.mkdtemp(prefix="onex-consul-"))
    server = ConsulServer(str(program), folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
