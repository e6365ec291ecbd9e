"""What set-up installs was chosen beforehand, byte for byte: pinned, with hashes, from no index in particular."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.laws.tree import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PEERS = sorted((ROOT / "bench" / "peers" / "requirements").glob("*.txt"))  # of `make peers`, each for itself


def locked(lock: Path) -> dict[str, tuple[str, list[str]]]:
    """`name -> (version, hashes)`. Raises ValueError for an entry that is not pinned by `==`."""
    entries = lock.read_text().replace("\\\n", " ").splitlines()
    found: dict[str, tuple[str, list[str]]] = {}
    for entry in entries:
        pin = re.match(r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)", entry)
        if pin is None:
            raise ValueError(f"{lock.name}: not pinned: {entry}")
        found[canonicalize_name(pin["name"])] = (pin["version"], re.findall(r"--hash=sha256:[0-9a-f]{64}", entry))
    return found


@pytest.mark.parametrize("lock", [*LOCKS, *PEERS], ids=lambda path: path.name)
def test_each_locked_version_carries_hashes_and_no_index_is_named(lock: Path) -> None:
    assert [name for name, (_, hashes) in locked(lock).items() if not hashes] == []
    assert re.findall(r"https?://\S+|--(?:extra-)?index-url|--find-links|file:\S+", lock.read_text()) == []


def test_the_locks_cover_the_project_and_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {
        "runtime.txt": project["project"]["dependencies"],
        "dev.txt": [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]],
        "uv.txt": ["uv"],
    }
    locks = {lock.name: locked(lock) for lock in LOCKS}
    for name, lines in wanted.items():
        for requirement in map(Requirement, lines):
            version, _ = locks[name].get(canonicalize_name(requirement.name), ("", []))
            assert version and version in requirement.specifier, f"{name}: {requirement} (make lock)"
    assert {name: pin for name, pin in locks["runtime.txt"].items() if locks["dev.txt"].get(name) != pin} == {}


def test_a_peer_has_the_versions_that_it_asks_for() -> None:
    for lock in PEERS:
        found = locked(lock)
        for requirement in map(Requirement, lock.with_suffix(".in").read_text().splitlines()):
            assert found[canonicalize_name(requirement.name)][0] in requirement.specifier, lock.name
