"""Text with fields of a payload in it: ``/charges/{order}`` or ``Order {order} is paid: {price.cents} cents``.

``{name}`` stands for a field, ``{name.inner}`` for a field of a model inside it. ``{{`` and ``}}`` are braces. Nothing else can be
written between braces: no format, no index, no call. So a text can only show values, and all its fields are known when it loads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from pydantic import JsonValue

_PIECE = re.compile(r"\{\{|\}\}|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)\}|[{}]|[^{}]+")


class TemplateProblem(ValueError):
    """A brace that begins or ends no field."""


class FieldMissing(ValueError):
    """A field of the text has no value. ``name`` is the field."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the field {name!r} has no value")
        self.name = name


class Piece(NamedTuple):
    """Plain text, or the name of a field."""

    text: str
    is_field: bool


@lru_cache(maxsize=1024)
def pieces(text: str) -> tuple[Piece, ...]:
    """Raises TemplateProblem."""
    found: list[Piece] = []
    for match in _PIECE.finditer(text):
        whole, name = match[0], match["name"]
        if name is not None:
            found.append(Piece(name, True))
        elif whole in ("{", "}"):
            raise TemplateProblem(f"the {whole!r} at character {match.start() + 1} begins or ends no field")
        else:
            found.append(Piece(whole[0] if whole in ("{{", "}}") else whole, False))
    return tuple(found)


def fields_named(text: str) -> Iterator[str]:
    """The fields in their order. Raises TemplateProblem."""
    return (piece.text for piece in pieces(text) if piece.is_field)


def filled(text: str, fields: Mapping[str, JsonValue], write: Callable[[str], str] = str) -> str:
    """The text with its fields, each as ``write`` writes it. Raises FieldMissing for one that has no value or is no plain value."""
    return "".join(write(_word(piece.text, fields)) if piece.is_field else piece.text for piece in pieces(text))


def shown(text: str) -> str:
    """The text without values, for logs: ``/charges/…``."""
    return "".join("…" if piece.is_field else piece.text for piece in pieces(text))


def field_at(name: str, fields: Mapping[str, JsonValue]) -> JsonValue:
    """The value of ``name``, a dotted path; None where there is none."""
    value: JsonValue = None
    inside: Mapping[str, JsonValue] = fields
    for part in name.split("."):
        value = inside.get(part)
        inside = value if isinstance(value, dict) else {}
    return value


def _word(name: str, fields: Mapping[str, JsonValue]) -> str:
    value = field_at(name, fields)
    if value is None or isinstance(value, dict | list):
        raise FieldMissing(name)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
