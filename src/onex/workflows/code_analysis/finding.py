"""The table of checks: one row each, with its code, its meaning for a reader, and its codes in other tools."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

MESSAGE_CHARACTERS: Final = 300

# Controls, bidirectional overrides and line separators can make a text look like another one. Lone surrogates and NUL have no
# canonical bytes (promise 33).
_INVISIBLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def printable(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """The text with invisible characters spelled out (``\\x00``, ``\\u202e``) and cut to ``limit`` characters.

    What comes out encodes as UTF-8, fits on one line and reads in the order it is written.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return _INVISIBLE.sub(_spelled, cut)


def _spelled(found: re.Match[str]) -> str:
    point = ord(found.group())
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}"


class EnumCheckSeverity(StrEnum):
    """``bug``: does not do what it says. ``risk``: may hide an error. ``upkeep``: costs time of the next reader."""

    BUG = "bug"
    RISK = "risk"
    UPKEEP = "upkeep"


class SourceFinding(BaseModel):
    """One problem at one place of a source file. ``line`` and ``column`` count from 1, columns in characters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    line: int
    column: int
    message: str


class Check(NamedTuple):
    """``why`` says what goes wrong. ``known_as`` are codes of other tools that a ``# noqa:`` may name."""

    code: str
    severity: EnumCheckSeverity
    title: str
    why: str
    known_as: tuple[str, ...] = ()


_BUG, _RISK, _UPKEEP = EnumCheckSeverity.BUG, EnumCheckSeverity.RISK, EnumCheckSeverity.UPKEEP

_TABLE: Final = (
    Check(
        "syntax", _BUG, "Does not parse",
        "This Python cannot read the file, so nothing in it was checked.", ("E999",)
    ),
    Check(
        "assert-tuple", _BUG, "Assertion on a tuple",
        "A tuple with members is always true: the assertion never fails.", ("F631",),
    ),
    Check(
        "discarded-comparison", _BUG, "Comparison not used",
        "The result of the comparison is not used; an assert or an assignment was probably meant.",
        ("B015", "PLR0124", "PLW0104"),
    ),
    Check(
        "duplicate-key", _BUG, "Key twice in one dict",
        "The later value silently replaces the earlier one.", ("F601", "F602", "PIE794"),
    ),
    Check(
        "finally-escape", _BUG, "Leaving from finally",
        "return, break or continue in a finally block discards the exception that is being raised (PEP 765).",
        ("B012", "W0150"),
    ),
    Check(
        "literal-identity", _BUG, "Identity of a literal",
        "`is` asks for the same object; whether two equal literals are one object is up to the interpreter.", ("F632",),
    ),
    Check(
        "raise-notimplemented", _BUG, "raise NotImplemented",
        "NotImplemented is a value for operators; raising it gives a TypeError. NotImplementedError was meant.",
        ("F901",),
    ),
    Check(
        "redefined", _BUG, "Defined twice",
        "The second definition replaces the first before it is used: of two tests with one name only one runs.",
        ("F811",),
    ),
    Check(
        "shadowed-handler", _BUG, "Handler never reached",
        "An earlier except clause already catches this exception.", ("B014", "B025", "E0701"),
    ),
    Check(
        "unreachable", _BUG, "Never executed",
        "Code after return, raise, break or continue in the same block does not run.", ("W0101",),
    ),
    Check(
        "bare-except", _RISK, "Bare except",
        "It catches KeyboardInterrupt and SystemExit too, so the program cannot be stopped there.", ("E722", "B001"),
    ),
    Check(
        "mutable-default", _RISK, "Mutable default argument",
        "The default is made once and shared by every call that does not pass the argument.", ("B006", "W0102"),
    ),
    Check(
        "swallowed-exception", _RISK, "Exception swallowed",
        "Every error is ignored here, also those that nobody expected.",
        ("S110", "S112", "BLE001", "SIM105"),
    ),
    Check(
        "invalid-escape", _RISK, "Unknown escape",
        "Python keeps an unknown escape for now and will refuse it in a later version. A raw string was meant.",
        ("W605",),
    ),
    Check(
        "unclosed-file", _RISK, "File left open",
        "No name refers to the file object, so it is closed when the garbage collector runs.", ("SIM115", "R1732"),
    ),
    Check(
        "star-import", _RISK, "Star import",
        "A reader cannot see where a name comes from, and a new name in that module may replace one here.", ("F403", "F405"),
    ),
    Check(
        "too-complex", _UPKEEP, "Function too complex",
        "It has more independent paths than tests usually cover.", ("C901",),
    ),
    Check(
        "too-many-arguments", _UPKEEP, "Too many arguments",
        "A reader cannot check such calls by eye.", ("PLR0913", "R0913"),
    ),
    Check(
        "singleton-comparison", _UPKEEP, "== with None, True or False",
        "Equality can be overridden, identity cannot; `is` says what is meant.", ("E711", "E712"),
    ),
    Check(
        "unused-import", _UPKEEP, "Unused import",
        "It costs start-up time, and shows a reader a dependency that does not exist.", ("F401", "W0611"),
    ),
    Check(
        "empty-fstring", _UPKEEP, "f-string without a placeholder",
        "Either the f is not needed or a value was forgotten.", ("F541",),
    ),
)  # fmt: skip

CHECKS: Final = {check.code: check for check in _TABLE}
"""code -> check, in the order of a report: bugs, then risks, then upkeep."""
