"""Guards: a condition's text becomes a pure function of state and payload, or a sentence about what is wrong with it.

Exactly three tokens ``path operator value`` are compared by type; all else is CEL over ``payload`` and ``state``.
No eval, no name beside those two, every pattern in linear time (Rust's regex, through CEL).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

from ..kernel.machine import Guard
from .fields import NoSuchField, reach
from .source import Leaf, Row, Scalar, read

PATTERN_CHARS = 256
SUBJECT_CHARS = 64 * 1024
NESTED_ITEMS = 1000
MACROS_MAX = 3

Values = Scalar | tuple[Scalar, ...]


class GuardProblem(Exception):
    """Why a condition cannot be used. ``offset`` counts characters of its text from 0."""

    def __init__(self, offset: int, code: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.code = code
        self.message = message
        self.fix = fix


class Comparison(NamedTuple):
    """``amount > 5``: ``path`` as written, ``operator`` in its short spelling, ``at`` the tokens' offsets."""

    text: str
    path: tuple[str, ...]
    operator: str
    value: Values
    at: tuple[int, int, int]


class Expression(NamedTuple):
    """CEL. ``paths`` are the dotted paths in it that begin with payload or state, each with its offset."""

    text: str
    paths: tuple[tuple[tuple[str, ...], int], ...]
    nested: bool


class _Program(Protocol):
    def execute(self, context: dict[str, object]) -> object: ...


def parse(text: str) -> Comparison | Expression:
    """What can be judged without knowing the classes. Raises GuardProblem."""
    found = _THREE.fullmatch(text)
    if found is not None:
        operator = _SPELLINGS.get(found["op"], found["op"])
        if operator in _OPERATORS:
            at = (found.start("path"), found.start("op"), found.start("value"))
            value = _value(operator, found["value"], at[2])
            return Comparison(text, tuple(found["path"].split(".")), operator, value, at)
        if found["op"][0].isalpha():
            near = get_close_matches(found["op"], [*_OPERATORS, *_SPELLINGS], 1, 0.5)
            raise GuardProblem(
                found.start("op"),
                "guard_operator",
                f"{found['op']!r} is no operator",
                f"did you mean {near[0]!r}?" if near else f"use one of {' '.join([*_OPERATORS, *_SPELLINGS])}",
            )
    return _expression(text)


def bind(parsed: Comparison | Expression, state: type[BaseModel], payload: type[BaseModel]) -> Guard:
    """The guard over these classes. Raises GuardProblem for a field that is not there or can never fit."""
    if isinstance(parsed, Expression):
        for path, offset in parsed.paths:
            _reach(payload if path[0] == "payload" else state, path[0], path[1:], offset + len(path[0]) + 1)
        return Guard(parsed.text, _run(parsed))
    root, names, prefix = _root(parsed, state, payload)
    types = _reach(payload if root == "payload" else state, root, names, parsed.at[0] + prefix)
    _fits(parsed, types, ".".join((root, *names)))
    holds, value = _OPERATORS[parsed.operator], parsed.value
    if parsed.operator == "matches":
        holds = _matching(str(value), parsed.at[2])

    def guard(state: BaseModel, payload: BaseModel) -> bool:
        return holds(_get(payload if root == "payload" else state, names), value)

    return Guard(parsed.text, guard)


# --- the three-token form -------------------------------------------------------------------------------------------

_THREE = re.compile(
    r"""\s*(?P<path>[A-Za-z]\w*(?:\.[A-Za-z]\w*)*)\s+(?P<op>\S+)\s+"""
    r"""(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|\[[^\[\]]*\]|[^\s"'\[(]\S*)\s*""",
    re.ASCII,
)
_SPELLINGS = {
    "equals": "==",
    "not_equals": "!=",
    "greater_than": ">",
    "less_than": "<",
    "greater_than_or_equal": ">=",
    "less_than_or_equal": "<=",
}


