"""``onex doctor``: read the contracts of a repository, compare them with each other and with the code, and report.

Theory of operation. ``examine`` goes through these steps, in this order:

1. ``read_tree`` walks the folder once and lists contracts and Python files. A folder that cannot be listed is a finding.
2. Each contract is read on its own. A file that is no text, or that does not load, is a finding of the area ``contracts``. No
   later step looks at it, because nothing else is known of it.
3. For each contract that loaded: its machine is checked, the modules, handlers and models that it names are looked up in the
   Python files, and if it claims purity, its handlers are followed through the code (`proof/`).
4. What several contracts share comes last: places in the code that break a claim, one finding for each place; Python files that
   the code asked for and that cannot be parsed; topics, whose two ends stand in different contracts.

Nothing of the repository is imported or run, and nothing is written. So the worst that a repository can do is to be large or
deep. The limits are: a contract has at most ``BYTES_MAX`` bytes, a Python file ``MODULE_BYTES_MAX``, a search through code at most
``FUNCTIONS_MAX`` functions, and code that nests too deep for the parser becomes a finding.

The result has one order on every machine: by area, then by severity, then in the order of the files. Files are sorted by name,
and no set is iterated on the way. That a file changes while it is read is possible. Each file is read once for each purpose, so
two findings may then speak of two states of it; the next run agrees with the disk again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..app.folder import MODULE_BYTES_MAX
from ..authoring.contract_text import locked_source
from ..contracts.foreign.foreign_reader import read_contract
from ..contracts.foreign.read_result import ReadResult
from ..contracts.model.contract import ModelContractBase
from ..kernel.errors import ContractError
from ..kernel.finding import Finding, errors
from ..proof.classes import ClassTable
from ..proof.function_body import FunctionTraces
from ..proof.library import Library
from ..repository.contract_files import SUFFIXES, NoSuchPath, files_below, looks_like_contract, unlisted_folder
from ..repository.reference_files import Repository, UnreadableContract, contract_text
from .code_references import ReferenceResolver
from .doctor_finding import DoctorFinding, EnumArea
from .machines import machine_findings
from .purity_claims import ExaminedClaim, claim_findings, claim_of, examine_claim
from .topics import Traffic, open_ends, topic_findings, traffic

Progress = Callable[[int, int], None]
"""How much is done, of how much: each contract counts twice, as text and as code."""


class NoContracts(ContractError):
    """A folder in which there is nothing to examine."""

    code = "no_contracts"


class SourceTree(NamedTuple):
    """What lies below ``root``. ``contracts`` are paths as the user would write them, ``python`` count from ``root``, with
    slashes.
    """

    root: Path
    contracts: tuple[Path, ...]
    python: tuple[str, ...]
    other_yaml: int
    findings: tuple[DoctorFinding, ...]


def read_tree(root: Path) -> SourceTree:
    """The names of all files below ``root``. Raises NoSuchPath when it is no folder, or cannot be listed."""
    if not root.is_dir():
        what = "is no folder" if root.exists() else "does not exist"
        raise NoSuchPath(f"{root} {what}; name the folder of a repository, for example: onex doctor .")
    unlisted: list[OSError] = []
    contracts: list[Path] = []
    python: list[str] = []
    other = 0
    for file in files_below(root, (*SUFFIXES, ".py"), unlisted):
        if file.suffix == ".py":
            python.append(file.relative_to(root).as_posix())
        elif file.suffix.lower() in SUFFIXES:
            if looks_like_contract(file):
                contracts.append(file)
            else:
                other += 1
    findings = (DoctorFinding(EnumArea.CONTRACTS, unlisted_folder(error), ()) for error in unlisted)
    return SourceTree(root, tuple(contracts), tuple(python), other, tuple(findings))


def python_source(root: Path, path: str) -> bytes | str:
    """The bytes of a Python file, or the reason why there are none."""
    try:
        with (root / path).open("rb") as file:
            source = file.read(MODULE_BYTES_MAX + 1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if len(source) > MODULE_BYTES_MAX:
        return f"larger than {MODULE_BYTES_MAX:,} bytes"
    return source


@dataclass(frozen=True, slots=True)
class Examination:
    """``findings`` by area, then the most severe first. ``outside[package]`` counts references into packages that are not in this
    repository.
    """

    root: Path
    tree: SourceTree
    readings: tuple[ReadResult, ...]
    findings: tuple[DoctorFinding, ...]
    traffic: Traffic
    claims: tuple[ExaminedClaim, ...]
    outside: Mapping[str, int]
    references: int
    modules: int

    @property
    def loaded(self) -> list[tuple[ReadResult, ModelContractBase]]:
        return [(one, one.contract) for one in self.readings if one.contract is not None]

    @property
    def kinds(self) -> Counter[str]:
        return Counter(contract.kind.value for _, contract in self.loaded)

    @property
    def families(self) -> Counter[str]:
        return Counter(one.family.value if one.family is not None else "none" for one in self.readings)

    def counts(self) -> Counter[str]:
        """Symptoms by severity."""
        return Counter(one.finding.severity.value for one in self.findings)


def examine(root: Path, progress: Progress = lambda *_: None) -> Examination:
    """Raises NoSuchPath for what is no folder, NoContracts for one in which nothing is a contract."""
    tree = read_tree(root)
    if not tree.contracts:
        raise NoContracts(
            f"{root} holds no contract: no YAML file in it has node_type at its top level "
            f"({tree.other_yaml} others, {len(tree.python)} Python files). Name the folder of a repository that has some. "
            "The contract of a one-file app is read from its lock file: onex contract APP --lock"
        )
    findings = list(tree.findings)
    sources: dict[str, str] = {}
    readings = _read(tree, findings, sources, progress)
    library = Library(tree.python, lambda path: python_source(root, path))
    targets = ReferenceResolver(library, {str(path): _folder(path, root) for path in tree.contracts}, root, sources)
    bodies = FunctionTraces(ClassTable(library))
    claims: list[ExaminedClaim] = []
    outside: Counter[str] = Counter()
    references = 0
    for done, reading in enumerate(readings):
        progress(len(readings) + done, 2 * len(readings))
        if reading.contract is None:
            continue
        findings += machine_findings(reading)
        found = targets.resolve(reading, reading.contract)
        findings += found.findings
        outside += found.outside
        references += found.found
        claim = claim_of(reading, reading.contract)
        if claim is not None:
            claims.append(examine_claim(bodies, reading, reading.contract, claim, found.handlers))
    uses = traffic(readings)
    findings += claim_findings(claims, targets)
    findings += targets.unread()
    findings += topic_findings(open_ends(uses), lambda topic: _mention(library, targets, topic))
    return Examination(
        root, tree, tuple(readings), _ordered(findings), uses, tuple(claims), outside, references, library.parsed
    )


def _read(
    tree: SourceTree, findings: list[DoctorFinding], sources: dict[str, str], progress: Progress
) -> list[ReadResult]:
    """``sources`` gets, for each lock file, the name of the Python file that its contract is derived from."""
    fetch = Repository.holding(tree.root, tree.root)
    readings = []
    for done, path in enumerate(tree.contracts):
        progress(done, 2 * len(tree.contracts))
        try:
            text = contract_text(path)
            reading = read_contract(text, str(path), fetch)
        except UnreadableContract as error:
            findings.append(DoctorFinding(EnumArea.CONTRACTS, error.finding, (str(path),)))
            continue
        readings.append(reading)
        if source := locked_source(text):
            sources[str(path)] = source
        if not reading.ok:
            findings.append(_not_loaded(reading))
    return readings


def _not_loaded(reading: ReadResult) -> DoctorFinding:
    wrong = errors(reading.findings)
    first = wrong[0]
    more = f" (and {len(wrong) - 1} more: onex check {reading.path})" if len(wrong) > 1 else ""
    summary = Finding(
        first.code, first.severity, first.path, first.line, first.column, f"{first.message}{more}", first.fix
    )
    return DoctorFinding(EnumArea.CONTRACTS, summary, (reading.path,))


def _mention(library: Library, targets: ReferenceResolver, topic: str) -> str:
    found = library.mention(topic)
    return "" if found is None else f"{targets.shown(found[0])}:{found[1]}"


def _folder(path: Path, root: Path) -> str:
    inside = path.parent.relative_to(root).as_posix()
    return "" if inside == "." else inside


_AREAS = list(EnumArea)
_GRAVE = {"error": 0, "warning": 1, "info": 2}


def _ordered(findings: list[DoctorFinding]) -> tuple[DoctorFinding, ...]:
    return tuple(sorted(findings, key=lambda one: (_AREAS.index(one.area), _GRAVE[one.finding.severity.value])))
