"""A real Prometheus and a real Alertmanager for tests, of Debian's packages (`debian_packages`).

Both servers end with the process that started them, also when that is killed: a shell that waits for
the end of a pipe stops them.

Debian's Alertmanager opens its template under an absolute path of the installed package; in the copy that path leads to its working
folder instead.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from tests.laws.tree import ROOT
from tests.servers.debian_packages import NoPackages, unpacked

CACHE = ROOT / ".cache" / "prometheus"
PACKAGES: Final = ("prometheus", "prometheus-alertmanager")
TEMPLATES: Final = b"/usr/share/prometheus/alertmanager"
START_S = 60.0


class NoPrometheus(Exception):
    """Prometheus does not start here."""


def program(name: str) -> str:
    """``prometheus``, ``promtool`` or ``alertmanager``. Skips the test, aloud, where it cannot be had."""
    try:
        programs = unpacked("prometheus", PACKAGES) / "usr" / "bin"
    except NoPackages as error:
        pytest.skip(f"no Prometheus here: {error}")
    if name == "alertmanager" and not (programs / name).exists():
        here = b"." + b"/" * (len(TEMPLATES) - 1)
        copy = programs / f".{name}-{os.getpid()}"  # two processes of one run may do this at once
        copy.write_bytes((programs / "prometheus-alertmanager").read_bytes().replace(TEMPLATES, here))
        copy.chmod(0o755)
        copy.replace(programs / name)
    return str(programs / name)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class _Server:
    """One of both, in a folder, on a port."""

    def __init__(self, name: str, folder: Path, options: Sequence[str]) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        script = '"$@" & server=$!; cat >/dev/null; kill "$server" 2>/dev/null; wait "$server"'
        words = [program(name), f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn", *options]
        templates = CACHE / "root" / "usr" / "share" / "prometheus" / "alertmanager"
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._keeper = subprocess.Popen(
                ["sh", "-c", script, "sh", *words], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=templates,
                start_new_session=True, env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            )  # fmt: skip
        end_s = time.monotonic() + START_S
        while not self._is_ready():
            if time.monotonic() > end_s or self._keeper.poll() is not None:
                self.stop()
                raise NoPrometheus(f"{name} does not start: {self.log.read_text(errors='replace')[-600:]}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def ask(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The data of an answer of its API. Raises HTTPError."""
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(query or {})}", timeout=30) as answer:
            return json.load(answer)["data"]

    def stop(self) -> None:
        self._keeper.communicate()


@contextmanager
def running_prometheus(target: str, rules: Mapping[str, Any], webhook: str) -> Iterator[_Server]:
    """A Prometheus that scrapes ``target`` five times a second as job ``onex``, and whose alerts reach ``webhook``."""
    program("prometheus")
    folder = Path(tempfile.mkdtemp(prefix="onex-prometheus-"))
    often = {"scrape_interval": "200ms", "evaluation_interval": "200ms", "scrape_timeout": "200ms"}
    route = {"receiver": "test", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"}
    receiver = {"name": "test", "webhook_configs": [{"url": webhook}]}
    (folder / "am.yml").write_text(yaml.safe_dump({"route": route, "receivers": [receiver]}))
    servers = []
    try:
        alertmanager = _Server("alertmanager", folder, [
            f"--config.file={folder / 'am.yml'}", f"--storage.path={folder / 'am'}", "--cluster.listen-address=",
        ])  # fmt: skip
        servers.append(alertmanager)
        settings = {
            "global": often,
            "rule_files": [str(folder / "rules.yml")],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [alertmanager.url.removeprefix("http://")]}]}]
            },
            "scrape_configs": [{"job_name": "onex", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "rules.yml").write_text(yaml.safe_dump(dict(rules)))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        prometheus = _Server(
            "prometheus",
            folder,
            [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"],
        )
        servers.append(prometheus)
        yield prometheus
    finally:
        for server in reversed(servers):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