def _same(left: object, right: object) -> bool:
    """Equal by type: no text equals a number, no number a boolean; 1 equals 1.0."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _ordered(compare: Callable[[float, float], bool]) -> Callable[[object, Values], bool]:
    def holds(left: object, right: Values) -> bool:
        if isinstance(left, bool) or not isinstance(left, int | float) or not isinstance(right, int | float):
            raise TypeError(f"{_told(left)} and {_told(right)} have no order")
        return compare(left, right)

    return holds


def _within(left: object, right: Values) -> bool:
    return isinstance(right, tuple) and any(_same(left, item) for item in right)


def _contains(left: object, right: Values) -> bool:
    if isinstance(left, str):
        return isinstance(right, str) and right in left
    if isinstance(left, dict):
        return right in left
    if isinstance(left, tuple | list):
        return any(_same(item, right) for item in left)
    raise TypeError(f"{_told(left)} contains nothing")


def _length(compare: Callable[[int, int], bool]) -> Callable[[object, Values], bool]:
    def holds(left: object, right: Values) -> bool:
        if not isinstance(left, str | tuple | list | dict) or not isinstance(right, int):
            raise TypeError(f"{_told(left)} has no length")
        return compare(len(left), right)

    return holds


def _no_pattern(left: object, right: Values) -> bool:
    raise TypeError("a pattern is compiled before it is used")


_OPERATORS: Mapping[str, Callable[[object, Values], bool]] = {
    "==": _same,
    "!=": lambda left, right: not _same(left, right),
    ">": _ordered(lambda left, right: left > right),
    "<": _ordered(lambda left, right: left < right),
    ">=": _ordered(lambda left, right: left >= right),
    "<=": _ordered(lambda left, right: left <= right),
    "in": _within,
    "not_in": lambda left, right: not _within(left, right),
    "contains": _contains,
    "matches": _no_pattern,
    "exists": lambda left, right: (left is not None) is right,
    "not_exists": lambda left, right: (left is None) is right,
    "min_length": _length(lambda left, right: left >= right),
    "max_length": _length(lambda left, right: left <= right),
}


def _value(operator: str, text: str, offset: int) -> Values:
    """The third token, read as YAML: a scalar; for ``in`` and ``not_in`` a list, with or without brackets."""
    listed = operator in ("in", "not_in")
    source = read(f"[{text}]" if listed and not text.startswith("[") else text, "")
    if source.findings:
        problem = source.findings[0]
        raise GuardProblem(offset, "guard_value", f"the value {text} cannot be read: {problem.message}", problem.fix)
    value: Values
    if listed and isinstance(source.tree, Row):
        items = source.tree.items
        value = tuple([item.value for item in items if isinstance(item, Leaf)])
        if len(value) != len(items) or not value:
            raise GuardProblem(offset, "guard_value", f"{text} is not a list of plain values", "write [a, b, c]")
    elif isinstance(source.tree, Leaf):
        value = source.tree.value
    else:
        raise GuardProblem(offset, "guard_value", f"{text} is not a plain value", "write one word, number or text")
    if text.startswith(("payload.", "state.")):
        raise GuardProblem(
            offset,
            "guard_value",
            f"after {operator} stands the text {text!r}, not the field of that name",
            "put the whole condition in round brackets: then it is CEL and compares two fields",
        )
    wanted = _WANTED.get(operator)
    if wanted is not None and (not isinstance(value, wanted[0]) or isinstance(value, bool) != (wanted[0] is bool)):
        raise GuardProblem(offset, "guard_value", f"{operator} needs {wanted[1]}, not {_told(value)}", wanted[2])
    if operator == "matches":
        if len(str(value)) > PATTERN_CHARS:
            raise GuardProblem(
                offset, "guard_pattern", f"the pattern has {len(str(value))} characters", f"use at most {PATTERN_CHARS}"
            )
        _matching(str(value), offset)
    return value


_Wanted = tuple[type | tuple[type, ...], str, str]
_WANTED: Mapping[str, _Wanted] = {
    **dict.fromkeys((">", "<", ">=", "<="), ((int, float), "a number", "write a number")),
    **dict.fromkeys(("exists", "not_exists"), (bool, "true or false", "write true")),
    **dict.fromkeys(("min_length", "max_length"), (int, "a whole number", "write a whole number, for example 1")),
    "matches": (str, "a pattern", "write it in quotes"),
}


def _root(parsed: Comparison, state: type[BaseModel], payload: type[BaseModel]) -> tuple[str, tuple[str, ...], int]:
    """Where the path begins, its names behind that, and how many characters the prefix took."""
    first = parsed.path[0]
    if first in ("payload", "state"):
        if len(parsed.path) == 1:
            raise GuardProblem(parsed.at[0], "guard_field", f"{first} alone is no field", f"write {first}.NAME")
        return first, parsed.path[1:], len(first) + 1
    in_payload, in_state = first in payload.model_fields, first in state.model_fields
    if in_payload and in_state:
        raise GuardProblem(
            parsed.at[0],
            "guard_ambiguous",
            f"{first!r} is a field of {payload.__name__} and of {state.__name__}",
            f"write payload.{first} or state.{first}",
        )
    if in_payload or in_state:
        return ("payload" if in_payload else "state"), parsed.path, 0
    known = [*payload.model_fields, *state.model_fields]
    raise GuardProblem(
        parsed.at[0],
        "guard_field",
        f"{first!r} is a field of neither {payload.__name__} nor {state.__name__}",
        suggest(first, known) or f"they have {', '.join(known)}",
    )


def _reach(model: type[BaseModel], root: str, names: tuple[str, ...], offset: int) -> tuple[object, ...]:
    try:
        return reach(model, names)
    except NoSuchField as missing:
        offset += sum(len(name) + 1 for name in names[: missing.at])
        parent = ".".join((root, *names[: missing.at]))
        raise GuardProblem(
            offset,
            "guard_field",
            f"{parent} ({model.__name__}) has no field {missing.name!r}"
            if missing.at == 0
            else f"{parent} has no field {missing.name!r}",
            suggest(missing.name, missing.known)
            or (f"it has {', '.join(missing.known)}" if missing.known else f"{parent} is a plain value"),
        ) from None


def _fits(parsed: Comparison, types: tuple[object, ...], path: str) -> None:
    """Raises GuardProblem when no value of these types can ever make the comparison true, or it must raise."""
    kinds = {_kind(member) for member in types}
    if "json" in kinds:
        return
    operator, value = parsed.operator, parsed.value
    if "moment" in kinds and operator not in ("exists", "not_exists"):
        raise GuardProblem(
            parsed.at[0],
            "guard_type",
            f"{path} is a time or id, which has no three-token form",
            f'use CEL, for example: ({path} < timestamp("2030-01-01T00:00:00Z"))',
        )
    fitting: set[str] = set()
    if operator in ("==", "!=", "in", "not_in"):
        fitting = {_kind(type(item)) for item in (value if isinstance(value, tuple) else (value,))}
    elif operator in (">", "<", ">=", "<="):
        fitting = {"number"}
    elif operator == "matches":
        fitting = {"text"}
    elif operator == "contains":
        fitting = {"list", "dict"} | ({"text"} if isinstance(value, str) else set())
    elif operator in ("min_length", "max_length"):
        fitting = {"text", "list", "dict"}
    if fitting and not fitting & kinds:
        raise GuardProblem(
            parsed.at[2],
            "guard_type",
            f"{path} is {' or '.join(sorted(kinds))}, "
            f"but {operator} {_told(value)} needs {' or '.join(sorted(fitting))}",
            "compare values of one type: text stands in quotes, true and 5 without",
        )
    if operator in ("==", "in") and kinds == {"text"}:
        _among(parsed, types, path)


def _among(parsed: Comparison, types: tuple[object, ...], path: str) -> None:
    known: list[str] = []
    for member in types:
        if get_origin(member) is Literal:
            known.extend(str(word) for word in get_args(member))
        elif isinstance(member, type) and issubclass(member, StrEnum):
            known.extend(str(word) for word in member)
        else:
            return
    for item in parsed.value if isinstance(parsed.value, tuple) else (parsed.value,):
        if item not in known:
            raise GuardProblem(
                parsed.at[2],
                "guard_type",
                f"{path} is never {item!r}",
                suggest(str(item), known) or f"it is one of {', '.join(known)}",
            )


def _kind(member: object) -> str:
    origin = get_origin(member)
    if origin is Literal:
        kinds = {_kind(type(value)) for value in get_args(member)}
        return kinds.pop() if len(kinds) == 1 else "json"
    plain = origin or member
    if not isinstance(plain, type):
        return "json"
    for kind, classes in _KINDS:
        if issubclass(plain, classes):
            return kind
    return "json"


_KINDS: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    ("true or false", bool),
    ("number", (int, float)),
    ("text", str),
    ("null", type(None)),
    ("list", (tuple, list)),
    ("dict", dict),
    ("moment", (datetime, date, UUID)),
    ("fields", BaseModel),
)


def _get(value: object, names: tuple[str, ...]) -> object:
    """None where the path ends early: on a null, or at a key that a dict does not have."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
        if value is None:
            return None
    return value


