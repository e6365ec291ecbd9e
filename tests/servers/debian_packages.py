"""Programs of Debian packages for tests: fetched once into `.cache` and unpacked, never installed.

`apt-get` with lists and a cache of our own needs no root, and checks the signatures of the release. A package of another release
of Debian comes from the mirror that this machine uses. Where there is no apt-get, or no mirror, nothing can be had.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.laws.tree import ROOT

FETCH_S: Final = 180
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MIRROR: Final = re.compile(r"^(?:URIs: *|deb (?:\[[^]]*\] )?)(\S+/debian)/?(?:\s|$)", re.MULTILINE)


class NoPackages(Exception):
    """They cannot be had here."""


def unpacked(name: str, packages: Sequence[str], release: str = "") -> Path:
    """The root under which ``packages`` are unpacked: once per clone. Two at once wait for each other.

    ``release`` is another release of Debian than the machine's, '' its own. Raises NoPackages after two tries.
    """
    cache = ROOT / ".cache" / name
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise NoPackages("it needs apt-get and dpkg")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (cache / "done").exists():
            return cache / "root"
        error = ""
        for _ in range(2):
            try:
                _unpack(cache, packages, release)
            except (OSError, subprocess.SubprocessError) as failed:
                said = getattr(failed, "stderr", b"") or b""
                error = f"{failed} {said.decode(errors='replace').strip()[-300:]}"
            else:
                (cache / "done").touch()
                return cache / "root"
        raise NoPackages(f"its packages cannot be fetched: {error}")


def _unpack(cache: Path, packages: Sequence[str], release: str) -> None:
    """Raises OSError, SubprocessError."""
    apt, fetched = cache / "apt", cache / "packages"
    for folder in (apt, fetched, cache / "root"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (apt / "lists" / "partial", apt / "cache" / "archives" / "partial", fetched):
        folder.mkdir(parents=True)
    options = {
        "Dir::State::lists": str(apt / "lists"),
        "Dir::Cache": str(apt / "cache"),
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "",
    }
    if release:
        (apt / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {release} main\n")
        options |= {"Dir::Etc::sourcelist": str(apt / "sources.list"), "Dir::Etc::sourceparts": "/dev/null"}
    words = ["apt-get", "-q", *(f"-o{option}={value}" for option, value in options.items())]
    for step in (["update"], ["download", *packages]):
        subprocess.run([*words, *step], check=True, capture_output=True, timeout=FETCH_S, cwd=fetched)
    for package in fetched.glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(cache / "root")], check=True, capture_output=True)
    shutil.rmtree(apt, ignore_errors=True)
    shutil.rmtree(fetched, ignore_errors=True)


def _mirror() -> str:
    """Raises OSError when this machine names none."""
    for text in _sources():
        if (found := _MIRROR.search(text)) is not None:
            return found[1]
    raise OSError("no source list of this machine names a mirror of Debian")


def _sources() -> Iterator[str]:
    places = Path("/etc/apt")
    for file in (
        *sorted((places / "sources.list.d").glob("*.sources")),
        *sorted((places / "sources.list.d").glob("*.list")),
    ):
        yield file.read_text(errors="replace")
    if (places / "sources.list").exists():
        yield (places / "sources.list").read_text(errors="replace")
