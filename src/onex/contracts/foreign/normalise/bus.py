"""What a node subscribes to and publishes, in all spellings: topics of an ``event_bus``, and events beside it."""

from __future__ import annotations

from collections.abc import Iterator

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .draft import KeyTable, MapBuilder, Notes, aliases, made, text, text_of, version
from .references import reference

TOPIC = KeyTable(
    names=aliases(
        topic="full_topic_pattern topic_name channel target_topic subscribe_topic publish_topic",
        event_type="event event_name name type message_type",
        schema_ref="schema payload_schema payload_model event_model model",
        payload_fields="event_schema fields payload",
        event_version="version",
        partition_key="partition_key_field key",
        consumer_group="group_id",
        other_end="external_publisher external_consumer external_subscriber",
        handler="handler_implementation",
        status="handler_status",
        trigger="when",
        description="purpose",
    ),
    shapes={"handler": reference, "event_type": text},
)
BUS = KeyTable(
    names=aliases(
        enabled="event_bus_enabled",
        subscribe_topics="subscribe subscribe_topic subscribes subscriptions subscribed_topics subscribes_to consumes consume "
        "consumed_topics input_topics listens_to",
        publish_topics="publish publish_topic publishes publications published_topics publishes_to produces produce emits "
        "output_topics",
        dlq_topic="dead_letter_topic dlq",
        configuration="config",
    ),
    shapes={"version": version},
)
METADATA = aliases(subscribe_topics="subscribe_topic_metadata", publish_topics="publish_topic_metadata")
"""Keys that describe topics of a list apart from it, by topic."""
BESIDE = aliases(
    published_events="publications publish_topics event_outputs output_events emits emitted_events events_published "
    "yaml_published_events compatibility_publish_topics",
    consumed_events="subscriptions subscribe_topics event_sources input_subscriptions input_events events_consumed "
    "yaml_consumed_events initial_command consumes",
)
"""Events that stand in the contract itself."""
EVENTS = aliases(
    published_events="published publishes publish produced produces emitted emits out output outbound",
    consumed_events="consumed consumes subscribed subscribes subscribe listens in input inbound",
)
"""Words within ``events``, and within one topic's ``direction``."""
LISTS = {"published_events": "publish_topics", "consumed_events": "subscribe_topics"}
_OPERATED = {"handler": "operation", "handler_implementation": "handler"}
"""A handler that is a word, beside another that is a class: the word is the operation."""
_OF_TOPIC = ("topic", "topics", "topic_suffix", "full_topic_pattern", "event_type")


def bus(draft: MapBuilder, notes: Notes) -> None:
    """Puts ``event_bus``, ``published_events``, ``consumed_events`` into ``draft``."""
    draft.reshape(_bus, notes, "event_bus")
    for written, field in BESIDE.items():
        entry_or_none = draft.entries.get(written)
        if entry_or_none is not None and isinstance(entry_or_none.node, YamlList | YamlMap | YamlScalar):
            _gather(draft, written, field, notes)
    _events(draft, notes)
    if isinstance(draft.node("terminal_event"), YamlMap | YamlList):
        draft.put("terminal_events", draft.take("terminal_event"))
    draft.reshape(topics, notes, "published_events", "consumed_events", "terminal_events")
    emission = draft.node("event_emission")
    if isinstance(emission, YamlMap) and isinstance(emission.get("event_types"), YamlList):
        inside = emission.entries["event_types"]
        notes.wrapped(draft.entries["event_emission"].key)
        draft.extend("published_events", inside.key, _rows(topics(inside.node, notes)))
        rest = {name: one for name, one in emission.entries.items() if name != "event_types"}
        draft.entries["event_emission"] = draft.entries["event_emission"]._replace(node=YamlMap(rest, emission.place))


def _gather(draft: MapBuilder, written: str, field: str, notes: Notes) -> None:
    """Further lists for ``field`` join the first; a second list's key is absorbed by the first's."""
    entry = draft.entries.pop(written)
    there = draft.entries.get(field)
    if there is None:
        draft.entries[field] = entry
        return
    if isinstance(there.node, YamlList) and isinstance(topics(entry.node, notes), YamlList):
        notes.joined(entry.key, there.key)
        draft.extend(field, entry.key, _rows(topics(entry.node, notes)))
    else:
        draft.entries[written] = entry


