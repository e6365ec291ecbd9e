"""Which entries of two lists belong together: those with the same name, wherever they stand."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel


def matched(old: tuple[object, ...], new: tuple[object, ...]) -> list[tuple[int | None, int | None]]:
    """``(index in old, index in new)``, in the old order, then the new entries. None where there is no partner."""
    waiting: dict[str, list[int]] = {}
    for n, entry in enumerate(new):
        waiting.setdefault(identity(entry), []).append(n)
    found: dict[int, int] = {}
    for exact in (True, False):  # an equal entry is preferred to one with the same name only
        for n, entry in enumerate(old):
            near = [] if n in found else waiting.get(identity(entry), [])
            same = next((other for other in near if not exact or new[other] == entry), None)
            if same is not None:
                near.remove(same)
                found[n] = same
    taken = set(found.values())
    return [(n, found.get(n)) for n in range(len(old))] + [(None, n) for n in range(len(new)) if n not in taken]


_IDENTITY: Mapping[str, tuple[str, ...]] = {
    "ModelFSMTransition": ("from_state", "trigger"),
    "ModelHandler": ("operation", "event_type", "topic"),
    "ModelWorkflowEdge": ("source", "target"),
}


def identity(entry: object) -> str:
    """The name of an entry: the fields listed for its class, else its first text, else the name of its first block."""
    if not isinstance(entry, BaseModel):
        return str(entry)
    named = [getattr(entry, field) for field in _IDENTITY.get(type(entry).__name__, ())]
    parts = [str(one) for one in named if one is not None]
    if not parts:
        parts = [value for value in dict(entry).values() if isinstance(value, str) and value][:1]
    if not parts:
        inner = [value for value in dict(entry).values() if isinstance(value, BaseModel)]
        return identity(inner[0]) if inner else "?"
    return ": ".join(parts)
