"""What a workflow in one file says of topics: events that it publishes, and those that become its actions.

    alarm = sensors.publishes("alarm", Alarm, topic="home.alarms.v1", key="room")

    @rooms.event_handler("alarm", "empty -> alarmed", topic="home.alarms.v1", key="room")
    def alarm_raised(room: Room, action: Action[Alarm]) -> Step[Room]: ...

Both are rows of ``event_bus`` in the contract, and mean what they mean there. A handler of an event is a handler like any other:
its function is pure, and names its trigger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, JsonValue

from ..contracts.event_rows import CONSUMED, PUBLISHED
from ..contracts.text.yaml_tree import YamlMap, YamlNode
from .declared_transitions import DeclaredTransitions, Texts, name_of
from .intents import AnyHandler, PublishedEvent, SourcePlace
from .located_nodes import LocatedNodes

H = TypeVar("H", bound=AnyHandler)
Named = Callable[[type[BaseModel], SourcePlace], str]
"""The name of a class in the contract."""


class _Row(NamedTuple):
    said: dict[str, JsonValue]
    payload: type[BaseModel] | None
    place: SourcePlace


class DeclaredEvents(DeclaredTransitions):
    """Collects rows of ``event_bus``."""

    def __init__(self) -> None:
        super().__init__()
        self._consumed: list[_Row] = []
        self._published: list[_Row] = []

    def publishes(
        self, event_type: str, payload: type[BaseModel], /, *, topic: str = "", key: str = ""
    ) -> PublishedEvent:
        """An event that steps may publish, by its class or by ``alarm.intent(Alarm(...))``. Nobody waits for its outcome.

        Left out, the topic is that of the engine's scheme for ``event_type``, and ``key`` is the instance.
        """
        said = _row(topic, event_type=event_type, key=key)
        self._published.append(_Row(said, payload, SourcePlace.of_caller(1)))
        return PublishedEvent(event_type)

    def event_handler(
        self,
        event_type: str,
        /,
        *edges: str,
        topic: str = "",
        key: str = "",
        when: Texts = (),
        when_after: Texts = (),
        unleased: bool = False,
    ) -> Callable[[H], H]:
        """This function handles events of this type on these edges; it is returned unchanged. Its trigger is called like it.

        ``key``: the field of the payload, or ``header:NAME``, that names the instance; ``@id``: each event has its own; left out,
        the key of the message. Clients may submit the trigger, too. Others as for ``on``.
        """
        place = SourcePlace.of_caller(1)
        return self.handles_event(event_type, edges, topic, key, when, when_after, place, unleased=unleased)

    def handles_event(
        self,
        event_type: str,
        edges: tuple[str, ...],
        topic: str,
        key: str,
        when: Texts,
        when_after: Texts,
        place: SourcePlace,
        *,
        unleased: bool = False,
    ) -> Callable[[H], H]:
        """The same, declared at ``place``."""
        first = len(self.transitions)
        named, read = self._read(edges, place)
        if named:
            message = f"{named[0]!r} is a trigger, and that of an event is called like its function"
            self._problem("not_an_edge", place, message, 'write edges: "empty -> alarmed"')
        self._reserve((), read, when, when_after, None, place)
        last = len(self.transitions)

        def add(handler: H) -> H:
            self._check_function(handler, "event_handler", place)
            trigger = name_of(handler)
            self._handled(first, last, trigger, handler)
            self._mark((trigger,), place, public=False, unleased=unleased)
            said = _row(topic, event_type=event_type, trigger=trigger, key=key)
            self._consumed.append(_Row(said, None, place))
            return handler

        return add

    @property
    def has_events(self) -> bool:
        return bool(self._consumed or self._published)

    def event_nodes(self, nodes: LocatedNodes, named: Named, top: SourcePlace) -> YamlMap:
        """``event_bus`` of the contract, each row at the call that says it."""
        parts: dict[str, YamlNode] = {}
        for key, rows in ((CONSUMED, self._consumed), (PUBLISHED, self._published)):
            if rows:
                parts[key] = nodes.listing([_node(row, nodes, named) for row in rows], top)
        return nodes.mapping(parts, top)


def _row(topic: str, **said: str) -> dict[str, JsonValue]:
    return {name: value for name, value in {"topic": topic, **said}.items() if value}


def _node(row: _Row, nodes: LocatedNodes, named: Named) -> YamlNode:
    said = dict(row.said)
    if row.payload is not None:
        said["payload"] = named(row.payload, row.place)
    return nodes.of(said, row.place)
