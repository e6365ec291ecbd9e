"""Guards and actions in all spellings: guards become rows of ``{expression, ...}``, actions rows of ``{action_name, ...}``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .draft import KeyTable, Notes, aliases, made, text, text_of, version

CONDITION = KeyTable(
    names=aliases(
        expression="condition expr guard check rule when",
        condition_name="name",
        condition_type="type",
        error_message="message",
    ),
    shapes={"version": version, "condition_name": text},
)

OPERATORS: Mapping[str, str] = {
    "eq": "==",
    "=": "==",
    "is": "==",
    "ne": "!=",
    "neq": "!=",
    "gt": ">",
    "gte": ">=",
    "ge": ">=",
    "lt": "<",
    "lte": "<=",
    "le": "<=",
    "one_of": "in",
    "not in": "not_in",
    "regex": "matches",
    "is_present": "exists",
    "is_not_present": "not_exists",
}
"""Operators that mean one of promise 13's, in conditions written as ``{field, operator, value}``."""

_PLAIN = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_NAMED_ONLY = ("condition_name", "description")
_ALL = ("all", "and", "all_of")


def conditions(node: YamlNode, notes: Notes) -> YamlNode:
    """A row of conditions, all of which must hold; ``null`` is none."""
    if isinstance(node, YamlScalar) and node.value is None:
        return YamlList((), node.place)
    items = node.items if isinstance(node, YamlList) else (node,)
    return YamlList(tuple(one for item in items for one in _each(item, notes)), node.place)


def _each(item: YamlNode, notes: Notes, key: YamlScalar | None = None) -> Iterator[YamlNode]:
    """``key`` is that of the group in which ``item`` stands. ``true`` and ``false`` are CEL as they are."""
    if isinstance(item, YamlScalar) and isinstance(item.value, bool):
        item = YamlScalar("true" if item.value else "false", item.place, item.text_at)
    if isinstance(item, YamlScalar) and isinstance(item.value, str):
        yield YamlMap({"expression": YamlEntry(key, item) if key else made("expression", item)}, item.place)
    elif isinstance(item, YamlMap):
        group = next((name for name in _ALL if name in item.entries), "")
        if group and len(item.entries) == 1:
            entry = item.entries[group]
            notes.wrapped(entry.key)
            for inner in entry.node.items if isinstance(entry.node, YamlList) else (entry.node,):
                yield from _each(inner, notes, entry.key)
        else:
            yield from _condition(item, notes)
    else:
        message = "this condition is no text and no mapping with an expression"
        notes.error(item.place, "guard_syntax", message, "write `field operator value`, or CEL over payload and state")


def _condition(item: YamlMap, notes: Notes) -> Iterator[YamlMap]:
    branch = CONDITION.applied(item, notes)
    if "expression" in branch.entries:
        yield branch
        return
    entries = dict(branch.entries)
    parts = [entries.get(name) for name in ("field", "operator", "value")]
    if parts[0] is not None and parts[1] is not None and text_of(parts[0].node) and text_of(parts[1].node):
        for name in ("field", "operator", "value"):
            entries.pop(name, None)
        entries["expression"] = _comparison(parts[0], parts[1], parts[2], notes)
        yield YamlMap(entries, item.place)
        return
    name = next((name for name in _NAMED_ONLY if name in entries and text_of(entries[name].node)), "")
    if name:
        # a name alone would call a function that does not exist here: the check of the guard reports it at its place
        entries["expression"] = made("expression", entries[name].node)
        yield YamlMap(entries, item.place)
        return
    fix = "add expression: `field operator value`, or CEL over payload and state"
    notes.error(item.place, "guard_syntax", "this condition has no expression", fix)


def _comparison(field: YamlEntry, operator: YamlEntry, value: YamlEntry | None, notes: Notes) -> YamlEntry:
    """``{field: a, operator: eq, value: 1}`` is ``a == 1``."""
    word = text_of(operator.node)
    sign = OPERATORS.get(word.lower(), word)
    if sign in ("exists", "not_exists") and sign != word:
        notes.warn(operator.node.place, "old_spelling", f"{word!r} is an old spelling of {sign}", f"write {sign}")
    for entry in (operator, value):
        if entry is not None:
            notes.joined(entry.key, field.key)
    literal = "true" if value is None else _value(value.node, sign)
    return YamlEntry(field.key, YamlScalar(f"{text_of(field.node)} {sign} {literal}", field.node.place))


def _value(node: YamlNode, sign: str) -> str:
    if isinstance(node, YamlList):
        return f"[{', '.join(_value(item, sign) for item in node.items)}]"
    value = node.value if isinstance(node, YamlScalar) else "?"
    if isinstance(value, str) and (sign in ("in", "not_in") or _PLAIN.fullmatch(value)) and value not in _SWITCHES:
        return value
    return json.dumps(value, ensure_ascii=False)


_SWITCHES = ("true", "false", "null", "yes", "no", "on", "off")

ACTION = KeyTable(
    names=aliases(
        action_name="action name intent function",
        action_type="type kind",
        is_critical="critical",
        execution_order="order",
        action_config="config params parameters payload",
        timeout_ms="timeout",
    ),
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
