"""Conditions in CEL over ``payload`` and ``state``: no other name, no function that is not listed, loops bounded."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from pydantic import BaseModel

from ..kernel.machine import Guard
from .problem import GuardProblem, known_field, suggest, told
from .program import compiled

SUBJECT_CHARS = 64 * 1024
NESTED_ITEMS = 1000
MACROS_MAX = 3


class Expression(NamedTuple):
    """CEL. ``paths`` are the dotted paths in it that begin with payload or state, each with its offset."""

    text: str
    paths: tuple[tuple[tuple[str, ...], int], ...]
    nested: bool


_CLOCK = ("FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "Hours", "Minutes", "Seconds")
# fmt: off
_FUNCTIONS = frozenset((
    "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "type", "dyn",
    "timestamp", "duration", *(f"get{part}" for part in _CLOCK), "getMilliseconds",
))
# fmt: on
_QUOTED = re.compile(r"""[rbRB]{0,2}("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|//[^\n]*""")
_CHAIN = re.compile(r"(?<![\w.])(payload|state)((?:\s*\.\s*[A-Za-z_]\w*)*)(\s*\()?")
_PRIVATE = re.compile(r"(^|\W)(_\w*)\b(?!\s*\()")
_MACRO = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_CEL_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")


def expressed(text: str) -> Expression:
    """Raises GuardProblem for what CEL does not parse, and for names and functions it would not find."""
    if text.count("(") + text.count("[") + text.count("{") > 60:
        raise GuardProblem(0, "guard_syntax", "the condition has too many brackets", "move the decision into a field")
    try:
        program = compiled(text)
    except Exception as error:  # one class for all that the parser has to say
        found = _CEL_PLACE.search(str(error))
        lines = text.splitlines() or [""]
        line, column = (int(found[1]), int(found[2])) if found else (1, 1)
        offset = sum(len(before) + 1 for before in lines[: line - 1]) + column - 1
        said = (
            (found[3] if found else str(error).splitlines()[0]).split(" expecting {")[0].replace("'<EOF>'", "the end")
        )
        raise GuardProblem(
            offset, "guard_syntax", f"{said}", "write `field operator value`, or CEL over payload and state"
        ) from error
    # strings are blanked, so that offsets stay and no name is found inside them
    code = _QUOTED.sub(lambda quoted: " " * len(quoted.group()), text)
    if private := _PRIVATE.search(code):
        raise GuardProblem(
            private.start(2),
            "guard_field",
            f"{private[2]!r} begins with _: it is private",
            "name a field that does not begin with _",
        )
    bound = {found[2] for found in _MACRO.finditer(code)}
    for name in program.variables():
        if name not in bound and name not in ("payload", "state"):
            found = re.search(rf"(?<![\w.]){re.escape(name)}\b", code)
            offset = found.start() if found else 0
            raise GuardProblem(
                offset, "guard_field", f"CEL does not know {name!r}", f"write payload.{name} or state.{name}"
            )
    for name in program.functions():
        if name.isidentifier() and name not in _FUNCTIONS:
            found = re.search(rf"\b{re.escape(name)}\s*\(", code)
            known = sorted(_FUNCTIONS)
            raise GuardProblem(
                found.start() if found else 0,
                "guard_function",
                f"there is no function {name!r}",
                suggest(name, known) or f"there are {' '.join(known)}",
            )
    macros = len(_MACRO.findall(code))
    if macros > MACROS_MAX:
        raise GuardProblem(0, "guard_too_heavy", f"{macros} loops in one condition", f"use at most {MACROS_MAX}")
    paths = []
    for found in _CHAIN.finditer(code):
        names = tuple(re.findall(r"\w+", found[2]))
        # the last name before a bracket is a function, not a field
        paths.append(((found[1], *(names[:-1] if found[3] else names)), found.start()))
    return Expression(text, tuple(paths), macros > 1)


def bind(parsed: Expression, state: type[BaseModel], payload: type[BaseModel]) -> Guard:
    """The guard over these classes, compiled once. Raises GuardProblem for a field that is not there."""
    for path, offset in parsed.paths:
        known_field(payload if path[0] == "payload" else state, path[0], path[1:], offset + len(path[0]) + 1)
    return Guard(parsed.text, _run(parsed))


def _run(parsed: Expression) -> Callable[[BaseModel, BaseModel], bool]:
    program = compiled(parsed.text)
    # only the fields named are handed over: a state of 60 KB is not turned into dicts to look at one number
    used: dict[str, set[str] | None] = {}
    for path, _ in parsed.paths:
        names = used.setdefault(path[0], set())
        if len(path) == 1:
            used[path[0]] = None
        elif names is not None:
            names.add(path[1])
    limit = NESTED_ITEMS if parsed.nested else None

    def holds(state: BaseModel, payload: BaseModel) -> bool:
        context: dict[str, object] = {}
        for root, names in used.items():
            value = payload if root == "payload" else state
            fields = value.__dict__
            shown = fields if names is None else {name: fields[name] for name in names}
            context[root] = {name: _simple(field, limit) for name, field in shown.items()}
        answer = program.execute(context)
        if not isinstance(answer, bool):
            raise TypeError(f"it gives {told(answer)}, neither true nor false")
        return answer

    return holds


def matching(pattern: str, offset: int) -> Callable[[object, object], bool]:
    """``left matches pattern`` anywhere in the text, in linear time. Raises GuardProblem for what is no pattern."""
    program = compiled("subject.matches(pattern)")
    try:
        program.execute({"subject": "", "pattern": pattern})
    except Exception as error:
        lines = str(error).splitlines()
        why = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
        raise GuardProblem(
            offset, "guard_pattern", f"{pattern!r} is not a pattern: {why.split('. Check')[0]}", "mend the pattern"
        ) from error

    def holds(left: object, right: object) -> bool:
        if not isinstance(left, str):
            raise TypeError(f"{told(left)} is not text")
        if len(left) > SUBJECT_CHARS:
            raise ValueError(f"the text has {len(left)} characters; patterns look at most at {SUBJECT_CHARS}")
        return program.execute({"subject": left, "pattern": pattern}) is True

    return holds


def _simple(value: object, limit: int | None) -> object:
    """What CEL knows: models become maps, ids and dates their text."""
    if isinstance(value, StrEnum | UUID):
        return str(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, BaseModel):
        return {name: _simple(part, limit) for name, part in value.__dict__.items()}
    if isinstance(value, dict | tuple | list):
        if limit is not None and len(value) > limit:
            raise ValueError(f"loops in loops look at most at {limit} items; there are {len(value)}")
        if isinstance(value, dict):
            return {name: _simple(part, limit) for name, part in value.items()}
        return [_simple(part, limit) for part in value]
    return value
