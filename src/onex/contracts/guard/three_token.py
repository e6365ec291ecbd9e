"""The three-token form: ``path operator value``, compared by type. No text equals a number, no number a boolean.

The value is read as YAML. A comparison that can never be true, or would always raise, is refused when the app loads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Literal, NamedTuple, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from ...kernel.machine import Guard
from ..text.yaml_scalar import Scalar
from ..text.yaml_tree import YamlList, YamlScalar, read_yaml
from .cel_expression import matching
from .problem import GuardProblem, known_field, suggest, value_in_words

PATTERN_CHARS = 256

Values = Scalar | tuple[Scalar, ...]


class Comparison(NamedTuple):
    """``amount > 5``: ``path`` as written, ``operator`` in its short spelling, ``at`` the tokens' offsets.

    ``old`` is the operator as written when it is an old spelling, else ''.
    """

    text: str
    path: tuple[str, ...]
    operator: str
    value: Values
    at: tuple[int, int, int]
    old: str = ""


def compared(text: str) -> Comparison | None:
    """None when ``text`` is not of this form. Raises GuardProblem when it is and is wrong."""
    found = _THREE.fullmatch(text)
    if found is None:
        return _two(text)
    operator = _SPELLINGS.get(found["op"], found["op"])
    if operator != "matches" and "(" in found["value"] and found["value"][0] not in "\"'":
        return None  # a call is no value
    if operator in _OPERATORS:
        at = (found.start("path"), found.start("op"), found.start("value"))
        return Comparison(text, tuple(found["path"].split(".")), operator, _value(operator, found["value"], at[2]), at)
    if found["op"][0].isalpha():
        near = get_close_matches(found["op"], [*_OPERATORS, *_SPELLINGS], 1, 0.5)
        raise GuardProblem(
            found.start("op"),
            "guard_operator",
            f"{found['op']!r} is no operator",
            f"did you mean {near[0]!r}?" if near else f"use one of {' '.join([*_OPERATORS, *_SPELLINGS])}",
        )
    return None


def bind(parsed: Comparison, state: type[BaseModel], payload: type[BaseModel]) -> Guard:
    """The guard over these classes. Raises GuardProblem for a field that is not there, or a type that never fits."""
    root, names, prefix = _root(parsed, state, payload)
    types = known_field(payload if root == "payload" else state, root, names, parsed.at[0] + prefix)
    _fits(parsed, types, ".".join((root, *names)))
    holds, value = _OPERATORS[parsed.operator], parsed.value
    if parsed.operator == "matches":
        holds = matching(str(value), parsed.at[2])

    def guard(state: BaseModel, payload: BaseModel) -> bool:
        return holds(_get(payload if root == "payload" else state, names), value)

    return Guard(parsed.text, guard)


def _two(text: str) -> Comparison | None:
    """``node_id is_present`` is the three-token form without its value (promise 42). Raises GuardProblem for any other word."""
    two = _TWO.fullmatch(text)
    if two is None:
        return None
    word, written = two["op"], PRESENCE.get(two["op"])
    if word in OLD and written is not None:
        operator, _, value = written.partition(" ")
        at = (two.start("path"), two.start("op"), two.start("op"))
        return Comparison(text, tuple(two["path"].split(".")), operator, value == "true", at, word)
    fix = f"write {two['path']} {written}" if written else "write `field operator value`"
    raise GuardProblem(two.start("op"), "guard_operator", f"{word!r} has no value to compare the field with", fix)


_TWO = re.compile(r"\s*(?P<path>[A-Za-z]\w*(?:\.[A-Za-z]\w*)*)\s+(?P<op>[A-Za-z]\w*)\s*", re.ASCII)
PRESENCE = {
    "exists": "exists true",
    "not_exists": "exists false",
    "is_present": "exists true",
    "is_not_present": "exists false",
    "is_set": "exists true",
    "is_not_null": "exists true",
    "is_absent": "exists false",
    "is_null": "exists false",
    "is_true": "== true",
    "is_false": "== false",
    "is_empty": "max_length 0",
    "is_not_empty": "min_length 1",
    "not_empty": "min_length 1",
}
"""What a two-token guard means, as operator and value."""
OLD = ("is_present", "is_not_present")
"""Those that are accepted, with a warning."""
_THREE = re.compile(
    r"""\s*(?P<path>[A-Za-z]\w*(?:\.[A-Za-z]\w*)*)\s+(?P<op>\S+)\s+"""
    r"""(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|\[[^\[\]]*\]|[^\s"'(]\S*)\s*""",
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
            raise TypeError(f"{value_in_words(left)} and {value_in_words(right)} have no order")
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
    raise TypeError(f"{value_in_words(left)} contains nothing")


def _length(compare: Callable[[int, int], bool]) -> Callable[[object, Values], bool]:
    def holds(left: object, right: Values) -> bool:
        if not isinstance(left, str | tuple | list | dict) or not isinstance(right, int):
            raise TypeError(f"{value_in_words(left)} has no length")
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
    if operator == "matches" and text[0] not in "\"'":
        return _pattern(text, offset)  # as written: brackets and backslashes mean what they mean in a pattern
    listed = operator in ("in", "not_in")
    source = read_yaml(f"[{text}]" if listed and not text.startswith("[") else text, "")
    if source.findings:
        problem = source.findings[0]
        raise GuardProblem(offset, "guard_value", f"the value {text} cannot be read: {problem.message}", problem.fix)
    value: Values
    if listed and isinstance(source.tree, YamlList):
        items = source.tree.items
        value = tuple([item.value for item in items if isinstance(item, YamlScalar)])
        if len(value) != len(items) or not value:
            raise GuardProblem(offset, "guard_value", f"{text} is not a list of plain values", "write [a, b, c]")
    elif isinstance(source.tree, YamlScalar):
        value = source.tree.value
    else:
        raise GuardProblem(offset, "guard_value", f"{text} is not a plain value", "write one word, number or text")
    if text.startswith(("payload.", "state.")):
        fix = "put the whole condition in round brackets: then it is CEL and compares two fields"
        raise GuardProblem(
            offset, "guard_value", f"after {operator} stands the text {text!r}, not the field of that name", fix
        )
    wanted = _WANTED.get(operator)
    if wanted is not None and (not isinstance(value, wanted[0]) or isinstance(value, bool) != (wanted[0] is bool)):
        raise GuardProblem(
            offset, "guard_value", f"{operator} needs {wanted[1]}, not {value_in_words(value)}", wanted[2]
        )
    return _pattern(str(value), offset) if operator == "matches" else value


def _pattern(text: str, offset: int) -> str:
    if len(text) > PATTERN_CHARS:
        message = f"the pattern has {len(text)} characters"
        raise GuardProblem(offset, "guard_pattern", message, f"use at most {PATTERN_CHARS}")
    matching(text, offset)
    return text


_Wanted = tuple[type | tuple[type, ...], str, str]
_WANTED: Mapping[str, _Wanted] = {
    **dict.fromkeys((">", "<", ">=", "<="), ((int, float), "a number", "write a number")),
    **dict.fromkeys(("exists", "not_exists"), (bool, "true or false", "write true")),
    **dict.fromkeys(("min_length", "max_length"), (int, "a whole number", "write a whole number, for example 1")),
    "matches": (str, "a pattern", "write it in quotes"),
}


def _root(parsed: Comparison, state: type[BaseModel], payload: type[BaseModel]) -> tuple[str, tuple[str, ...], int]:
    """``(payload or state, the names behind it, how many characters the prefix takes)``."""
    first = parsed.path[0]
    if first in ("payload", "state"):
        if len(parsed.path) == 1:
            raise GuardProblem(parsed.at[0], "guard_field", f"{first} alone is no field", f"write {first}.NAME")
        return first, parsed.path[1:], len(first) + 1
    in_payload, in_state = first in payload.model_fields, first in state.model_fields
    if in_payload and in_state:
        message = f"{first!r} is a field of {payload.__name__} and of {state.__name__}"
        raise GuardProblem(parsed.at[0], "guard_ambiguous", message, f"write payload.{first} or state.{first}")
    if in_payload or in_state:
        return ("payload" if in_payload else "state"), parsed.path, 0
    known = [*payload.model_fields, *state.model_fields]
    message = f"{first!r} is a field of neither {payload.__name__} nor {state.__name__}"
    raise GuardProblem(parsed.at[0], "guard_field", message, suggest(first, known) or f"they have {', '.join(known)}")


def _fits(parsed: Comparison, types: tuple[object, ...], path: str) -> None:
    """Raises GuardProblem when no value of these types can make the comparison true, or each makes it raise."""
    kinds = {_kind(member) for member in types}
    if "json" in kinds:
        return
    operator, value = parsed.operator, parsed.value
    if "moment" in kinds and operator not in ("exists", "not_exists"):
        fix = f'use CEL, for example: ({path} < timestamp("2030-01-01T00:00:00Z"))'
        raise GuardProblem(parsed.at[0], "guard_type", f"{path} is a time, which has no three-token form", fix)
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
            f"but {operator} {value_in_words(value)} needs {' or '.join(sorted(fitting))}",
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
            message = f"{path} is never {item!r}"
            raise GuardProblem(
                parsed.at[2], "guard_type", message, suggest(str(item), known) or f"it is one of {', '.join(known)}"
            )


def _kind(member: object) -> str:
    origin = get_origin(member)
    if member is AwareDatetime:
        return "moment"
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
    ("text", (str, UUID)),
    ("null", type(None)),
    ("list", (tuple, list)),
    ("dict", dict),
    ("moment", (datetime, date)),
    ("fields", BaseModel),
)


def _get(value: object, names: tuple[str, ...]) -> object:
    """None where the path ends early: at a null, or at a key that a dict does not have. A UUID becomes its text."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
        if value is None:
            return None
    return str(value) if isinstance(value, UUID) else value