def _matching(pattern: str, offset: int) -> Callable[[object, Values], bool]:
    import cel

    program: _Program = cel.compile("subject.matches(pattern)")
    try:
        program.execute({"subject": "", "pattern": pattern})
    except Exception as error:
        told = str(error).splitlines()
        why = next((line.removeprefix("error: ") for line in told if line.startswith("error: ")), told[0])
        raise GuardProblem(
            offset, "guard_pattern", f"{pattern!r} is not a pattern: {why.split('. Check')[0]}", "mend the pattern"
        ) from error

    def holds(left: object, right: Values) -> bool:
        if not isinstance(left, str):
            raise TypeError(f"{_told(left)} is not text")
        if len(left) > SUBJECT_CHARS:
            raise ValueError(f"the text has {len(left)} characters; patterns look at most at {SUBJECT_CHARS}")
        return program.execute({"subject": left, "pattern": pattern}) is True

    return holds


# --- CEL ------------------------------------------------------------------------------------------------------------

_CLOCK = ("FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "Hours", "Minutes", "Seconds")
# fmt: off
_FUNCTIONS = frozenset((
    "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "type", "dyn",
    "timestamp", "duration", *(f"get{part}" for part in _CLOCK), "getMilliseconds",
))
# fmt: on
_QUOTED = re.compile(r"""[rbRB]{0,2}("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|//[^\n]*""")
_CHAIN = re.compile(r"(?<![\w.])(payload|state)((?:\s*\.\s*[A-Za-z_]\w*)*)(\s*\()?")
_MACRO = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_CEL_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")


def _expression(text: str) -> Expression:
    import cel

    if text.count("(") + text.count("[") + text.count("{") > 60:
        raise GuardProblem(0, "guard_syntax", "the condition has too many brackets", "move the decision into a field")
    try:
        program = cel.compile(text)
    except Exception as error:  # one class for all that the parser has to say
        found = _CEL_PLACE.search(str(error))
        lines = text.splitlines() or [""]
        line, column = (int(found[1]), int(found[2])) if found else (1, 1)
        offset = sum(len(before) + 1 for before in lines[: line - 1]) + column - 1
        said = (found[3] if found else str(error).splitlines()[0]).split(" expecting {")[0]
        raise GuardProblem(
            offset, "guard_syntax", f"{said}", "write `field operator value`, or CEL over payload and state"
        ) from error
    # strings are blanked, so that offsets stay and no name is found inside them
    code = _QUOTED.sub(lambda quoted: " " * len(quoted.group()), text)
    bound = {found[2] for found in _MACRO.finditer(code)}
    for name in program.variables():
        if name not in bound and name not in ("payload", "state"):
            found = re.search(rf"(?<![\w.]){re.escape(name)}\b", code)
            offset = found.start() if found else 0
            raise GuardProblem(
                offset, "guard_field", f"CEL does not know {name!r}", f"write payload.{name} or state.{name}"
            )
    for name in program.functions():
        if name[0].isalpha() and name not in _FUNCTIONS:
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


def _run(parsed: Expression) -> Callable[[BaseModel, BaseModel], bool]:
    import cel

    program: _Program = cel.compile(parsed.text)
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
            raise TypeError(f"it gives {_told(answer)}, neither true nor false")
        return answer

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


# --- words ----------------------------------------------------------------------------------------------------------


def suggest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """``did you mean 'x'?``, or '' when nothing known is near."""
    near = get_close_matches(word, known, 1, 0.6)
    if not near:
        folded = {name.lower().replace("-", "_"): name for name in known}
        same = folded.get(word.lower().replace("-", "_"))
        near = [same] if same else []
    return f"did you mean {near[0]!r}?" if near else ""


def _told(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_told, value))}]"
    if isinstance(value, int | float):
        return f"the number {value}"
    return f"a {type(value).__name__}"
