"""Ray for tests, from wheels that are pinned by hash: fetched once into `.cache`, where nothing but its tests imports it.

Where it cannot be had after two tries, its tests are skipped, aloud.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.laws.tree import ROOT
from tests.servers.postgres_server import NoServer

LOCK = ROOT / "requirements" / "ray.txt"
CACHE = ROOT / ".cache" / "ray-2"


def fetch() -> Path:
    """The folder that holds it. Two at once wait for each other. Raises NoServer after two tries."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install = [
            str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--system-certs", "--no-deps",
            "--python", sys.executable, "--require-hashes", "--target", str(CACHE), "-r", str(LOCK),
        ]  # fmt: skip
        said = ""
        for _ in range(2):
            if (CACHE / "done").exists():
                return CACHE
            tried = subprocess.run(install, capture_output=True, text=True)
            said = tried.stderr.strip()
            if tried.returncode == 0:
                (CACHE / "done").touch()
        raise NoServer(f"the wheels cannot be installed: {said[-300:]}")


def environment() -> dict[str, str]:
    """Of a program that uses Ray. Without a token of its own, it leaves no file in the user's home."""
    try:
        folder = fetch()
    except NoServer as error:
        pytest.skip(f"RAY IS NOT HERE: {error}")
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
