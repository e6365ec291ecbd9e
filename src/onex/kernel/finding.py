"""A finding is one thing wrong at one place, with the mend; a report is all of them at once."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class EnumSeverity(StrEnum):
    """``error`` stops loading; ``warning`` and ``info`` are told and do not."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(NamedTuple):
    """``line`` and ``column`` count from 1; 0 says the whole file. ``fix`` is what to write instead, as a sentence."""

    code: str
    severity: EnumSeverity
    path: str
    line: int
    column: int
    message: str
    fix: str = ""

    def __str__(self) -> str:
        fix = f"\n    fix: {self.fix}" if self.fix else ""
        return f"{self.path}:{self.line}:{self.column}: {self.severity} [{self.code}] {self.message}{fix}"


def errors(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those that stop loading, in the order found."""
    return tuple(found for found in findings if found.severity is EnumSeverity.ERROR)
