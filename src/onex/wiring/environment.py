"""Versions that this process runs with. The log names them beside each row; replay shows them for a mismatch."""

from __future__ import annotations

import platform
import zoneinfo
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..ports import Env


def environment(app_root: Path) -> Env:
    """Versions of ONEX, pydantic, Python and time zones, and the git revision of the app's folder; '' where unknown."""
    return Env(
        onex=_version("onex"),
        pydantic=_version("pydantic"),
        python=platform.python_version(),
        tzdata=_tzdata(),
        git_revision=git_revision(app_root),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _tzdata() -> str:
    """Of the data ``zoneinfo`` reads: the system's first, then the package's."""
    for folder in map(Path, zoneinfo.TZPATH):
        for name in ("+VERSION", "tzdata.zi"):
            line = _first_line(folder / name)
            if line:
                return line.removeprefix("# version ")
    return _version("tzdata")


def git_revision(folder: Path) -> str:
    """The commit that is checked out in the repository of ``folder``; '' when there is none. Reads files; runs no git."""
    for place in (folder, *folder.parents):
        found = place / ".git"
        if found.is_dir():
            return _head(found, found)
        if found.is_file():  # a work tree or a submodule: the file says where its repository is
            repository = place / _first_line(found).removeprefix("gitdir: ")
            shared = _first_line(repository / "commondir")
            return _head(repository, repository / shared if shared else repository)
    return ""


def _head(repository: Path, shared: Path) -> str:
    head = _first_line(repository / "HEAD")
    if not head.startswith("ref: "):
        return head
    ref = head.removeprefix("ref: ")
    loose = _first_line(shared / ref)
    if loose:
        return loose
    try:
        packed = (shared / "packed-refs").read_text(errors="replace")
    except OSError:
        return ""
    return next((line.split(" ")[0] for line in packed.splitlines() if line.endswith(f" {ref}")), "")


def _first_line(path: Path) -> str:
    try:
        with path.open(errors="replace") as file:
            return file.readline(1000).strip()
    except OSError:
        return ""
