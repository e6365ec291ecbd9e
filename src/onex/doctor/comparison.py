"""Compares two states of the same contracts, in files, folders or git: which contract is which, and what changed in each.

A contract is the same one if it has the same name and kind, wherever its file went; else if it stands in the same file;
else if most of its keys and values are the same under another name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pydantic import JsonValue

from ..app import load_app
from ..app.folder import AppFolder
from ..app.lock import lock_name
from ..contracts.diff.contract_diff import ContractDifference, file_difference
from ..contracts.foreign.foreign_reader import read_contract, read_own_tree
from ..contracts.foreign.read_result import EnumFamily, ReadResult
from ..contracts.model.contract import ModelContractWorkflow
from ..contracts.text.yaml_tree import YamlList, YamlNode, YamlScalar
from ..kernel.errors import ContractError
from ..kernel.finding import Finding
from ..repository.contract_files import SUFFIXES, NoSuchPath, find_contracts
from ..repository.git_revision import RevisionUnreadable, checkout, is_revision
from ..repository.reference_files import Repository, UnreadableContract, contract_text
from .payload_schemas import PAYLOADS, PayloadSchemas, payload_schemas, schemas_of

ALIKE = 0.6


class ContractSide(NamedTuple):
    """One contract on one side. ``path`` counts from the folder that was given; ``reading`` is None for a file that is no text.

    ``schemas`` are those of a one-file app, whose classes are loaded with it.
    """

    path: str
    file: Path
    reading: ReadResult | None
    problem: str
    schemas: PayloadSchemas | None = None

    @property
    def name(self) -> str:
        return self.reading.contract.name if self.reading and self.reading.contract else ""

    @property
    def kind(self) -> str:
        return str(self.reading.contract.kind) if self.reading and self.reading.contract else ""

    @property
    def number(self) -> str:
        contract = self.reading.contract if self.reading else None
        return str(contract.contract_version) if contract and contract.contract_version else ""


class ContractComparison(NamedTuple):
    """One contract. ``old`` is None for a new one, ``new`` for one that was removed. ``problem`` says why nothing is compared.

    ``hints`` say what was left out of the comparison. ``has_moved``: to another file of the folder.
    """

    old: ContractSide | None
    new: ContractSide | None
    difference: ContractDifference | None
    problem: str = ""
    hints: tuple[str, ...] = ()
    has_moved: bool = False

    @property
    def name(self) -> str:
        return next((one.name or one.path for one in (self.new, self.old) if one is not None), "")

    @property
    def is_breaking(self) -> bool:
        return self.new is None or bool(self.difference and self.difference.breaking)

    @property
    def is_short(self) -> bool:
        return self.difference is not None and self.difference.is_short


@contextmanager
def sides(old: str, new: str, here: Path) -> Iterator[tuple[Path, Path]]:
    """Both sides as paths that exist while the block runs. A revision means the other side's path at that time, or ``here``.

    Raises RevisionUnreadable, NoSuchPath.
    """
    with ExitStack() as open_until_the_end:
        made = [
            open_until_the_end.enter_context(_side(spec, here if is_revision(other) else Path(other)))
            for spec, other in ((old, new), (new, old))
        ]
        yield made[0], made[1]


@contextmanager
def _side(spec: str, path: Path) -> Iterator[Path]:
    """A file of a revision comes with its folder, because it may include what lies beside it."""
    revision, colon, inside = spec.partition(":")
    if not is_revision(spec):
        with checkout(spec, path) as found:
            yield found
    elif colon and inside.lower().endswith(SUFFIXES):
        file = PurePosixPath(inside)
        with checkout(f"{revision}:{'' if len(file.parts) == 1 else file.parent}", path) as folder:
            yield _there(folder / file.name, spec)
    elif not colon and path.suffix.lower() in SUFFIXES:
        with checkout(spec, path.parent) as folder:
            yield _there(folder / path.name, f"{revision}:{path}")
    else:
        with checkout(spec, path) as found:
            if found.is_file() and found.suffix != ".py":
                raise NoSuchPath(
                    f"{spec if colon else path} is no YAML file; name a contract, or the folder that holds it"
                )
            yield found


def _there(file: Path, spec: str) -> Path:
    """Raises RevisionUnreadable, which names the file as the user did and not by its temporary path."""
    if not file.is_file():
        raise RevisionUnreadable(
            f"{spec} does not exist; REV:PATH names where it stood then, git log --follow finds it"
        )
    return file


def compare(old: Path, new: Path) -> list[ContractComparison]:
    """Every contract of both sides, also equal ones, by name. Raises NoSuchPath."""
    before, after = _versions(old), _versions(new)
    couples = _couples(before, after)
    taken = [_home(one) for couple in couples if _may_differ(*couple) for one in couple]
    classes = payload_schemas(list(dict.fromkeys(home for home in taken if home is not None)))
    found = [_compared(left, right, classes) for left, right in couples]
    if old.is_dir() and new.is_dir():
        found = [one._replace(has_moved=bool(one.old and one.new and one.old.path != one.new.path)) for one in found]
    return found


def _versions(root: Path) -> list[ContractSide]:
    """Raises NoSuchPath for a folder that is not there."""
    found = []
    repositories: dict[Path, Repository] = {}
    base = root if root.is_dir() else root.parent
    seen = find_contracts([root])
    for one_file in seen.one_files:
        found += _declared(one_file.path, base)
    for candidate in seen.candidates:
        file = candidate.path
        if any(file.name == lock_name(one.name) and file.parent == one.file.parent for one in found):
            continue  # the lock file of a workflow that is read from its source
        path = file.relative_to(base).as_posix()
        if file.parent not in repositories:
            repositories[file.parent] = Repository.holding(file, base)
        try:
            reading = read_contract(contract_text(file), str(file), repositories[file.parent])
        except UnreadableContract as error:
            found.append(ContractSide(path, file, None, error.finding.message))
            continue
        first = next((one for one in reading.findings if one.severity == "error"), None)
        problem = "" if reading.ok else f"line {first.line}: {first.message}" if first else "it does not load"
        found.append(ContractSide(path, file, reading, problem))
    return found


def _declared(file: Path, base: Path) -> list[ContractSide]:
    """The workflows of a one-file app, as derived from its code."""
    path = file.relative_to(base).as_posix()
    try:
        workflows = load_app(file).written.values()
    except ContractError as error:
        first = next((one for one in error.findings if isinstance(one, Finding)), None)
        return [ContractSide(path, file, None, f"line {first.line}: {first.message}" if first else error.message)]
    return [
        ContractSide(path, file, read_own_tree(one.located.tree, str(file)), "", schemas_of(one)) for one in workflows
    ]


def _couples(
    old: Sequence[ContractSide], new: Sequence[ContractSide]
) -> list[tuple[ContractSide | None, ContractSide | None]]:
    if len(old) == len(new) == 1:
        return [(old[0], new[0])]
    left, right = dict(enumerate(old)), dict(enumerate(new))
    couples: list[tuple[ContractSide | None, ContractSide | None]] = []
    # the same file and the same contract; a contract that moved; a file whose contract is called otherwise
    for same in (
        lambda one: (one.path, one.name, one.kind),
        lambda one: (one.name, one.kind) if one.name else one.path,
        lambda one: one.path,
    ):
        waiting: dict[object, list[int]] = {}
        for m, other in right.items():
            waiting.setdefault(same(other), []).append(m)
        for n, one in list(left.items()):
            if others := waiting.get(same(one)):
                couples.append((left.pop(n), right.pop(others.pop(0))))
    for n, m in _alike(left, right):
        couples.append((left.pop(n), right.pop(m)))
    couples += [(one, None) for one in left.values()] + [(None, one) for one in right.values()]
    return sorted(couples, key=_rank)


def _alike(old: Mapping[int, ContractSide], new: Mapping[int, ContractSide]) -> list[tuple[int, int]]:
    """Pairs of the same kind that have at least 60 % of all keys and values in common, the most alike first."""
    before = {n: frozenset(_facts(one)) for n, one in old.items() if one.name}
    after = {m: frozenset(_facts(one)) for m, one in new.items() if one.name}
    shares = [
        (len(before[n] & after[m]) / len(before[n] | after[m]), -n, -m)
        for n in before
        for m in after
        if old[n].kind == new[m].kind
    ]
    found: dict[int, int] = {}
    for share, n, m in sorted(shares, reverse=True):
        if share >= ALIKE and -n not in found and -m not in found.values():
            found[-n] = -m
    return list(found.items())


def _facts(version: ContractSide) -> Iterator[tuple[str, JsonValue]]:
    """Every key with its plain value."""
    tree = version.reading.tree if version.reading else None
    waiting: list[tuple[str, YamlNode]] = [("", tree)] if tree is not None else []
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, YamlScalar):
            yield path, node.value
        elif isinstance(node, YamlList):
            waiting += [(f"{path}[]", item) for item in node.items]
        else:
            waiting += [(f"{path}.{name}", entry.node) for name, entry in node.entries.items()]


def _rank(couple: tuple[ContractSide | None, ContractSide | None]) -> tuple[str, str]:
    one = couple[1] or couple[0] or _NONE
    return one.name, one.path


def _home(version: ContractSide | None) -> Path | None:
    """The folder of a workflow of ours with classes to compare."""
    if version is None or version.reading is None or version.reading.family is not EnumFamily.ONEX:
        return None
    home = version.file.parent
    return home if version.reading.ok and (home / f"{PAYLOADS}.py").is_file() else None


def _may_differ(old: ContractSide | None, new: ContractSide | None) -> bool:
    """Whether their classes may differ. The same names in the same text are the same classes, and nothing need be run."""
    return old is not None and new is not None and _classes(old) != _classes(new)


def _classes(version: ContractSide) -> tuple[object, ...]:
    home, contract = _home(version), version.reading.contract if version.reading else None
    if home is None or not isinstance(contract, ModelContractWorkflow):
        return ()
    try:
        modules = AppFolder(home).closure([PAYLOADS])[0]
    except ContractError:
        return (home,)
    named = (contract.payloads, contract.state_model, [(one.name, one.payload) for one in contract.intents])
    imports_above = any(b"from .." in module.text for module in modules.values())
    return (home if imports_above else None, named, {name: module.text for name, module in modules.items()})


def _compared(
    old: ContractSide | None, new: ContractSide | None, classes: Mapping[Path, PayloadSchemas]
) -> ContractComparison:
    if old is None or new is None:
        return ContractComparison(old, new, None, (new or old or _NONE).problem)
    if old.reading is None or new.reading is None or old.problem or new.problem:
        problem = (
            f"the new one does not load: {new.problem}" if new.problem else f"the old one did not load: {old.problem}"
        )
        return ContractComparison(old, new, None, problem)
    left, right = (one.schemas or classes.get(_home(one) or Path(), _NO_SHAPES) for one in (old, new))
    hints = tuple(f"{name}: {one.problem}" for name, one in (("old", left), ("new", right)) if one.problem)
    made = file_difference(old.reading, new.reading, (left.classes, right.classes))
    return ContractComparison(old, new, made, "", hints)


_NO_SHAPES = PayloadSchemas({})
_NONE = ContractSide("", Path(), None, "")
