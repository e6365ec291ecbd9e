"""A finding of the doctor: a ``Finding`` with its area, its contracts, and the chain of calls that leads to the place."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from ..contracts.foreign.read_result import ReadResult
from ..contracts.text.yaml_tree import place_of
from ..kernel.finding import EnumSeverity, Finding
from ..proof.reachability import CallSite


class EnumArea(StrEnum):
    """In the order of a report. Contracts that do not load come first, because nothing else is known of them."""

    CONTRACTS = "contracts"
    CLAIMS = "claims of purity"
    TOPICS = "topics"
    MACHINES = "machines"
    CODE = "code that is named"


class FilePosition(NamedTuple):
    """A place in a file, as findings write it."""

    path: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


class DoctorFinding(NamedTuple):
    """``contracts`` are the files it concerns; ``chain`` leads from a contract's handler to the place."""

    area: EnumArea
    finding: Finding
    contracts: tuple[str, ...]
    chain: tuple[CallSite, ...] = ()


FINDING_TITLES: Mapping[str, str] = {
    "unlisted": "folders that cannot be listed",
    "impure_clock": "clocks in code that claims purity",
    "impure_chance": "chance in code that claims purity",
    "impure_environment": "the machine's environment in code that claims purity",
    "impure_file": "files in code that claims purity",
    "impure_network": "the network in code that claims purity",
    "impure_database": "databases and brokers in code that claims purity",
    "impure_process": "processes, threads and tasks in code that claims purity",
    "impure_shared_state": "shared state in code that claims purity",
    "impure_order": "the order of sets in code that claims purity",
    "impure_note": "logs and prints in code that claims purity",
    "purity_unproven": "calls that reading cannot follow, in code that claims purity",
    "topic_mismatch": "topics whose two ends differ",
    "topic_unsaid": "topics that no contract here publishes",
    "topic_unheard": "topics that no contract here consumes",
    "event_unsaid": "events without a topic that no contract here publishes",
    "event_unheard": "events without a topic that no contract here consumes",
    "state_unreachable": "states that cannot be reached",
    "dead_end": "states with no way out",
    "no_terminal_state": "machines without an end",
    "no_way_to_an_end": "machines that can get stuck in a cycle",
    "trigger_never_enabled": "triggers that can never fire",
    "nondeterministic": "choices that only their order decides",
    "transition_twice": "transitions written twice",
    "module_missing": "modules that do not exist",
    "handler_missing": "handlers that do not exist",
    "model_missing": "models that do not exist",
    "code_unreadable": "files of Python that cannot be read",
}
"""Code -> title of a group of findings. A contract that does not load brings a code of ``onex check``, which is not listed here."""


def located(reading: ReadResult, *loc: str | int) -> FilePosition:
    """Where the field at ``loc`` stands: in the contract, or in a file that it includes."""
    if reading.shape is None:
        return FilePosition(reading.path, 0, 0)
    at = place_of(reading.shape, loc)
    return FilePosition(at.path or reading.path, at.line, at.column)


def doctor_finding(
    area: EnumArea,
    code: str,
    place: FilePosition,
    message: str,
    fix: str,
    contracts: tuple[str, ...],
    severity: EnumSeverity = EnumSeverity.WARNING,
    chain: tuple[CallSite, ...] = (),
) -> DoctorFinding:
    assert code in FINDING_TITLES, "every finding has a name"
    return DoctorFinding(
        area, Finding(code, severity, place.path, place.line, place.column, message, fix), contracts, chain
    )
