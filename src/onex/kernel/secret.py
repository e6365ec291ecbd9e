"""Secret: marks a field of a state or payload, ``card: Annotated[str, Secret]``. An exported run does not contain its values."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class Secret:
    """The mark. The engine treats the field like any other; ``onex export --app`` replaces its values."""


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


def _parts(field: FieldInfo) -> list[object]:
    """The field's type, all parts of that type, and their metadata: ``list[Annotated[str, Secret]] | None`` is found too."""
    found: list[object] = []
    waiting: list[object] = [field.annotation, *field.metadata]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += [*get_args(one), *getattr(one, "__metadata__", ())]
    return found
