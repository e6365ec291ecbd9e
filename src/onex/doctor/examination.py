"""The whole examination: contracts read, then held against each other and against the code; everything in one order.

folder -> contracts -> kinds, families | what does not load
                    -> topics between them
                    -> machines
                    -> modules, handlers, models they name -> claims of purity
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..contracts.foreign.foreign_reader import read_contract
from ..contracts.foreign.read_result import ReadResult
from ..contracts.model.contract import ModelContractBase
from ..kernel.errors import ContractError
from ..kernel.finding import Finding, errors
from ..proof.classes import Classes
from ..proof.function_body import Bodies
from ..proof.library import Library
from ..proof.symptom import EnumArea, Symptom
from ..repository.reference_files import Repository, Unreadable, contract_text
from .contract_targets import Targets
from .machines import machine_symptoms
from .purity_claims import Examined, claim_of, claim_symptoms, examined
from .source_tree import Tree, python_source, tree_of
from .topics import Traffic, open_ends, topic_symptoms, traffic

Progress = Callable[[int, int], None]
"""How much is done, of how much: each contract counts twice, as text and as code."""


class NoContracts(ContractError):
    """A folder in which there is nothing to examine."""

    code = "no_contracts"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``symptoms`` by area, then the graver first. ``outside[package]`` counts references into packages that are not here."""

    root: Path
    tree: Tree
    readings: tuple[ReadResult, ...]
    symptoms: tuple[Symptom, ...]
    traffic: Traffic
    claims: tuple[Examined, ...]
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
        return Counter(one.finding.severity.value for one in self.symptoms)


def examine(root: Path, progress: Progress = lambda *_: None) -> Diagnosis:
    """Raises NoSuchPath for what is no folder, NoContracts for one in which nothing is a contract."""
    tree = tree_of(root)
    if not tree.contracts:
        raise NoContracts(
            f"{root} holds no contract: no YAML file in it has node_type at its top level "
            f"({tree.other_yaml} others, {len(tree.python)} Python files). Name the folder of a repository that has some"
        )
    symptoms = list(tree.symptoms)
    readings = _read(tree, symptoms, progress)
    library = Library(tree.python, lambda path: python_source(root, path))
    targets = Targets(library, {str(path): _folder(path, root) for path in tree.contracts}, root)
    bodies = Bodies(Classes(library))
    claims: list[Examined] = []
    outside: Counter[str] = Counter()
    references = 0
    for done, reading in enumerate(readings):
        progress(len(readings) + done, 2 * len(readings))
        if reading.contract is None:
            continue
        symptoms += machine_symptoms(reading)
        found = targets.resolve(reading, reading.contract)
        symptoms += found.symptoms
        outside += found.outside
        references += found.found
        claim = claim_of(reading, reading.contract)
        if claim is not None:
            claims.append(examined(bodies, reading, reading.contract, claim, found.handlers))
    said = traffic(readings)
    symptoms += claim_symptoms(claims, targets)
    symptoms += targets.unread()
    symptoms += topic_symptoms(open_ends(said), lambda topic: _mention(library, targets, topic))
    return Diagnosis(
        root, tree, tuple(readings), _ordered(symptoms), said, tuple(claims), outside, references, library.parsed
    )


def _read(tree: Tree, symptoms: list[Symptom], progress: Progress) -> list[ReadResult]:
    fetch = Repository.holding(tree.root, tree.root)
    readings = []
    for done, path in enumerate(tree.contracts):
        progress(done, 2 * len(tree.contracts))
        try:
            reading = read_contract(contract_text(path), str(path), fetch)
        except Unreadable as error:
            symptoms.append(Symptom(EnumArea.CONTRACTS, error.finding, (str(path),)))
            continue
        readings.append(reading)
        if not reading.ok:
            symptoms.append(_not_loaded(reading))
    return readings


def _not_loaded(reading: ReadResult) -> Symptom:
    wrong = errors(reading.findings)
    first = wrong[0]
    more = f" (and {len(wrong) - 1} more: onex check {reading.path})" if len(wrong) > 1 else ""
    told = Finding(
        first.code, first.severity, first.path, first.line, first.column, f"{first.message}{more}", first.fix
    )
    return Symptom(EnumArea.CONTRACTS, told, (reading.path,))


def _mention(library: Library, targets: Targets, topic: str) -> str:
    found = library.mention(topic)
    return "" if found is None else f"{targets.shown(found[0])}:{found[1]}"


def _folder(path: Path, root: Path) -> str:
    inside = path.parent.relative_to(root).as_posix()
    return "" if inside == "." else inside


_AREAS = list(EnumArea)
_GRAVE = {"error": 0, "warning": 1, "info": 2}


def _ordered(symptoms: list[Symptom]) -> tuple[Symptom, ...]:
    return tuple(sorted(symptoms, key=lambda one: (_AREAS.index(one.area), _GRAVE[one.finding.severity.value])))
