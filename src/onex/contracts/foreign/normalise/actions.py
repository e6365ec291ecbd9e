"""What a machine does on entering, leaving or passing, in all spellings: rows of ``{action_name, ...}``."""

from __future__ import annotations

from ...text.tree import Branch, Entry, Leaf, Node, Row
from .draft import Notes, Spelling, made, text, text_of
from .version import version

ACTION = Spelling(
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


def actions(node: Node, notes: Notes) -> Node:
    """``null`` is none; one text or mapping is a row of one; ``{emit: x}`` is the action ``x`` of type ``emit``."""
    if isinstance(node, Leaf) and node.value is None:
        return Row((), node.place)
    items = node.items if isinstance(node, Row) else (node,)
    return Row(tuple(_action(item, notes) for item in items), node.place)


def _action(item: Node, notes: Notes) -> Node:
    if isinstance(item, Leaf) and isinstance(item.value, str):
        return Branch({"action_name": made("action_name", item)}, item.place)
    if not isinstance(item, Branch):
        return item
    branch = ACTION.applied(item, notes)
    if "action_name" in branch.entries:
        return branch
    if "action_type" in branch.entries and text_of(branch.get("action_type")):
        return Branch(
            {**branch.entries, "action_name": made("action_name", branch.entries["action_type"].node)}, item.place
        )
    if len(item.entries) == 1:
        ((name, entry),) = item.entries.items()
        kind = made("action_type", Leaf(name, entry.key.place))
        if text_of(entry.node):
            return Branch({"action_name": Entry(entry.key, entry.node), "action_type": kind}, item.place)
        own = Entry(entry.key, Leaf(name, entry.key.place))
        return Branch({"action_name": own, "action_config": made("action_config", entry.node)}, item.place)
    return branch
