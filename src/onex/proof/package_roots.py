"""Finds the folders in which the packages of a repository begin, so that ``import shop.pay`` finds its file in any layout.

Theory of operation. A folder's ``__init__.py`` says little: one in ``src``, or beside the README, does not mean that anybody writes
``import src.shop``. So two sources are used, the tree first:

1. The tree. A package begins in the folder above its topmost ``__init__.py``. A module outside of packages begins in its own
   folder. A folder without ``__init__.py`` is a package if it stands at the top, or in ``src``, ``lib`` or ``python``.
2. The imports. ``import shop.pay`` is also found in each folder that holds ``shop/pay.py`` or ``shop/pay/``. For a single word,
   some import must name something of the package that really is there. All files are searched once, by regular expression, and
   only when a single word asks for it.

Several folders may hold a package of one name. They are ordered for the file that imports: a copy within the package itself last,
then folders of tests after others (unless a test asks), then what the tree says before what imports say, then the folder
that shares most of its path with the importing file, then by name. The order is total, so two machines find the same file.

A wrong guess costs a finding that is not true or one that is missing. It never stops the examination. Names of the standard library
are never searched by imports: a folder ``logging`` deep in a repository is not what ``import logging`` means.
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
    """``files`` are paths from the repository's root, with slashes. ``read`` gives their bytes, or the reason why there are
    none.
    """

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
        """Folders in which the module of that dotted name begins, the most likely one for the file ``near`` first."""
        found = self._begun.get(parts)
        if found is None:
            known = self._known.get(parts[0], [])
            found = self._begun[parts] = [*known, *(one for one in self._by_imports(parts) if one not in known)]
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

    def _by_imports(self, parts: tuple[str, ...]) -> Iterator[str]:
        """Folders that hold the whole dotted name; for a single word, folders that imports show to be meant."""
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
        """Whether code imports something of the package ``top`` that is there in the folder ``above``."""
        if self._imported is None:
            self._imported = self._all_imported()
        return any(self._is_there(posixpath.join(above, top, below)) for below in self._imported.get(top, ()))

    def _all_imported(self) -> dict[str, set[str]]:
        """``[package]`` -> names behind its dot, or imported from it, in any file. Found by regular expression, nothing is
        parsed.
        """
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