def _events(draft: MapBuilder, notes: Notes) -> None:
    entry = draft.entries.get("events")
    if entry is None or not isinstance(entry.node, YamlMap) or not set(EVENTS) & set(entry.node.entries):
        return
    notes.wrapped(entry.key)
    rest: dict[str, YamlEntry] = {}
    for name, one in entry.node.entries.items():
        if name in EVENTS and isinstance(topics(one.node, notes), YamlList):
            there = draft.entries.get(EVENTS[name])
            if there is not None:
                notes.joined(one.key, there.key)
            draft.extend(EVENTS[name], one.key, _rows(topics(one.node, notes)))
        else:
            rest[name] = one
    draft.leave("events", rest)


def _rows(node: YamlNode) -> tuple[YamlNode, ...]:
    return node.items if isinstance(node, YamlList) else (node,)


def _bus(node: YamlNode, notes: Notes) -> YamlNode:
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(BUS.applied(_directed(node, notes), notes))
    draft.reshape(topics, notes, "subscribe_topics", "publish_topics")
    for written, field in METADATA.items():
        _described(draft, written, field, notes)
    return draft.branch()


def _directed(node: YamlMap, notes: Notes) -> YamlMap:
    """``topics: {publish: [..], subscribe: [..]}`` is both lists, and so is a list whose rows say their ``direction``."""
    inside = node.entries.get("topics")
    if inside is None:
        return node
    rest = {name: entry for name, entry in node.entries.items() if name != "topics"}
    if isinstance(inside.node, YamlMap):
        notes.wrapped(inside.key)
        return YamlMap(
            {**rest, **{name: one for name, one in inside.node.entries.items() if name not in rest}}, node.place
        )
    ways: dict[str, list[YamlNode]] = {}
    for item in inside.node.items if isinstance(inside.node, YamlList) else ():
        way = item.entries.get("direction") if isinstance(item, YamlMap) else None
        field = EVENTS.get(text_of(way.node).lower()) if way is not None else None
        if way is None or field is None or not isinstance(item, YamlMap):
            return node
        notes.joined(way.key, inside.key)
        ways.setdefault(LISTS[field], []).append(
            YamlMap({name: one for name, one in item.entries.items() if one is not way}, item.place)
        )
    draft = MapBuilder(YamlMap(rest, node.place))
    for name, rows in ways.items():
        if isinstance(draft.node(name), YamlMap | YamlScalar):
            return node
        there = draft.entries.get(name)
        if there is not None:
            notes.joined(inside.key, there.key)
        draft.extend(name, inside.key, rows)
    return draft.branch() if ways else node


def topics(node: YamlNode, notes: Notes) -> YamlNode:
    """Rows of ModelTopic, of a list, one topic, ``{topics: [..]}``, or ``{success_topic: .., failure_topic: ..}``."""
    if isinstance(node, YamlScalar):
        if node.value and not text_of(node):
            return node
        return YamlList((_topic(node, notes),) if text_of(node) else (), node.place)
    if isinstance(node, YamlList):
        return YamlList(tuple(_topic(item, notes) for item in node.items), node.place)
    return YamlList(tuple(_of_mapping(node, notes)), node.place)


def _of_mapping(node: YamlMap, notes: Notes) -> Iterator[YamlNode]:
    rest: dict[str, YamlEntry] = {}
    roles = [name for name in node.entries if name.endswith("_topic") and text_of(node.get(name))]
    inside = node.entries.get("topics")
    if inside is not None:
        notes.wrapped(inside.key)
        yield from _rows(topics(inside.node, notes))
    for name in roles:
        entry = node.entries[name]
        role = made("role", YamlScalar(name.removesuffix("_topic"), entry.key.place))
        yield YamlMap({"topic": YamlEntry(entry.key, entry.node), "role": role}, entry.node.place)
    rest = {name: entry for name, entry in node.entries.items() if name not in roles and name != "topics"}
    if not rest:
        return
    if set(_OF_TOPIC) & set(rest):
        yield _topic(YamlMap(rest, node.place), notes)
    elif not roles and inside is None and all(isinstance(one.node, YamlMap | YamlScalar) for one in rest.values()):
        for name, one in rest.items():
            yield _by_name(name, one, notes)
    else:
        # keys that belong to no topic: kept here, where a finding reports them
        yield YamlMap({"topic": made("topic", YamlScalar("", node.place)), **rest}, node.place)


