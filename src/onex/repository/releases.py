"""Releases: copies of apps in one folder, each under the digest of its code, so that older and newer versions are at hand.

    FOLDER/<digest>/release.json       what it is: name, codes, when it was kept
    FOLDER/<digest>/app/<name>/...     its files

A release is written beside its place and renamed there, so one that can be seen is whole. Who loads it compares the digest of the
files with the name, so a file that was changed later is refused. Nothing here comes from a store: whoever may write this folder may
run code, as with the app itself.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, NamedTuple

from ..kernel.errors import ContractError

FILES_MOST: Final = 5_000
BYTES_MOST: Final = 64 << 20
_MANIFEST: Final = "release.json"
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules", "venv", "env", "build", "dist"})


class ReleaseUnusable(ContractError):
    """A release cannot be kept or read: the folder cannot be written, or the app is too large to be copied."""

    code = "release"


class Release(NamedTuple):
    """``codes[workflow type]`` is the digest of that workflow's code, ``app`` the path to load."""

    digest: str
    name: str
    codes: Mapping[str, bytes]
    app: Path


class Releases:
    """``folder`` is made when something is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, app: Path, digest: str, codes: Mapping[str, bytes]) -> Release:
        """A copy of the app at ``app``, a folder or a Python file. The same code is kept once. Raises ReleaseUnusable."""
        if (found := self.find(digest)) is not None:
            return found
        root = app.resolve()
        home = root.parent if root.is_file() else root
        files = list(_files(home, only_python=root.is_file()))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            place = Path(mkdtemp(prefix=".keeping-", dir=self.folder))
            try:
                copy = place / "app" / home.name
                for file in files:
                    to = copy / file.relative_to(home)
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, to)
                manifest = {
                    "name": root.stem,
                    "app": str((copy / root.name if root.is_file() else copy).relative_to(place)),
                    "codes": {name: code.hex() for name, code in codes.items()},
                }
                (place / _MANIFEST).write_text(json.dumps(manifest, indent=1))
                os.rename(place, self.folder / digest)
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise
        except OSError as error:
            if (found := self.find(digest)) is not None:  # another process was first
                return found
            raise ReleaseUnusable(f"the release cannot be kept in {self.folder}: {error.strerror}") from error
        kept = self.find(digest)
        assert kept is not None, "it was just written"
        return kept

    def find(self, digest: str) -> Release | None:
        """None for one that is not here, or whose description cannot be read."""
        place = self.folder / digest
        try:
            said = json.loads((place / _MANIFEST).read_text())
            codes = {str(name): bytes.fromhex(code) for name, code in said["codes"].items()}
            return Release(digest, str(said["name"]), codes, place / str(said["app"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def all(self) -> Iterator[Release]:
        """Every release here, the newest first."""
        try:
            places = [place for place in self.folder.iterdir() if not place.name.startswith(".")]
            places.sort(key=lambda place: place.stat().st_mtime, reverse=True)
        except OSError:
            return
        for place in places:
            if (found := self.find(place.name)) is not None:
                yield found


def _files(home: Path, *, only_python: bool) -> Iterator[Path]:
    """The files of an app, without hidden ones and what is built. Raises ReleaseUnusable."""
    count = size = 0
    for folder, below, names in os.walk(home):
        below[:] = sorted(name for name in below if name not in _LEFT_OUT and not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if name.startswith(".") or (only_python and file.suffix != ".py") or not file.is_file():
                continue
            count, size = count + 1, size + file.stat().st_size
            if count > FILES_MOST or size > BYTES_MOST:
                raise ReleaseUnusable(
                    f"{home} holds more than {FILES_MOST:,} files or {BYTES_MOST >> 20} MiB, too much for a release; "
                    "put the app into a folder of its own"
                )
            yield file
