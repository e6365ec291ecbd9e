"""What JSON Schema (draft 7) says of a value, as far as our schemas go: an unknown keyword is refused, not passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import JsonValue

Schema = dict[str, JsonValue]
TYPES = {"string": str, "boolean": bool, "array": list, "object": dict, "null": type(None)}
WORDS = {"$schema", "title", "description", "default", "examples", "definitions", "$defs"}


def complaints(value: JsonValue, schema: JsonValue, root: Schema, at: str = "") -> Iterator[str]:
    """Every keyword that does not hold, with the path of the value. None: the value is valid."""
    if schema is True or schema is False:
        if schema is False:
            yield f"{at}: nothing is allowed"
        return
    assert isinstance(schema, dict)
    for keyword, wanted in schema.items():
        if keyword not in WORDS:
            yield from _keyword(value, keyword, wanted, schema, root, at)


def valid(value: JsonValue, schema: JsonValue, root: Schema | None = None) -> bool:
    whole = schema if root is None and isinstance(schema, dict) else root or {}
    return not any(True for _ in complaints(value, schema, whole))


_COUNTED: dict[str, type] = {"Length": str, "Items": list, "Properties": dict}


def _keyword(value: JsonValue, keyword: str, wanted: JsonValue, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    number = None if isinstance(value, bool) or not isinstance(value, int | float) else value
    holds = True
    match keyword:
        case "$ref":
            assert isinstance(wanted, str)
            target: JsonValue = root
            for step in wanted.removeprefix("#/").split("/"):
                assert isinstance(target, dict), wanted
                target = target[step]
            yield from complaints(value, target, root, at)
        case "type":
            kinds = wanted if isinstance(wanted, list) else [wanted]
            holds = any(_is(value, str(kind)) for kind in kinds)
        case "enum":
            assert isinstance(wanted, list)
            holds = any(value == one and type(value) is type(one) for one in wanted)
        case "const":
            holds = value == wanted and type(value) is type(wanted)
        case "pattern":
            holds = not isinstance(value, str) or re.search(str(wanted), value) is not None
        case "minLength" | "maxLength" | "minItems" | "maxItems" | "maxProperties":
            bounded = value if isinstance(value, _COUNTED[keyword[3:]]) else None
            holds = not isinstance(bounded, str | list | dict) or _bounded(len(bounded), keyword, wanted)
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            holds = number is None or _bounded(number, keyword, wanted)
        case "required":
            assert isinstance(wanted, list)
            holds = not isinstance(value, dict) or all(name in value for name in wanted)
        case "properties":
            assert isinstance(wanted, dict)
            for name, inner in wanted.items():
                if isinstance(value, dict) and name in value:
                    yield from complaints(value[name], inner, root, f"{at}.{name}")
        case "patternProperties":  # where it stands, additionalProperties does not
            assert isinstance(wanted, dict)
            for pattern, inner in wanted.items():
                for name, part in value.items() if isinstance(value, dict) else ():
                    if re.search(pattern, name):
                        yield from complaints(part, inner, root, f"{at}.{name}")
        case "additionalProperties":
            named = schema.get("properties", {})
            for name, inner in value.items() if isinstance(value, dict) else ():
                if isinstance(named, dict) and name not in named:
                    yield from complaints(inner, wanted, root, f"{at}.{name}")
        case "items":
            for n, item in enumerate(value if isinstance(value, list) else ()):
                yield from complaints(item, wanted, root, f"{at}[{n}]")
        case "allOf":
            assert isinstance(wanted, list)
            for inner in wanted:
                yield from complaints(value, inner, root, at)
        case "anyOf":
            assert isinstance(wanted, list)
            holds = any(valid(value, inner, root) for inner in wanted)
        case "if":
            way = "then" if valid(value, wanted, root) else "else"
            yield from complaints(value, schema.get(way, True), root, at)
        case "then" | "else":
            pass
        case _:
            raise AssertionError(f"the keyword {keyword} is not known to this check")
    if not holds:
        yield f"{at}: {keyword} {wanted!r} does not hold"


def _is(value: JsonValue, kind: str) -> bool:
    if kind in ("integer", "number"):
        whole = kind == "integer"
        return isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    return isinstance(value, TYPES[kind])


def _bounded(size: float, keyword: str, wanted: JsonValue) -> bool:
    assert isinstance(wanted, int | float)
    if keyword.startswith("exclusive"):
        return size > wanted if keyword == "exclusiveMinimum" else size < wanted
    return size >= wanted if keyword.startswith("min") else size <= wanted
