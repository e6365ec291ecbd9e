"""Which files of a tree are contracts: found by their text alone, in one order, each once; nothing is parsed or imported.

Hidden folders, environments and caches are passed by, and so are links: what they lead to is met where it stands, or it is
not of this tree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..contracts.text.yaml_tree import BYTES_MAX
from ..kernel.errors import ValidationError

SUFFIXES = (".yaml", ".yml")
IGNORED = frozenset(("__pycache__", "node_modules", "venv", "site-packages"))
# written in block style a key stands at the left end of its line; a flow mapping is looked for anywhere
_MARK = re.compile(rb"""^(?:\xef\xbb\xbf)?["']?node_type["']?[ \t]*:""", re.MULTILINE)
_FLOW = re.compile(rb"""\A(?:\xef\xbb\xbf)?(?:[ \t]*(?:#.*|---)?\r?\n)*[ \t]*\{(?s:.*)["']?node_type["']?[ \t]*:""")


class NoSuchPath(ValidationError):
    """A path that does not exist, cannot be listed, or holds no contract."""

    code = "no_such_path"


class ContractFile(NamedTuple):
    """A file that is to be read as a contract. ``path`` is as the user would write it. ``within`` is the path given."""

    path: Path
    within: Path
    named: bool


class ContractSearch(NamedTuple):
    """``folders`` are those the user named, in order. ``skipped`` are YAML files that are no contracts, ``unlisted``
    the folders below that could not be looked into.
    """

    candidates: tuple[ContractFile, ...]
    folders: tuple[Path, ...]
    skipped: tuple[Path, ...]
    unlisted: tuple[OSError, ...] = ()


def find_contracts(paths: Sequence[Path]) -> ContractSearch:
    """Every contract at or below ``paths``. A file that is named is one, whatever it holds. Raises NoSuchPath."""
    found: dict[str, ContractFile] = {}
    folders: list[Path] = []
    skipped: dict[str, Path] = {}
    unlisted: list[OSError] = []
    for path in paths:
        if _is_folder(path):
            folders.append(path)
            for file in yaml_files(path, unlisted):
                if looks_like_contract(file):
                    found.setdefault(os.path.realpath(file), ContractFile(file, path, named=False))
                else:
                    skipped.setdefault(os.path.realpath(file), file)
            continue
        if path.suffix.lower() not in SUFFIXES:
            raise NoSuchPath(f"{path} is no YAML file; name a contract, or name the folder that holds it")
        found[os.path.realpath(path)] = ContractFile(path, path.parent, named=True)
    others = tuple(file for real, file in skipped.items() if real not in found)
    return ContractSearch(tuple(found.values()), tuple(folders), others, tuple(unlisted))


def yaml_files(folder: Path, unlisted: list[OSError]) -> Iterator[Path]:
    """Below ``folder``, by name, a folder's own files before those of its folders; ``unlisted`` gets those it may not enter.

    Raises NoSuchPath when it is ``folder`` itself.
    """

    def told(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise NoSuchPath(f"{folder} cannot be listed: {error.strerror}; let it be read, or leave it out")
        unlisted.append(error)

    for here, below, files in os.walk(folder, onerror=told):
        below[:] = sorted(name for name in below if not is_ignored(name))
        for name in sorted(files):
            file = Path(here, name)
            if name.lower().endswith(SUFFIXES) and not name.startswith(".") and is_plain_file(file):
                yield file


def looks_like_contract(file: Path) -> bool:
    """Whether its text has ``node_type`` at the top level, as far as letters tell. Unreadable is not: a look costs nothing."""
    try:
        with file.open("rb") as opened:
            head = opened.read(BYTES_MAX + 1)
    except OSError:
        return True  # reading it will say why it cannot be read
    return _MARK.search(head) is not None or (b"node_type" in head and _FLOW.match(head) is not None)


def workflow_folders(folder: Path) -> Iterable[Path]:
    """``folder`` itself if it holds a contract.yaml, else those below it that do: what may be one app."""
    if (folder / "contract.yaml").is_file():
        return [folder]
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name[0] not in "._")
    return [folder / name for name in names if (folder / name / "contract.yaml").is_file()]


def is_ignored(name: str) -> bool:
    """Whether a folder of that name is hidden, an environment or a cache."""
    return name.startswith(".") or name in IGNORED


def is_plain_file(file: Path) -> bool:
    """A file, and no link to one."""
    return file.is_file() and not file.is_symlink()


def _is_folder(path: Path) -> bool:
    """Raises NoSuchPath for what is not there at all."""
    try:
        if path.is_dir():
            return True
        if not path.exists():
            raise NoSuchPath(f"{path} does not exist; name a contract, or a folder with contracts")
    except (OSError, ValueError) as error:  # a NUL, a name too long, a folder that may not be entered
        raise NoSuchPath(f"{str(path)!r} cannot be looked at: {error}") from error
    return False
