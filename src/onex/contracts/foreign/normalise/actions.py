"""What a machine does on entering, leaving or passing, in all spellings: rows of ``{action_name, ...}``."""

from __future__ import annotations

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .draft import KeyTable, Notes, made, text, text_of
from .version import version

ACTION = KeyTable(
    names={
        "action": "action_name",
        "name": "action_name",
        "intent": "action_name",
        "function": "action_name",
        "type": "action_type",
        "kind": "action_type",
        "critical": "is_critical",
        "order": "execution_order",
        "config": "action_config",
        "params": "action_config",
        "parameters": "action_config",
        "payload": "action_config",
        "timeout": "timeout_ms",
    },
    shapes={"version": version, "action_name": text},
)


def actions(node: YamlNode, notes: Notes) -> YamlNode:
    """``null`` is none; one text or mapping is a row of one; ``{emit: x}`` is the action ``x`` of type ``emit``."""
    if isinstance(node, YamlScalar) and node.value is None:
        return YamlList((), node.place)
    items = node.items if isinstance(node, YamlList) else (node,)
    return YamlList(tuple(_action(item, notes) for item in items), node.place)


def _action(item: YamlNode, notes: Notes) -> YamlNode:
    if isinstance(item, YamlScalar) and isinstance(item.value, str):
        return YamlMap({"action_name": made("action_name", item)}, item.place)
    if not isinstance(item, YamlMap):
        return item
    branch = ACTION.applied(item, notes)
    if "action_name" in branch.entries:
        return branch
    if "action_type" in branch.entries and text_of(branch.get("action_type")):
        return YamlMap(
            {**branch.entries, "action_name": made("action_name", branch.entries["action_type"].node)}, item.place
        )
    if len(item.entries) == 1:
        ((name, entry),) = item.entries.items()
        kind = made("action_type", YamlScalar(name, entry.key.place))
        if text_of(entry.node):
            return YamlMap({"action_name": YamlEntry(entry.key, entry.node), "action_type": kind}, item.place)
        own = YamlEntry(entry.key, YamlScalar(name, entry.key.place))
        return YamlMap({"action_name": own, "action_config": made("action_config", entry.node)}, item.place)
    return branch