def _by_name(name: str, entry: YamlEntry, notes: Notes) -> YamlNode:
    """``NAME: topic``, or ``TOPIC: {..}``."""
    if isinstance(entry.node, YamlScalar) and text_of(entry.node):
        return YamlMap(
            {"topic": YamlEntry(entry.key, entry.node), "role": made("role", YamlScalar(name, entry.key.place))},
            entry.key.place,
        )
    own = YamlEntry(entry.key, YamlScalar(name, entry.key.place))
    inside = entry.node.entries if isinstance(entry.node, YamlMap) else {}
    word = "role" if "topic" in inside else "topic"
    return _topic(YamlMap({**inside, word: own}, entry.key.place), notes)


def _topic(item: YamlNode, notes: Notes) -> YamlNode:
    if isinstance(item, YamlScalar):
        return YamlMap({"topic": made("topic", item)}, item.place) if text_of(item) else item
    if not isinstance(item, YamlMap):
        return item
    if "handler" in item.entries and "handler_implementation" in item.entries:
        item = YamlMap({_OPERATED.get(name, name): entry for name, entry in item.entries.items()}, item.place)
    draft = MapBuilder(TOPIC.applied(item, notes))
    schema = draft.entries.get("schema_ref")
    if schema is not None and isinstance(schema.node, YamlMap):
        draft.put("payload_fields", draft.take("schema_ref"))
    elif schema is not None and text_of(draft.node("payload_module")):
        module = draft.take("payload_module")
        if module is not None:
            notes.joined(module.key, schema.key)
            whole = YamlScalar(f"{text_of(module.node)}.{text_of(schema.node)}", schema.node.place)
            draft.entries["schema_ref"] = schema._replace(node=whole)
    if "topic" not in draft:
        suffix = draft.entries.get("topic_suffix")
        named = draft.entries.get("event_type")
        if suffix is not None:
            draft.put("topic", draft.take("topic_suffix"))
        elif named is not None and named.key.value == "name" and "." in text_of(named.node):
            draft.put("topic", draft.take("event_type"))
        elif named is not None:
            draft.make("topic", named.node)
            draft.make("by_event_type", YamlScalar(True, named.node.place))
    if "other_end" in draft and "external" not in draft:
        draft.make("external", YamlScalar(True, draft.entries["other_end"].node.place))
    return draft.branch()


def _described(draft: MapBuilder, written: str, field: str, notes: Notes) -> None:
    """Joins the description of a topic to its row. A description of a topic that is not listed stays and is reported."""
    entry, there = draft.entries.get(written), draft.entries.get(field)
    if entry is None or not isinstance(entry.node, YamlMap) or there is None or not isinstance(there.node, YamlList):
        return
    said = dict(entry.node.entries)
    rows = tuple(_joined(row, said, notes) for row in there.node.items)
    draft.entries[field] = there._replace(node=YamlList(rows, there.node.place))
    notes.wrapped(entry.key)
    for topic, described in said.items():
        message = f"{topic!r} is described here, but is not in {field}"
        notes.warn(described.key.place, "topic_not_listed", message, f"add it to {field}, or remove this")
    draft.leave(written, said)


def _joined(row: YamlNode, said: dict[str, YamlEntry], notes: Notes) -> YamlNode:
    """The topic with what is said of it, which is taken out of ``said``."""
    described = said.get(text_of(row.get("topic"))) if isinstance(row, YamlMap) else None
    if described is None or not isinstance(row, YamlMap) or not isinstance(described.node, YamlMap):
        return row
    del said[str(described.key.value)]
    notes.wrapped(described.key)
    inside = _topic(described.node, notes)
    more = inside.entries if isinstance(inside, YamlMap) else {}
    named = ("topic", "by_event_type")
    return YamlMap({**{name: one for name, one in more.items() if name not in named}, **row.entries}, row.place)
