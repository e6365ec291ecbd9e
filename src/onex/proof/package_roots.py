"""Where the packages of a repository begin: read off its folders, and off the names by which its code imports itself.

A folder's own ``__init__.py`` says little: one in ``src``, or beside the README, makes nobody write ``import src.shop``. So what is
imported decides: ``import shop.pay`` is found in every folder that holds ``shop/pay.py``.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

_SOURCES: Final = ("src", "lib", "python")
_TESTS: Final = frozenset(("test", "tests"))
_FROM: Final = re.compile(rb"^[ \t]*from[ \t]+([A-Za-z_][\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#;]+)", re.MULTILINE)
_IMPORT: Final = re.compile(rb"^[ \t]*import[ \t]+([^\n#;]+)", re.MULTILINE)
_WORD: Final = re.compile(rb"[A-Za-z_]\w*")
_DOTTED: Final = re.compile(rb"([A-Za-z_]\w*)\.([A-Za-z_]\w*)")


class PackageRoots:
    """``files`` are paths from the repository's root, with slashes; ``read`` gives their bytes, or why they cannot be had."""

    def __init__(self, files: frozenset[str], read: Callable[[str], bytes | str]) -> None:
        self.files = files
        self.folders = frozenset(_folders(files))
        self._read = read
        self._known = _known(files, self.folders)
        self._holding: dict[str, list[str]] = {}
        for place in sorted(self.folders | {path.removesuffix(".py") for path in files}):
            above, name = posixpath.split(place)
            self._holding.setdefault(name, []).append(above)
        self._imported: dict[str, set[str]] | None = None
        self._begun: dict[tuple[str, ...], list[str]] = {}

    def of(self, parts: tuple[str, ...], near: str = "") -> Sequence[str]:
        """Folders in which the module of that dotted name begins, the likeliest for a file ``near`` first.

        Those that the tree tells come before those that imports tell, what shares folders with ``near`` before what does
        not. A namesake in a folder of tests comes last for who is no test, and one within the package itself for everybody.
        """
        found = self._begun.get(parts)
        if found is None:
            known = self._known.get(parts[0], [])
            found = self._begun[parts] = [*known, *(one for one in self._told(parts) if one not in known)]
        if len(found) < 2:
            return found
        known = self._known.get(parts[0], [])
        from_test = _is_of_tests(near)
        packages = [posixpath.join(one, parts[0]) for one in found]

        def order(one: str) -> tuple[bool, bool, bool, int, str]:
            copied = any(f"{one}/".startswith(f"{package}/") for package in packages)
            return copied, not from_test and _is_of_tests(one), one not in known, -_shared(one, near), one

        return sorted(found, key=order)

    def name(self, path: str) -> str:
        """The dotted name that the module in that file has by the packages around it."""
        parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
        first = len(parts) - 1
        while first > 0 and "/".join((*parts[:first], "__init__.py")) in self.files:
            first -= 1
        if first == len(parts) - 1:  # in no package that says so: in one by its folders, perhaps
            for n, part in enumerate(parts):
                if part not in _SOURCES and "/".join(parts[:n]) in self._known.get(part, ()):
                    first = n
                    break
        return ".".join(parts[first:])

    def _told(self, parts: tuple[str, ...]) -> Iterator[str]:
        """The folders that hold the whole of a dotted name, or, of a single word, that imports show to be meant."""
        top = parts[0]
        if top in sys.stdlib_module_names or not top:
            return
        for above in self._holding.get(top, ()):
            if len(parts) > 1:
                is_begun = self._is_there(posixpath.join(above, *parts))
            else:
                is_begun = above == "" or posixpath.basename(above) in _SOURCES or self._is_imported(above, top)
            if is_begun:
                yield above

    def _is_there(self, place: str) -> bool:
        return place in self.folders or f"{place}.py" in self.files

    def _is_imported(self, above: str, top: str) -> bool:
        """Whether code imports something of the package, that stands in the one which begins here."""
        if self._imported is None:
            self._imported = self._all_imported()
        return any(self._is_there(posixpath.join(above, top, below)) for below in self._imported.get(top, ()))

    def _all_imported(self) -> dict[str, set[str]]:
        """``[package]`` -> what is named behind its dot, or taken from it, anywhere. It looks at letters only."""
        found: dict[str, set[str]] = {}
        for path in sorted(self.files):
            source = self._read(path)
            if isinstance(source, str):
                continue
            for dotted, names in _FROM.findall(source):
                top, _, below = dotted.decode(errors="replace").partition(".")
                behind = [below.partition(".")[0]] if below else [one.decode() for one in _WORD.findall(names)]
                found.setdefault(top, set()).update(behind)
            for names in _IMPORT.findall(source):
                for top, below in _DOTTED.findall(names):
                    found.setdefault(top.decode(), set()).add(below.decode())
        return found


def _folders(files: frozenset[str]) -> Iterator[str]:
    seen: set[str] = set()
    for path in files:
        folder = posixpath.dirname(path)
        while folder and folder not in seen:
            seen.add(folder)
            yield folder
            folder = posixpath.dirname(folder)


def _known(files: frozenset[str], folders: frozenset[str]) -> dict[str, list[str]]:
    """``[top-level name]`` -> folders in which it begins by the tree: above the topmost ``__init__.py``, and below ``src``."""
    packages = {posixpath.dirname(path) for path in files if posixpath.basename(path) == "__init__.py"}
    found: dict[str, set[str]] = {}
    for folder in packages:
        above, name = posixpath.split(folder)
        if name and above not in packages:
            found.setdefault(name, set()).add(above)
    for path in files:
        above, name = posixpath.split(path)
        if above not in packages and name != "__init__.py":
            found.setdefault(name.removesuffix(".py"), set()).add(above)
    for folder in folders - packages:
        above, name = posixpath.split(folder)
        if above == "" or posixpath.basename(above) in _SOURCES:
            found.setdefault(name, set()).add(above)
    return {name: sorted(places) for name, places in found.items()}


def _is_of_tests(path: str) -> bool:
    return not _TESTS.isdisjoint(path.split("/"))


def _shared(root: str, near: str) -> int:
    """How many leading folders two paths share."""
    count = 0
    for one, other in zip(root.split("/"), near.split("/"), strict=False):
        if one != other:
            break
        count += 1
    return count
