"""What a doctor writes down: one thing that is not as it was said, with its place, the way there, and the mend."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from ...contracts.reading import Reading
from ...contracts.source import place_of
from ...kernel.finding import EnumSeverity, Finding


class EnumArea(StrEnum):
    """In the order of a report. What does not load comes first, since nothing else is known of it."""

    CONTRACTS = "contracts"
    CLAIMS = "claims of purity"
    TOPICS = "topics"
    MACHINES = "machines"
    CODE = "code that is named"


class Place(NamedTuple):
    """A place in a file, as findings write it."""

    path: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


class Link(NamedTuple):
    """A step on the way to a symptom: what is called, and where that is written."""

    name: str
    path: str
    line: int


class Symptom(NamedTuple):
    """``contracts`` are the files it concerns; ``chain`` leads from a contract's handler to the place."""

    area: EnumArea
    finding: Finding
    contracts: tuple[str, ...]
    chain: tuple[Link, ...] = ()


def located(reading: Reading, *loc: str | int) -> Place:
    """Where a typed field stands: in the contract, or in a file that it includes."""
    if reading.shape is None:
        return Place(reading.path, 0, 0)
    at = place_of(reading.shape, loc)
    return Place(at.path or reading.path, at.line, at.column)


def symptom(
    area: EnumArea,
    code: str,
    place: Place,
    message: str,
    fix: str,
    contracts: tuple[str, ...],
    severity: EnumSeverity = EnumSeverity.WARNING,
    chain: tuple[Link, ...] = (),
) -> Symptom:
    return Symptom(area, Finding(code, severity, place.path, place.line, place.column, message, fix), contracts, chain)
