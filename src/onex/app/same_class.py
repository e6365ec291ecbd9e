"""Values of two classes that are one in the source: the app's files are loaded under names of their own.

So a class that a test imports from ``app.py`` is another object than the app's, with the same qualified name and fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def as_class(kind: type[M], value: BaseModel) -> M | None:
    """``value`` as ``kind``, if it is one or its class has the same name; else None.

    Raises pydantic.ValidationError when the class of that name has other fields.
    """
    if isinstance(value, kind):
        return value
    if type(value).__qualname__ != kind.__qualname__:
        return None
    return kind.model_validate(_plain(value), by_name=True)


def equal(found: object, wanted: object) -> bool:
    """Whether both are equal, where values of two classes of one name are equal if their fields or members are."""
    if isinstance(found, BaseModel) and isinstance(wanted, BaseModel) and type(found) is not type(wanted):
        return _same_name(found, wanted) and equal(dict(found), dict(wanted))
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        return found.keys() == wanted.keys() and all(equal(found[key], wanted[key]) for key in found)
    if isinstance(found, list | tuple) and isinstance(wanted, list | tuple):
        alike = isinstance(found, list) == isinstance(wanted, list) and len(found) == len(wanted)
        return alike and all(map(equal, found, wanted))
    if isinstance(found, Enum) and isinstance(wanted, Enum) and type(found) is not type(wanted):
        return _same_name(found, wanted) and found.name == wanted.name
    return found == wanted


def _same_name(one: object, other: object) -> bool:
    return type(one).__qualname__ == type(other).__qualname__


def _plain(value: object) -> object:
    """Models as mappings and members as their values, at any depth; everything else as it is."""
    if isinstance(value, BaseModel):
        return {name: _plain(part) for name, part in value}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {_plain(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and not hasattr(value, "_fields"):
        return type(value)(map(_plain, value))
    return value
