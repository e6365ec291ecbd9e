"""Every check has one row in a table here: its code, what it means to a reader, and how other tools call it."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

MESSAGE_CHARACTERS: Final = 300

# C0 and C1 controls, bidirectional overrides and line separators move a reader's eye away from what the text says;
# lone surrogates and NUL have no canonical bytes (promise 33).
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
    """``bug``: does something else than it says. ``risk``: hides trouble. ``upkeep``: costs the next reader."""

    BUG = "bug"
    RISK = "risk"
    UPKEEP = "upkeep"


class SourceFinding(BaseModel):
    """One thing wrong at one place of a source file. ``line`` and ``column`` count characters from 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    line: int
    column: int
    message: str


class Check(NamedTuple):
    """``why`` tells a reader what goes wrong; ``known_as`` are codes that a ``# noqa:`` in the wild would name."""

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
        "discarded-comparison", _BUG, "Comparison thrown away",
        "The result of the comparison is used by nobody; an assert or an assignment was probably meant.",
        ("B015", "PLR0124", "PLW0104"),
    ),
    Check(
        "duplicate-key", _BUG, "Key twice in one dict",
        "The later value replaces the earlier one without a word.", ("F601", "F602", "PIE794"),
    ),
    Check(
        "finally-escape", _BUG, "Leaving from finally",
        "return, break or continue in a finally block throws away the exception on its way out (PEP 765).",
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
        "The second definition replaces the first before anybody used it: of two tests with one name only one runs.",
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
        "Every error ends here without a trace, the ones nobody thought of included.",
        ("S110", "S112", "BLE001", "SIM105"),
    ),
    Check(
        "invalid-escape", _RISK, "Escape that is none",
        "An unknown escape in a string is kept for now; Python will refuse it one day. A raw string was meant.",
        ("W605",),
    ),
    Check(
        "unclosed-file", _RISK, "File left open",
        "Nobody holds the file object, so it is closed whenever the collector comes by.", ("SIM115", "R1732"),
    ),
    Check(
        "star-import", _RISK, "Star import",
        "A reader cannot tell where a name comes from, and a new name over there replaces one here.", ("F403", "F405"),
    ),
    Check(
        "too-complex", _UPKEEP, "Function too complex",
        "More independent paths than tests or heads usually cover.", ("C901",),
    ),
    Check(
        "too-many-arguments", _UPKEEP, "Too many arguments",
        "Calls become lists of positions nobody can check by eye.", ("PLR0913", "R0913"),
    ),
    Check(
        "singleton-comparison", _UPKEEP, "== with None, True or False",
        "Equality can be overridden, identity cannot; `is` says what is meant.", ("E711", "E712"),
    ),
    Check(
        "unused-import", _UPKEEP, "Import nobody uses",
        "It costs start-up time and tells a reader of a dependency that is not there.", ("F401", "W0611"),
    ),
    Check(
        "empty-fstring", _UPKEEP, "f-string without a placeholder",
        "Either the f is too much or a value was forgotten.", ("F541",),
    ),
)  # fmt: skip

CHECKS: Final = {check.code: check for check in _TABLE}
"""code -> check, in the order a report tells them: bugs, then risks, then upkeep."""
