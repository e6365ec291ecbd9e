"""The walk over a user's tree, and which of its files are contracts. Files are found by name and text; nothing is parsed.

``onex check``, ``onex diff``, ``onex diagram`` and ``onex doctor`` all find their files here, so one rule says what is left out:
hidden folders, environments, caches and links. What a link leads to is found where it stands, or is not in this tree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..contracts.text.yaml_tree import BYTES_MAX
from ..kernel.errors import ValidationError
from ..kernel.finding import EnumSeverity, Finding

SUFFIXES = (".yaml", ".yml")
CONTRACT = "contract.yaml"
PAYLOADS = "payloads.py"
NO_PACKAGE = "its name is no name of a Python package"
ONE_FILE = "app.py"
"""The file of a folder without contracts that declares its workflows."""
BUILT_IN = "onex:"
"""Begins the name of a workflow that ONEX brings along: ``onex:registration``."""
WORKFLOWS = Path(__file__).parent.parent / "workflows"
IGNORED_FOLDERS = frozenset(("__pycache__", "node_modules", "venv", "site-packages"))
# in block style a key stands at the left end of its line; in a flow mapping it may stand anywhere
_MARK = re.compile(rb"""^(?:\xef\xbb\xbf)?["']?node_type["']?[ \t]*:""", re.MULTILINE)
_IMPORTS_ONEX = re.compile(rb"^(?:from onex\b|import onex\b)", re.MULTILINE)
_ALERTS = re.compile(r"(?:^|\.)alerts\.ya?ml\Z")
_ALERT_KEYS = re.compile(rb"^(?:rules|objectives|receivers|routes|defaults):", re.MULTILINE)
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
    the folders below that could not be listed. ``one_files`` are Python files that declare workflows, or that were named.
    ``alerts`` are files of alerts.
    """

    candidates: tuple[ContractFile, ...]
    folders: tuple[Path, ...]
    skipped: tuple[Path, ...]
    unlisted: tuple[OSError, ...] = ()
    one_files: tuple[ContractFile, ...] = ()
    alerts: tuple[ContractFile, ...] = ()


def find_contracts(paths: Sequence[Path]) -> ContractSearch:
    """Every contract at or below ``paths``, each once. A file that the user names is one, whatever it holds.

    Raises NoSuchPath.
    """
    found: dict[str, ContractFile] = {}
    folders: list[Path] = []
    skipped: dict[str, Path] = {}
    one_files: dict[str, ContractFile] = {}
    unlisted: list[OSError] = []
    alerts: dict[str, ContractFile] = {}
    for path in map(built_in, paths):
        if _is_folder(path):
            folders.append(path)
            for file in files_below(path, (*SUFFIXES, ONE_FILE), unlisted):
                if file.suffix == ".py":
                    if declares_workflows(file):
                        one_files.setdefault(os.path.realpath(file), ContractFile(file, path, named=False))
                elif _ALERTS.search(file.name) and _ALERT_KEYS.search(_head(file) or b""):
                    alerts.setdefault(os.path.realpath(file), ContractFile(file, path, named=False))
                elif looks_like_contract(file):
                    found.setdefault(os.path.realpath(file), ContractFile(file, path, named=False))
                else:
                    skipped.setdefault(os.path.realpath(file), file)
            continue
        if path.suffix == ".py":
            one_files[os.path.realpath(path)] = ContractFile(path, path.parent, named=True)
            continue
        if path.suffix.lower() not in SUFFIXES:
            raise NoSuchPath(f"{path} is no YAML file; name a contract, or name the folder that holds it")
        kind = alerts if _ALERTS.search(path.name) and not _MARK.search(_head(path) or b"") else found
        kind[os.path.realpath(path)] = ContractFile(path, path.parent, named=True)
    others = tuple(file for real, file in skipped.items() if real not in found)
    return ContractSearch(
        tuple(found.values()),
        tuple(folders),
        others,
        tuple(unlisted),
        tuple(one_files.values()),
        tuple(alerts.values()),
    )


def files_below(folder: Path, suffixes: tuple[str, ...], unlisted: list[OSError]) -> Iterator[Path]:
    """Files with one of these suffixes, in one order on every machine: by name, a folder's own files before its folders.

    ``unlisted`` gets the folders that cannot be listed. Raises NoSuchPath when ``folder`` itself is one of them.
    """

    def failed(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise NoSuchPath(f"{folder} cannot be listed: {error.strerror}; let it be read, or leave it out")
        unlisted.append(error)

    for here, below, files in os.walk(folder, onerror=failed):
        below[:] = sorted(name for name in below if not name.startswith(".") and name not in IGNORED_FOLDERS)
        for name in sorted(files):
            if name.lower().endswith(suffixes) and not name.startswith("."):
                file = Path(here, name)
                if file.is_file() and not file.is_symlink():
                    yield file


def unlisted_folder(error: OSError) -> Finding:
    """The finding for a folder that the walk could not list."""
    message = f"cannot be listed: {error.strerror}; what is in it was not looked at"
    fix = "let it be read, or leave it out"
    return Finding("unlisted", EnumSeverity.WARNING, str(error.filename), 0, 0, message, fix)


def looks_like_contract(file: Path) -> bool:
    """Whether its text has ``node_type`` at the top level, as far as a regular expression can tell.

    True for a file that cannot be opened: whoever reads it then reports why.
    """
    head = _head(file)
    if head is None:
        return True
    return _MARK.search(head) is not None or (b"node_type" in head and _FLOW.match(head) is not None)


def _head(file: Path) -> bytes | None:
    try:
        with file.open("rb") as opened:
            return opened.read(BYTES_MAX + 1)
    except OSError:
        return None


def declares_workflows(file: Path) -> bool:
    """Whether an ``app.py`` seems to declare workflows in Python; one beside a contract.yaml is a program of the user's."""
    if file.name != ONE_FILE or (file.parent / CONTRACT).exists():
        return False
    try:
        with file.open("rb") as opened:
            text = opened.read(BYTES_MAX)
    except OSError:
        return False
    return _IMPORTS_ONEX.search(text) is not None and b"workflow(" in text


class PassedOver(NamedTuple):
    """A folder that is no workflow of the app above it, though a contract.yaml is in it, or though it was named."""

    path: Path
    why: str
    fix: str


class FoldersBelow(NamedTuple):
    """The folders directly below another that hold a contract.yaml: workflows, and what is none."""

    workflows: tuple[Path, ...]
    passed_over: tuple[PassedOver, ...]


def workflow_folders(folder: Path) -> Sequence[Path]:
    """``folder`` itself if it holds a contract.yaml, else the workflows directly below it: what may be one app."""
    return (folder,) if (folder / CONTRACT).is_file() else folders_below(folder).workflows


def folders_below(folder: Path) -> FoldersBelow:
    """A folder below is a workflow if Python can import it by its name, and its contract.yaml claims to be a contract.

    Hidden folders and those named with a leading ``_`` are not looked at. Raises OSError.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name[0] not in "._")
    workflows: list[Path] = []
    passed: list[PassedOver] = []
    for home in (folder / name for name in names):
        if not (home / CONTRACT).is_file() or home.name in IGNORED_FOLDERS:
            continue
        if not claims_contract(home):
            passed.append(
                PassedOver(home, f"its {CONTRACT} has no node_type at its top", "write node_type, if it is one")
            )
        elif not home.name.isidentifier():
            passed.append(
                PassedOver(home, NO_PACKAGE, f"rename it, for example {identifier_of(home.name)}, if it is one")
            )
        else:
            workflows.append(home)
    return FoldersBelow(tuple(workflows), tuple(passed))


def claims_contract(home: Path) -> bool:
    """Whether a folder with a contract.yaml means to be a workflow: by ``node_type``, or by the classes that stand beside it."""
    return looks_like_contract(home / CONTRACT) or (home / PAYLOADS).is_file()


def identifier_of(name: str) -> str:
    """``name`` as Python could import it: ``leave-1.0`` is ``leave_1_0``."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return plain if plain.isidentifier() else f"app_{plain}"


def built_in(path: Path) -> Path:
    """The folder of a workflow that ONEX brings along, ``onex:NAME``; any other path as it is. Raises NoSuchPath."""
    name = str(path).removeprefix(BUILT_IN)
    if name == str(path):
        return path
    homes = {home.name: home for home in WORKFLOWS.iterdir() if home.is_dir() and not home.name.startswith("_")}
    if name not in homes:
        raise NoSuchPath(f"ONEX brings no workflow {name!r} along; it has {', '.join(sorted(homes))}")
    return homes[name]


def _is_folder(path: Path) -> bool:
    """Raises NoSuchPath for what is not there at all."""
    try:
        if path.is_dir():
            return True
        if not path.exists():
            raise NoSuchPath(f"{path} does not exist; name a contract, an app, or a folder with any")
    except (OSError, ValueError) as error:  # a NUL, a name too long, a folder that may not be entered
        raise NoSuchPath(f"{str(path)!r} cannot be looked at: {error}") from error
    return False
