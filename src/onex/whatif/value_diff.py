"""Two states, or the intents of one step on both sides, as what differs between them. Pure, and bounded in size.

Paths are written as in code: ``items[0].cents``. A number is its value (1 is 1.0), and true is not 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

from ..engine.encode import encode, ordinals
from ..engine.registry import Workflow
from ..engine.schema_upgrade import stored_state
from ..kernel.errors import StateConsistencyError
from ..kernel.migration import Json
from ..kernel.step import State

SHOWN: Final = 20
"""Differences of one state, or of one intent, that are kept; the others are counted."""
CUT: Final = 160


class ValueChange(NamedTuple):
    """One place where two values differ: JSON on either side, '' where there is nothing, cut at ``CUT`` characters."""

    path: str
    old: str
    new: str


class Changes(NamedTuple):
    """``total`` differences, of which ``first`` holds the first ``SHOWN``."""

    total: int = 0
    first: tuple[ValueChange, ...] = ()


NONE: Final = Changes()


class RecordedIntent(NamedTuple):
    """An intent as the log holds it. ``n`` counts from 0 those of its name in its step, so (action, name, n) is its id.

    ``said`` is everything else that was written of it: payload, priority, due_us, key, to, cancel. ``was`` is the name of
    which its id is made, where the other code has another name for it.
    """

    name: str
    n: int
    said: Mapping[str, JsonValue]
    was: str = ""

    @property
    def payload(self) -> JsonValue:
        return self.said.get("payload")

    @property
    def to(self) -> str:
        """The receiver of a send, '' for every other kind."""
        return str(self.said.get("to", ""))

    @property
    def due_us(self) -> int:
        due = self.said.get("due_us", 0)
        return due if isinstance(due, int) else 0

    @property
    def cancels(self) -> bool:
        return "cancel" in self.said

    @property
    def shown(self) -> str:
        return f"cancel {self.name}" if self.cancels else self.name

    def asks_the_same(self, other: RecordedIntent) -> bool:
        """Whether one outcome is good for both (promise 36): the same payload, to the same receiver."""
        return same(self.payload, other.payload) and self.to == other.to and self.cancels == other.cancels


class IntentUpgrade(NamedTuple):
    """How intents of an older schema are read: today's name of one, and today's payload, each found by the old name."""

    name: Callable[[str], str]
    payload: Callable[[str, Json], Json]


def recorded_intents(data: bytes, upgrade: IntentUpgrade | None = None) -> list[RecordedIntent]:
    """Of one log row. Raises StateConsistencyError for bytes that no log row holds, and what ``upgrade`` raises."""
    if not data:
        return []
    try:
        found = orjson.loads(data)
        counts = ordinals([one["name"] for one in found])
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise StateConsistencyError(f"the stored intents cannot be read: {type(error).__name__}: {error}") from error
    items: list[RecordedIntent] = []
    for one, n in zip(found, counts, strict=True):
        was = one.pop("name")
        if upgrade is None:
            items.append(RecordedIntent(was, n, one))
            continue
        if isinstance(one.get("payload"), dict):
            one["payload"] = upgrade.payload(was, one["payload"])
        name = upgrade.name(was)
        items.append(RecordedIntent(name, n, one, was if was != name else ""))
    return items


def state_json(state: State) -> JsonValue:
    value: JsonValue = orjson.loads(encode(state))
    return value


def recorded_json(workflow: Workflow, schema: int, data: bytes) -> JsonValue:
    """A stored state as the code reads it, migrated where its schema is older; else, of the same schema, as it stands.

    So a field that was added with a default is no difference. Raises StateTooNew, MigrationFailed, StateConsistencyError.
    """
    try:
        return state_json(stored_state(workflow, schema, data))
    except StateConsistencyError:
        if schema != workflow.code.state_schema:
            raise
    try:
        value: JsonValue = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise StateConsistencyError(f"the stored state cannot be read: {error}") from error
    return value


def same(old: JsonValue, new: JsonValue) -> bool:
    return next(_differing(old, new, ""), None) is None


def compare(old: JsonValue, new: JsonValue) -> Changes:
    """What differs, in the order of the fields."""
    total = 0
    first: list[ValueChange] = []
    for change in _differing(old, new, ""):
        total += 1
        if total <= SHOWN:
            first.append(change)
    return Changes(total, tuple(first)) if total else NONE


def fields_of(changes: Changes) -> list[str]:
    """The top-level fields that differ, each once: what two instances that differ alike have in common."""
    names = [change.path.split(".")[0].split("[")[0] or "all of it" for change in changes.first]
    return list(dict.fromkeys(names))


def _differing(old: JsonValue, new: JsonValue, path: str) -> Iterator[ValueChange]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _in_objects(old, new, path)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _in_lists(old, new, path)
    elif isinstance(old, bool) or isinstance(new, bool):
        if old is not new:
            yield ValueChange(path, shown(old), shown(new))
    elif old != new:
        yield ValueChange(path, shown(old), shown(new))


def _in_objects(old: Mapping[str, JsonValue], new: Mapping[str, JsonValue], path: str) -> Iterator[ValueChange]:
    for name in dict.fromkeys((*old, *new)):
        inner = f"{path}.{name}" if path else name
        if name not in new:
            yield ValueChange(inner, shown(old[name]), "")
        elif name not in old:
            yield ValueChange(inner, "", shown(new[name]))
        else:
            yield from _differing(old[name], new[name], inner)


def _in_lists(old: Sequence[JsonValue], new: Sequence[JsonValue], path: str) -> Iterator[ValueChange]:
    for index in range(max(len(old), len(new))):
        inner = f"{path}[{index}]"
        if index >= len(new):
            yield ValueChange(inner, shown(old[index]), "")
        elif index >= len(old):
            yield ValueChange(inner, "", shown(new[index]))
        else:
            yield from _differing(old[index], new[index], inner)


def shown(value: JsonValue) -> str:
    """JSON on one line, cut."""
    text = orjson.dumps(value).decode()
    return text if len(text) <= CUT else f"{text[:CUT]}... ({len(text)} characters)"
