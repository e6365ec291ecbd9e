"""Completion and hover for an editor, from the typed kinds of contract.

Completion uses the text before the cursor, since unfinished text is no YAML. Hover uses the contract as it was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..foreign.foreign_reader import KINDS
from ..foreign.read_result import EnumFamily, ReadResult
from ..load import RUN_BY
from ..model.contract import EnumNodeKind, ModelContractBase, ModelContractWorkflow, machine_of
from ..model.key_usage import EnumKeyUsage, KeyUsage, models_of
from ..model.part import use_of
from ..model.payload_fields import unwrap
from ..text.yaml_tree import YamlList, YamlMap, YamlNode, YamlScalar
from .editor_schema import type_in_words, use_in_words
from .yaml_cursor import yaml_cursor

STATES = ("from_state", "to_state", "initial_state", "terminal_states", "error_states")
TRIGGERS = ("trigger", "on_timeout", "succeeded", "failed", "unknown", "unleased", "public")
_STATE = re.compile(r"""\b(?:from_state|to_state|initial_state)["']?[ ]*:[ ]*["']?([A-Za-z][\w-]*)""")
_LISTED = re.compile(r"""\bterminal_states["']?[ ]*:[ ]*\[([^\]\n]*)""")
_TRIGGER = re.compile(r"""\b(?:trigger|on_timeout)["']?[ ]*:[ ]*["']?([A-Za-z][\w-]*(?:\.[\w-]+)?)""")
_NODE_TYPE = re.compile(r"""^["']?node_type["']?[ ]*:[ ]*["']?(\w+)""", re.MULTILINE)


class EnumSuggested(StrEnum):
    KEY = "key"
    VALUE = "value"


class Suggestion(NamedTuple):
    """``text`` is inserted; an editor shows ``detail`` beside it and ``about`` below."""

    text: str
    kind: EnumSuggested
    detail: str = ""
    about: str = ""


class Hover(NamedTuple):
    """Markdown about the word that begins at ``line``, ``column`` (from 1) and has ``length`` letters."""

    text: str
    line: int
    column: int
    length: int


# --- completion -------------------------------------------------------------------------------------------------------


def suggestions(text: str, line: int, column: int) -> list[Suggestion]:
    """What may be typed at the cursor. Keys in the order of the model, those on which nobody acts last.

    ``line`` and ``column`` count from 1.
    """
    at = yaml_cursor(text, line, column)
    model: type[BaseModel] = _model(text)
    is_ours = model is ModelContractWorkflow
    for name in at.path:
        field = model.model_fields.get(name)
        inner = next(models_of(field.annotation), None) if field is not None else None
        if inner is None:
            return [one for one in _values(None, name, text) if at.key is None and at.path[-1] == name]
        model = inner
    if at.key is not None:
        return _values(model.model_fields.get(at.key), at.key, text)
    fields = [(name, field) for name, field in model.model_fields.items() if name not in at.beside]
    fields.sort(key=lambda field: not use_of(model, field[0]).by)
    return [
        Suggestion(f"{name}:", EnumSuggested.KEY, type_in_words(field), use_in_words(use_of(model, name)))
        for name, field in fields
        if not is_ours or RUN_BY & set(use_of(model, name).by)
    ]


def _model(text: str) -> type[ModelContractBase]:
    """The kind that the text declares; without one, a workflow of ours."""
    word = _NODE_TYPE.search(text)
    kind = (word[1] if word else "reducer").lower().removesuffix("_generic")
    if kind == EnumNodeKind.REDUCER and ("state_model" in text or word is None):
        return ModelContractWorkflow
    return KINDS.get(next((one for one in EnumNodeKind if one == kind), EnumNodeKind.EFFECT), ModelContractBase)


def _values(field: FieldInfo | None, key: str, text: str) -> list[Suggestion]:
    if key in STATES:
        names = [
            *_STATE.findall(text),
            *(word.strip(" \"'") for row in _LISTED.findall(text) for word in row.split(",")),
        ]
        return _words(names, "state")
    if key in TRIGGERS:
        return _words(_TRIGGER.findall(text), "trigger")
    return _words([] if field is None else list(_choices(field.annotation)), key)


def _words(names: list[str], detail: str) -> list[Suggestion]:
    return [Suggestion(name, EnumSuggested.VALUE, detail) for name in dict.fromkeys(names) if name]


def _choices(annotation: object) -> Iterator[str]:
    for member in unwrap(annotation):
        if get_origin(member) is Literal:
            yield from (str(one) for one in get_args(member))
        elif isinstance(member, type) and issubclass(member, StrEnum):
            yield from (str(one) for one in member)
        elif member is bool:
            yield from ("true", "false")


# --- hover ------------------------------------------------------------------------------------------------------------


def hover(reading: ReadResult, line: int, column: int) -> Hover | None:
    """About the key or the state under the cursor; None when it is neither."""
    for key in reading.keys:
        if _covers(key.leaf, line, column):
            return Hover(_about(reading, key), *key.leaf.place[:2], len(str(key.leaf.value)))
    leaf = _value_at(reading.tree, line, column)
    machine = machine_of(reading.contract) if reading.contract is not None else None
    if leaf is None or machine is None or leaf.value not in machine.table:
        return None
    state = str(leaf.value)
    words = (
        "it is terminal"
        if state in machine.terminal
        else f"it accepts {', '.join(machine.accepts(state)) or 'nothing'}"
    )
    return Hover(f"**{state}**, a state: {words}", *leaf.place[:2], len(state))


def _about(reading: ReadResult, key: KeyUsage) -> str:
    name = str(key.leaf.value)
    found = _field(reading, key)
    if found is None or key.usage is EnumKeyUsage.UNKNOWN:
        said = (
            "No field holds it, and nobody acts on it" if key.usage is EnumKeyUsage.UNKNOWN else use_in_words(key.use)
        )
        return f"**{name}**\n\n{said}."
    model, field = found
    info = model.model_fields[field]
    lines = [f"**{field}**: {type_in_words(info)}" + (f" (here called `{name}`)" if field != name else "")]
    if info.description:
        lines.append(f"{info.description[0].upper()}{info.description[1:]}.")
    if model.__doc__ and f"``{field}``" in model.__doc__:
        lines.append(" ".join(model.__doc__.split()).replace("``", "`"))
    lines.append(f"{use_in_words(key.use)}.")
    return "\n\n".join(lines)


def _field(reading: ReadResult, key: KeyUsage) -> tuple[type[BaseModel], str] | None:
    """The typed field of a key, found by the identity of the key in the normalised tree."""
    root = ModelContractWorkflow if reading.family is EnumFamily.ONEX else _of_kind(reading.node_type)
    return None if reading.shape is None else _search(reading.shape, root, key.leaf)


def _of_kind(word: str) -> type[ModelContractBase]:
    return KINDS.get(next((one for one in EnumNodeKind if one == word), EnumNodeKind.EFFECT), ModelContractBase)


def _search(node: YamlNode, model: type[BaseModel], leaf: YamlScalar) -> tuple[type[BaseModel], str] | None:
    if isinstance(node, YamlList):
        found = (_search(item, model, leaf) for item in node.items)
        return next((one for one in found if one is not None), None)
    if not isinstance(node, YamlMap):
        return None
    for name, entry in node.entries.items():
        if name not in model.model_fields:
            continue
        if entry.key is leaf:
            return model, name
        inner = next(models_of(model.model_fields[name].annotation), None)
        below = _search(entry.node, inner, leaf) if inner is not None else None
        if below is not None:
            return below
    return None


def _value_at(node: YamlNode | None, line: int, column: int) -> YamlScalar | None:
    if isinstance(node, YamlScalar):
        return node if isinstance(node.value, str) and _covers(node, line, column) else None
    inner = (
        node.items
        if isinstance(node, YamlList)
        else [e.node for e in node.entries.values()]
        if node is not None
        else []
    )
    return next((found for one in inner if (found := _value_at(one, line, column)) is not None), None)


def _covers(leaf: YamlScalar, line: int, column: int) -> bool:
    place = leaf.text_at or leaf.place
    return not place.path and place.line == line and place.column <= column <= place.column + len(str(leaf.value))
