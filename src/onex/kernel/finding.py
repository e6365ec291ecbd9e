"""A finding: one problem at one place of a file, with a fix."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class EnumSeverity(StrEnum):
    """``error`` stops loading; ``warning`` and ``info`` are reported and do not."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(NamedTuple):
    """``line`` and ``column`` count from 1; 0 means the whole file. ``fix`` says what to write instead, or is empty."""

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
