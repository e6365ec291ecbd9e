"""What lies below a folder: the contracts and the Python, by name; links are not followed, and what cannot be listed is told.

The rules of what is passed by, and of what looks like a contract, are those of ``onex check``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ..app.folder import MODULE_BYTES_MAX
from ..kernel.finding import EnumSeverity
from ..repository.contract_files import SUFFIXES, NoSuchPath, is_ignored, is_plain_file, looks_like_contract
from .doctor_finding import DoctorFinding, EnumArea, FilePosition, doctor_finding


class SourceTree(NamedTuple):
    """``contracts`` are paths as the user would write them, ``python`` paths from the folder, with slashes."""

    root: Path
    contracts: tuple[Path, ...]
    python: tuple[str, ...]
    other_yaml: int
    findings: tuple[DoctorFinding, ...]


def read_tree(root: Path) -> SourceTree:
    """Everything below ``root``, in one order on every machine. Raises NoSuchPath when it is no folder, or cannot be listed."""
    if not root.is_dir():
        what = "is no folder" if root.exists() else "does not exist"
        raise NoSuchPath(f"{root} {what}; name the folder of a repository, for example: onex doctor .")
    unlisted: list[OSError] = []
    contracts: list[Path] = []
    python: list[str] = []
    other = 0
    for here, below, files in os.walk(root, onerror=unlisted.append):
        below[:] = sorted(name for name in below if not is_ignored(name))
        inside = os.path.relpath(here, root).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        for name in sorted(files):
            place = Path(here, name)
            wanted = name.endswith(".py") or name.lower().endswith(SUFFIXES)
            if name.startswith(".") or not wanted or not is_plain_file(place):
                continue
            if name.endswith(".py"):
                python.append(prefix + name)
            elif looks_like_contract(place):
                contracts.append(place)
            else:
                other += 1
    if unlisted and Path(unlisted[0].filename) == root:
        raise NoSuchPath(f"{root} cannot be listed: {unlisted[0].strerror}; let it be read")
    return SourceTree(root, tuple(contracts), tuple(python), other, tuple(map(_unlisted, unlisted)))


def _unlisted(error: OSError) -> DoctorFinding:
    message = f"cannot be listed: {error.strerror}; what is in it was not looked at"
    place = FilePosition(str(error.filename), 0, 0)
    return doctor_finding(EnumArea.CONTRACTS, "unlisted", place, message, "let it be read", (), EnumSeverity.WARNING)


def python_source(root: Path, path: str) -> bytes | str:
    """A Python file's bytes, or why there are none."""
    try:
        with (root / path).open("rb") as file:
            source = file.read(MODULE_BYTES_MAX + 1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if len(source) > MODULE_BYTES_MAX:
        return f"larger than {MODULE_BYTES_MAX:,} bytes"
    return source
