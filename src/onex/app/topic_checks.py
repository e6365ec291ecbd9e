"""Checks of consumed topics against the classes of the app, and against what its own workflows publish on the same topic.

Both ends of a topic are judged when the app loads: a message that every reader would refuse is a finding, not a dead letter.
Ends in another app are not known here. Their messages are judged one by one, by the class of the trigger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel

from ..contracts.compile import CompiledReducer, LocatedContract
from ..contracts.event_rows import BUS, CONSUMED
from ..contracts.guard.problem import suggest
from ..contracts.model.event_topics import ModelConsumedTopic
from ..contracts.model.payload_fields import NoSuchField, reach, unwrap
from ..contracts.text.yaml_tree import place_of
from ..engine.internal_triggers import internal_triggers
from ..kernel.action import Nothing
from ..kernel.envelope import EACH_ITS_OWN, HEADER
from ..kernel.finding import EnumSeverity, Finding

Wrong = Iterator[tuple[str, str, str, str]]
"""``(code, key, message, fix)`` each."""


class _Sent(NamedTuple):
    workflow: str
    topic: str
    event_type: str
    payload: type[BaseModel]


def topic_findings(contracts: Sequence[LocatedContract], compiled: Mapping[str, CompiledReducer]) -> Iterator[Finding]:
    """``compiled[workflow type]``."""
    reducers = {name: one.reducer for name, one in compiled.items() if one.reducer is not None}
    internal = internal_triggers({name: one.intents for name, one in reducers.items()})
    sent = list(_sent(contracts, compiled))
    for located in contracts:
        contract = located.contract
        rows = () if contract.event_bus is None else contract.event_bus.subscribe_topics
        for n, row in enumerate(rows):
            payload = compiled[contract.name].payloads.get(row.trigger)
            if payload is None:
                continue  # a finding of its own
            found = [*_key(row, payload), *_ends(row, payload, sent)]
            brought = internal.get(contract.name, {}).get(row.trigger)
            if brought is not None and row.trigger not in contract.public:
                message = f"{row.trigger!r} is internal: {brought} brings it, and a message on a topic would say so in its place"
                found.append(("internal_trigger", "trigger", message, "name another trigger, or list it under public"))
            for code, key, message, fix in found:
                spot = place_of(located.tree, (BUS, CONSUMED, n, key)).spot(located.path)
                yield Finding(code, EnumSeverity.ERROR, *spot, message, fix)
            if near := _misspelt(row, sent):
                spot = place_of(located.tree, (BUS, CONSUMED, n)).spot(located.path)
                message = f"nothing in this app publishes {row.event_type or row.topic!r}"
                yield Finding("not_published", EnumSeverity.WARNING, *spot, message, near)


def _sent(contracts: Iterable[LocatedContract], compiled: Mapping[str, CompiledReducer]) -> Iterator[_Sent]:
    for located in contracts:
        contract, reducer = located.contract, compiled[located.contract.name].reducer
        if contract.event_bus is None or reducer is None:
            continue
        for row in contract.event_bus.publish_topics:
            spec = reducer.intents.by_name.get(row.event_type)
            if spec is not None:
                yield _Sent(contract.name, row.topic, row.event_type, spec.payload or Nothing)


def _key(row: ModelConsumedTopic, payload: type[BaseModel]) -> Wrong:
    """The field that names the instance is there, and is always one plain value."""
    if row.key in (None, EACH_ITS_OWN) or row.key.startswith(HEADER):
        return
    try:
        kinds = reach(payload, tuple(row.key.split(".")))
    except NoSuchField as missing:
        fix = suggest(missing.name, missing.known) or (
            f"it has {', '.join(missing.known)}" if missing.known else "remove key"
        )
        message = f"the key of {row.topic} is {row.key!r}, and {payload.__name__} has no field {missing.name!r}"
        yield "key_field", "key", message, fix
        return
    if type(None) in kinds:
        message = f"{payload.__name__}.{row.key} may be empty, and it names the instance"
        yield "key_field", "key", message, "make it a field that is always there, or take another one"
    elif any(isinstance(kind, type) and issubclass(kind, BaseModel | dict | list | tuple) for kind in kinds):
        yield (
            "key_field",
            "key",
            f"{payload.__name__}.{row.key} is no plain value",
            "take a field that is a text or a number",
        )


def _ends(row: ModelConsumedTopic, payload: type[BaseModel], sent: Iterable[_Sent]) -> Wrong:
    """What this app publishes there can be read as ``payload``."""
    for one in sent:
        if one.topic != row.topic or row.event_type not in (None, one.event_type) or one.payload is payload:
            continue
        wrong = _unlike(one.payload, payload)
        if wrong:
            ends = f"{one.workflow} publishes {one.payload.__name__} on {row.topic}"
            message = f"{ends}, which cannot be read as {payload.__name__}: {wrong}"
            yield (
                "topic_payload",
                "trigger",
                message,
                "use one class at both ends, or give the two events types of their own",
            )


def _misspelt(row: ModelConsumedTopic, sent: Iterable[_Sent]) -> str:
    """A name like that of a row whose messages nobody here publishes; '' where another app may be meant."""
    events = {one.event_type for one in sent if row.by_event_type or one.topic == row.topic}
    topics = {one.topic for one in sent}
    if row.event_type is not None and (events or row.by_event_type):
        return "" if row.event_type in events else suggest(row.event_type, sorted(events))
    return "" if row.topic in topics else suggest(row.topic, sorted(topics))


def _unlike(given: type[BaseModel], taken: type[BaseModel]) -> str:
    """'' where every ``given`` can be read as ``taken``, as far as their fields say."""
    for name, info in taken.model_fields.items():
        if name not in given.model_fields:
            if info.is_required():
                return f"it has no {name!r}"
        elif not set(unwrap(given.model_fields[name].annotation)) & set(unwrap(info.annotation)):
            return f"{name!r} is of another type"
    strange = [name for name in given.model_fields if name not in taken.model_fields]
    if strange and taken.model_config.get("extra") == "forbid":
        return f"it has {', '.join(strange)}"
    return ""
