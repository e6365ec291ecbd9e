"""Which field types are allowed in states and payloads, and which types a dotted path has.

A value of an allowed type is JSON that reloads equal, in the same order, in any process. So it may stand in a log for ever.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, JsonValue
from pydantic.fields import FieldInfo

_SCALARS = (str, int, float, bool, None, type(None), UUID, date)
_FIXES: Mapping[object, tuple[str, str]] = {
    Any: ("says nothing about its type", "say what it is, or JsonValue"),
    object: ("says nothing about its type", "say what it is, or JsonValue"),
    bytes: ("bytes are not JSON", "use Blob for large data, str (hex, base64) for small"),
    bytearray: ("bytes are not JSON", "use Blob for large data, str (hex, base64) for small"),
    datetime: ("may lack its time zone", "use AwareDatetime (from pydantic)"),
    Decimal: ("does not reload equal in every process", "use int in the smallest unit (cents), or str"),
    set: ("has no order, so two runs differ", "use tuple, or dict with the members as keys"),
    frozenset: ("has no order, so two runs differ", "use tuple, or dict with the members as keys"),
    tuple: ("says nothing about its members", "use tuple[X, ...]"),
    list: ("says nothing about its members", "use tuple[X, ...]"),
    dict: ("says nothing about its members", "use dict[str, X]"),
}


class FieldProblem(NamedTuple):
    """``model`` and ``field`` ('' for the class itself) name the place; ``compile`` finds its line."""

    model: type[BaseModel]
    field: str
    message: str
    fix: str


class NoSuchField(Exception):
    """``names[at]`` does not exist; ``known`` are those that do (empty: the value has no fields at all)."""

    def __init__(self, at: int, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no field {name!r}")
        self.at = at
        self.name = name
        self.known = known


def unwrap(annotation: object) -> tuple[object, ...]:
    """The members of a union, through ``Annotated``, aliases and ``NewType``; a plain type is its own only member."""
    if annotation is JsonValue:
        return (JsonValue,)
    if type(annotation).__name__ == "TypeAliasType":
        return unwrap(getattr(annotation, "__value__", object))
    if isinstance(annotation, NewType):
        return unwrap(annotation.__supertype__)
    origin = get_origin(annotation)
    if origin is Annotated:
        return unwrap(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return tuple(member for part in get_args(annotation) for member in unwrap(part))
    return (annotation,)


def field_problems(model: type[BaseModel]) -> Iterator[FieldProblem]:
    """All that is not allowed in ``model`` and the models inside it, each once."""
    for current in nested_models(model):
        yield from _of_class(current)
        for name, field in current.model_fields.items():
            yield from _of_field(current, name, field)


def nested_models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """``model`` and the models inside it, each once."""
    seen: set[type[BaseModel]] = set()
    waiting = [model]
    while waiting:
        current = waiting.pop(0)
        if current not in seen:
            seen.add(current)
            yield current
            waiting.extend(inner for field in current.model_fields.values() for inner in models_in(field.annotation))


def reach(model: type[BaseModel], names: tuple[str, ...]) -> tuple[object, ...]:
    """The types that ``model.a.b`` may have. Raises NoSuchField. Behind a JsonValue or dict any name may exist."""
    members: tuple[object, ...] = (model,)
    for at, name in enumerate(names):
        found: list[object] = []
        known: list[str] = []
        for member in members:
            if isinstance(member, type) and issubclass(member, BaseModel):
                field = member.model_fields.get(name)
                known.extend(member.model_fields)
                if field is not None:
                    found.extend(unwrap(field.annotation))
            elif get_origin(member) is dict:
                found.extend(unwrap(get_args(member)[1]))
            elif member is JsonValue:
                found.append(JsonValue)
        if not found:
            raise NoSuchField(at, name, tuple(dict.fromkeys(known)))
        members = tuple(found)
    return members


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that a value of the type may hold, one inside another not counted."""
    for member in unwrap(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield member
        elif member is not JsonValue and get_origin(member) is not Literal:
            for part in get_args(member):
                yield from models_in(part)


def _of_class(model: type[BaseModel]) -> Iterator[FieldProblem]:
    config = model.model_config
    if not config.get("frozen"):
        yield FieldProblem(model, "", f"{model.__name__} can be changed in place", "derive it from Payload (or State)")
    if config.get("extra") != "forbid":
        yield FieldProblem(
            model, "", f"{model.__name__} takes unknown fields silently", "derive it from Payload (or extra='forbid')"
        )
    if config.get("allow_inf_nan", True):
        yield FieldProblem(
            model, "", f"{model.__name__} lets NaN and infinity in", "derive it from Payload (or allow_inf_nan=False)"
        )
    for name in model.model_computed_fields:
        message = f"{model.__name__}.{name} is a computed field: it is written but not read"
        yield FieldProblem(model, name, message, "make it a property")
    for name in model.__private_attributes__:
        yield FieldProblem(model, name, f"{model.__name__}.{name} is private: it is not written", "make it a field")


def _of_field(model: type[BaseModel], name: str, field: FieldInfo) -> Iterator[FieldProblem]:
    where = f"{model.__name__}.{name}"
    if field.alias or field.validation_alias or field.serialization_alias:
        yield FieldProblem(model, name, f"{where} has an alias: it would be written and read by two names", "remove it")
    if field.exclude:
        yield FieldProblem(model, name, f"{where} is excluded: it would be lost on the way", "remove exclude")
    for message, fix in _of_type(field.annotation):
        yield FieldProblem(model, name, f"{where} is {message}", fix)


def _of_type(annotation: object) -> Iterator[tuple[str, str]]:
    members = unwrap(annotation)
    yield from _alike(members)
    for member in members:
        origin = get_origin(member)
        if member in (JsonValue, AwareDatetime) or member in _SCALARS:
            continue
        if isinstance(member, type) and origin is None and issubclass(member, BaseModel | StrEnum):
            continue
        if isinstance(member, TypeVar):
            yield f"of the open type {member}", "say which type it is: Model[X]"
        elif origin is Literal:
            if not all(isinstance(value, str | int | bool | None) for value in get_args(member)):
                yield f"{_shown(member)}, which is not JSON", "use words, whole numbers, true, false or null"
        elif origin is tuple:
            for part in get_args(member):
                if part is not Ellipsis:
                    yield from _of_type(part)
        elif origin is list:
            yield from _of_type(get_args(member)[0])
        elif origin is dict:
            key, value = get_args(member)
            if not all(_is_text(part) for part in unwrap(key)):
                yield f"{_shown(member)}, whose keys are not text", "use dict[str, ...]: JSON has no other keys"
            yield from _of_type(value)
        else:
            plain = origin or member
            why, fix = _FIXES.get(plain if _hashable(plain) else None, ("", ""))
            if not why:
                why = "is not one of the types that reload equal"
                fix = "use str, int, float, bool, UUID, AwareDatetime, date, tuple, list, dict[str, ..] or a Payload"
            yield f"{_shown(member)}: {why}", fix


def _alike(members: tuple[object, ...]) -> Iterator[tuple[str, str]]:
    """Members of a union that look the same as JSON: a date would come back as the ``str`` beside it."""
    shapes: dict[str, list[object]] = {}
    for member in dict.fromkeys(members):
        origin = get_origin(member)
        if member in (UUID, date, AwareDatetime) or _is_text(member):
            kind = str if origin is Literal else member
            if kind not in shapes.setdefault("text", []):
                shapes["text"].append(kind)
        elif origin in (tuple, list):
            shapes.setdefault("lists", []).append(member)
        elif member is JsonValue:
            shapes["JSON"] = [one for one in members if one not in (None, type(None))]
    for kind, alike in shapes.items():
        if len(alike) > 1:
            names = " | ".join(map(_shown, alike))
            yield f"{names}, which all look like {kind} when they are read again", "choose one of them"


def _is_text(member: object) -> bool:
    if get_origin(member) is Literal:
        return all(isinstance(value, str) for value in get_args(member))
    return isinstance(member, type) and issubclass(member, str)


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _shown(member: object) -> str:
    return member.__name__ if isinstance(member, type) and get_origin(member) is None else str(member)
