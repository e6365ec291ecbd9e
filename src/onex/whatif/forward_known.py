"""What a forward check knows of a store: what was answered and sent before, and which instances stand alike.

``Known`` holds samples of the log: the outcomes of each intent, and the actions that came from outside in each status. A few of
each are enough: they are tried on both codes alike, and a code that treats equal shapes unequally by their values is beyond
what a sample can show.

``alike_as`` names a class of instances. Two are alike when they stand in the same status, under the same code, with the same
things under way, have been through about as many actions, and their states have the same shape: the same fields are set, empty,
true, zero. Words of a class's own choice (enum, literal) count by value, other texts and numbers do not. So 100,000 orders that
wait for their payment are one class, and one of them is continued.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

from ..engine.refold import OWN_INTENT
from ..kernel.intent import EnumOutcome
from ..ports import LogEntry, Stored

SAMPLES: Final = 2
"""Payloads that are kept of each outcome, and of each trigger in a status."""
STATUSES: Final = 2_000
EXACT: Final = 16


class KnownAnswer(NamedTuple):
    """A recorded outcome: its trigger and payload; '' and b'' for the plainest one. The names are those of ``Event``."""

    trigger: str = ""
    payload: bytes = b""
    payload_schema: int = 0


class KnownAction(NamedTuple):
    """An action from outside, as it was recorded."""

    trigger: str
    payload: bytes
    payload_schema: int


class CodeWords(NamedTuple):
    """What the old code says of one workflow, in plain words.

    ``outcomes[intent][trigger] -> outcome``. ``chosen``: fields whose text is one of a few; ``maps``: fields whose keys are data.
    """

    schema: int
    initial: str
    terminal: frozenset[str]
    outcomes: Mapping[str, Mapping[str, EnumOutcome]]
    chosen: frozenset[str]
    maps: frozenset[str]


class Known:
    """Samples of what was recorded. ``words[workflow type]`` are the old code's."""

    def __init__(self, words: Mapping[str, CodeWords]) -> None:
        self._words = words
        self._answers: dict[tuple[str, str, str], list[KnownAnswer]] = {}
        self._sent: dict[tuple[str, str], list[KnownAction]] = {}

    def learn(self, rows: Sequence[LogEntry]) -> None:
        """The log of one instance, from its beginning or from where it was cut."""
        words = self._words.get(rows[0].key.workflow_type) if rows else None
        if words is None:
            return
        status = words.initial if rows[0].version == 1 else ""
        for entry in rows:
            row, own = entry.row, entry.key.workflow_type
            if row.issuer.startswith(OWN_INTENT):
                name = row.issuer.removeprefix(OWN_INTENT)
                outcome = words.outcomes.get(name, {}).get(row.kind)
                if outcome is not None:
                    answer = KnownAnswer(row.kind, row.payload, row.payload_schema)
                    _keep(self._answers.setdefault((own, name, outcome), []), answer)
            elif status and not row.kind.startswith("@") and len(self._sent) < STATUSES:
                sent = self._sent.setdefault((own, status), [])
                if sum(one.trigger == row.kind for one in sent) < SAMPLES:
                    _keep(sent, KnownAction(row.kind, row.payload, row.payload_schema), 1 + len(sent))
            status = row.status

    def answers(self, workflow_type: str, intent: str, outcome: str) -> Iterable[KnownAnswer]:
        """What was recorded of this outcome; the plainest one where nothing was."""
        return self._answers.get((workflow_type, intent, outcome), (KnownAnswer(),))

    def actions(self, workflow_type: str, statuses: Sequence[str]) -> Iterator[KnownAction]:
        """What was sent from outside in these statuses, each once."""
        yield from dict.fromkeys(one for status in statuses for one in self._sent.get((workflow_type, status), ()))


def _keep(samples: list[KnownAnswer] | list[KnownAction], one: KnownAnswer | KnownAction, most: int = SAMPLES) -> None:
    if len(samples) < most and one not in samples:
        samples.append(one)  # type: ignore[arg-type]  # a list holds what its caller puts in, of one kind


AlikeAs = tuple[object, ...]


def alike_as(stored: Stored, under_way: Sequence[str], words: CodeWords | None) -> AlikeAs:
    """The class of an instance. ``under_way``: names of its open intents and timers."""
    actions = stored.version if stored.version <= EXACT else 1 << stored.version.bit_length()
    chosen, maps = (frozenset[str](), frozenset[str]()) if words is None else (words.chosen, words.maps)
    try:
        shape = shape_of(orjson.loads(stored.state), chosen, maps)
    except orjson.JSONDecodeError:
        shape = "?"
    begins = (stored.key.workflow_type, stored.status, stored.code_id, stored.state_schema, bool(stored.held))
    return (*begins, actions, tuple(sorted(under_way)), shape)


def shape_of(value: JsonValue, chosen: frozenset[str], maps: frozenset[str], name: str = "") -> object:
    """Of a list, or of a mapping whose keys are data, the shapes of its items, each once."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return ("text", value if name in chosen else bool(value))
    if isinstance(value, int | float):
        return ("number", (value > 0) - (value < 0))
    if isinstance(value, dict) and name not in maps:
        return tuple((field, shape_of(inner, chosen, maps, field)) for field, inner in value.items())
    items = value.values() if isinstance(value, dict) else value
    return ("items", frozenset(shape_of(one, chosen, maps, name if isinstance(value, list) else "") for one in items))


def code_words(
    schema: int,
    initial: str,
    terminal: frozenset[str],
    outcomes: Mapping[str, Mapping[EnumOutcome, str]],
    state: JsonValue,
) -> CodeWords:
    """``state`` is the JSON schema of the state class."""
    chosen: set[str] = set()
    maps: set[str] = set()
    definitions = state.get("$defs", {}) if isinstance(state, dict) else {}
    assert isinstance(definitions, dict), "a JSON schema has its definitions by name"
    for model in (state, *definitions.values()):
        fields = model.get("properties", {}) if isinstance(model, dict) else {}
        assert isinstance(fields, dict), "a JSON schema has its properties by name"
        for name, field in fields.items():
            found = _words_of(field, definitions)
            if found & {"enum", "const"}:
                chosen.add(name)
            if "additionalProperties" in found:
                maps.add(name)
    table = {name: {trigger: outcome for outcome, trigger in one.items()} for name, one in outcomes.items()}
    return CodeWords(schema, initial, terminal, table, frozenset(chosen), frozenset(maps))


def _words_of(field: JsonValue, definitions: Mapping[str, JsonValue]) -> set[str]:
    """Which of the words above a field's schema uses, through references, choices and items."""
    if not isinstance(field, dict):
        return set()
    found: set[str] = {word for word in ("enum", "const") if word in field}
    if field.get("additionalProperties") not in (None, False):
        found.add("additionalProperties")
    reference = field.get("$ref")
    if isinstance(reference, str):
        target = definitions.get(reference.rpartition("/")[2])
        if isinstance(target, dict) and "properties" not in target:  # another class is looked at by itself
            found |= _words_of(target, {})
    for inner in ("anyOf", "oneOf", "allOf"):
        several = field.get(inner)
        if isinstance(several, list):
            for one in several:
                found |= _words_of(one, definitions)
    found |= _words_of(field.get("items"), definitions)
    return found
