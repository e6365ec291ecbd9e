"""What a reducer of others may emit, in all spellings: rows of ``{name, type, target, payload}``."""

from __future__ import annotations

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .draft import KeyTable, MapBuilder, Notes, each, made, text_of

INTENT = KeyTable(
    names={
        "intent": "name",
        "intent_name": "name",
        "intent_type": "type",
        "kind": "type",
        "target_pattern": "target",
        "target_topic": "target",
        "destination": "target",
        "payload_model": "payload",
        "model": "payload",
        "payload_type": "payload",
        "purpose": "description",
        "delivery_guarantee": "delivery",
    },
)
HOLDERS = ("intent_emission", "emitted_intents", "intent_types")
"""Other keys under which intents stand, as a list, or as ``intents`` within."""


def intents(draft: MapBuilder, notes: Notes) -> None:
    for holder in HOLDERS:
        entry = draft.entries.get(holder)
        if entry is None or "intents" in draft:
            continue
        if isinstance(entry.node, YamlList):
            draft.put("intents", draft.take(holder))
        elif isinstance(entry.node, YamlMap) and isinstance(entry.node.get("intents"), YamlList):
            notes.wrapped(entry.key)
            draft.put("intents", entry.node.entries["intents"])
            rest = {name: one for name, one in entry.node.entries.items() if name != "intents"}
            draft.entries[holder] = entry._replace(node=YamlMap(rest, entry.node.place))
    if "intents" in draft:
        entry = draft.entries["intents"]
        draft.entries["intents"] = entry._replace(node=each(intent, key="name", word="name")(entry.node, notes))


def intent(node: YamlNode, notes: Notes) -> YamlNode:
    """One that has only a type is called by it, and the other way round. A priority that is a number is a rank."""
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(INTENT.applied(node, notes))
    for one, other in (("name", "type"), ("type", "name")):
        if one not in draft and text_of(draft.node(other)):
            draft.put(one, made(one, draft.entries[other].node))
    rank = draft.node("priority")
    if isinstance(rank, YamlScalar) and not text_of(rank):
        draft.put("rank", draft.take("priority"))
    payload = draft.entries.get("payload")
    if payload is not None and isinstance(payload.node, YamlMap):
        draft.put("payload_fields", YamlEntry(payload.key, payload.node))
        draft.entries.pop("payload")
    return draft.branch()
