"""Secret: marks a field of a state or payload, ``card: Annotated[str, Secret]``. An exported run does not contain its values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class Secret:
    """The mark. The engine treats the field like any other; ``onex export --app`` replaces its values.

    Text of it that an error of your code repeats is replaced by ``***`` in recorded attempts and in the log of a run.
    """


def secret_fields(model: type[BaseModel]) -> frozenset[str]:
    """Names of the fields that are marked in this class, or in any class that its fields contain, at any depth."""
    found: set[str] = set()
    seen: set[type[BaseModel]] = set()
    waiting = [model]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        for name, field in one.model_fields.items():
            parts = list(_parts(field))
            if any(part is Secret or isinstance(part, Secret) for part in parts):
                found.add(name)
            waiting += [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
    return frozenset(found)


_marked = lru_cache(1024)(secret_fields)


def secret_texts(value: BaseModel | None) -> frozenset[str]:
    """What stands in the marked fields of ``value``, at any depth, as text: what no message may repeat."""
    if value is None or not _marked(type(value)):
        return frozenset()
    found: set[str] = set()
    waiting: list[tuple[object, bool]] = [(value, False)]
    while waiting:
        one, marked = waiting.pop()
        if isinstance(one, BaseModel):
            secret = _marked(type(one))
            waiting += [(part, marked or name in secret) for name, part in one.__dict__.items()]
        elif isinstance(one, Mapping):
            waiting += [(part, marked) for part in (*one.keys(), *one.values())]
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += [(part, marked) for part in one]
        elif marked and one is not None and not isinstance(one, bool):
            found.add(str(one))
    return frozenset(found)


def _parts(field: FieldInfo) -> list[object]:
    """The field's type, all parts of that type, and their metadata: ``list[Annotated[str, Secret]] | None`` is found too."""
    found: list[object] = []
    waiting: list[object] = [field.annotation, *field.metadata]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += [*get_args(one), *getattr(one, "__metadata__", ())]
    return found
