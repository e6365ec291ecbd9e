"""What a row of ``event_bus`` leaves out, and the target and the intent that a published topic stands for.

Filled in before anything else reads the contract, like ``implied_names``:

- A row without ``topic`` gets its event type there, and ``by_event_type``: the engine's scheme makes a topic of it.
- A row of ``publish_topics`` becomes a target with the block ``topic`` and an intent without outcomes, both at its place. So what
  is published goes the way of every intent: stored with its step, sent until it is on the bus, dead where that cannot be.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from ..kernel.intent import EnumIntentType
from .text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar, located, node_at

BUS, CONSUMED, PUBLISHED = "event_bus", "subscribe_topics", "publish_topics"


def target_of(event: str) -> str:
    """The target that publishes an event."""
    return f"event:{event}"


def with_event_rows(tree: YamlMap) -> YamlMap:
    """The tree with these entries in it; ``tree`` itself where it has no ``event_bus``."""
    bus = tree.get(BUS)
    if not isinstance(bus, YamlMap):
        return tree
    entries = dict(bus.entries)
    for name in (CONSUMED, PUBLISHED):
        rows = bus.get(name)
        if isinstance(rows, YamlList):
            named = YamlList(tuple(_named(row) for row in rows.items), rows.place)
            entries[name] = entries[name]._replace(node=named)
    bus = YamlMap(entries, bus.place)
    tree = YamlMap({**tree.entries, BUS: tree.entries[BUS]._replace(node=bus)}, tree.place)
    needs_bus = node_at(bus, ("required",))
    targets: dict[str, YamlEntry] = {}
    intents: list[YamlNode] = []
    said_before = node_at(tree, ("targets",))
    for event, row in _published(bus):
        if isinstance(said_before, YamlMap) and target_of(event) in said_before.entries:
            continue  # a contract that was written out with what its rows stand for
        block: dict[str, JsonValue] = {} if "by_event_type" in row.entries else {"name": _text(row, "topic")}
        if isinstance(needs_bus, YamlScalar) and needs_bus.value is False:
            block["required"] = False
        target = target_of(event)
        targets[target] = YamlEntry(YamlScalar(target, row.place), located({"topic": block}, row.place))
        call: dict[str, JsonValue] = {"event_type": event}
        if key := _text(row, "key"):
            call["key"] = key
        said: dict[str, JsonValue] = {
            "name": event, "type": EnumIntentType.MESSAGE_PUBLISH, "target": target, "topic": call
        }  # fmt: skip
        made = located(said, row.place)
        if isinstance(made, YamlMap) and "payload" in row.entries:  # keeps its own place
            made = YamlMap({**made.entries, "payload": row.entries["payload"]}, row.place)
        intents.append(made)
    if not intents:
        return tree
    return _with_rows(tree, targets, intents)


def _with_rows(tree: YamlMap, targets: dict[str, YamlEntry], intents: list[YamlNode]) -> YamlMap:
    """A list or mapping of a wrong type stays as it is: it has a finding of its own."""
    entries = dict(tree.entries)
    there, before = tree.get("targets"), tree.get("intents")
    if there is None or isinstance(there, YamlMap):
        given = {} if there is None else dict(there.entries)
        entries["targets"] = _entry(tree, "targets", YamlMap({**given, **targets}, (there or tree).place))
    if before is None or isinstance(before, YamlList):
        items = () if before is None else before.items
        entries["intents"] = _entry(tree, "intents", YamlList((*items, *intents), (before or tree).place))
    return YamlMap(entries, tree.place)


def _entry(tree: YamlMap, key: str, node: YamlNode) -> YamlEntry:
    there = tree.entries.get(key)
    return YamlEntry(YamlScalar(key, tree.place), node) if there is None else there._replace(node=node)


def _named(row: YamlNode) -> YamlNode:
    if not isinstance(row, YamlMap) or "topic" in row.entries or not _text(row, "event_type"):
        return row
    event = row.entries["event_type"].node
    made = {
        "topic": YamlEntry(YamlScalar("topic", event.place), event),
        "by_event_type": YamlEntry(YamlScalar("by_event_type", event.place), YamlScalar(True, event.place)),
    }
    return YamlMap({**row.entries, **made}, row.place)


def _published(bus: YamlMap) -> Iterator[tuple[str, YamlMap]]:
    rows = bus.get(PUBLISHED)
    for row in rows.items if isinstance(rows, YamlList) else ():
        if isinstance(row, YamlMap) and (event := _text(row, "event_type")):
            yield event, row


def _text(row: YamlMap, key: str) -> str:
    leaf = row.get(key)
    return leaf.value if isinstance(leaf, YamlScalar) and isinstance(leaf.value, str) else ""
