"""Names that a contract leaves out and a rule gives. They are filled in before anything else reads the contract.

- An intent without ``outcomes`` becomes ``NAME.succeeded``, ``NAME.failed`` and ``NAME.unknown``, where a transition has one of
  these triggers. Without such a transition nobody waits for its outcome (promise 24).
- A timer without ``trigger`` fires the trigger of its own name, where a transition has it.
- A state with ``timeout_ms`` and without ``on_timeout`` fires ``STATE.timeout``, where a transition has it.

So a contract that leaves them out is the same contract, with the same digest, as one that writes them. A name stands at the place
of the name it is made of: findings about it point there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..kernel.intent import EnumIntentType, EnumOutcome
from .text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar

TIMEOUT = "timeout"
IMPLIED = (*(str(outcome) for outcome in EnumOutcome), TIMEOUT)
"""What may stand behind the dot of a name by rule."""


def implied_outcome(intent: str, outcome: str) -> str:
    return f"{intent}.{outcome}"


def implied_timeout(state: str) -> str:
    return f"{state}.{TIMEOUT}"


def with_implied_names(tree: YamlMap) -> YamlMap:
    """The tree with these names in it; ``tree`` itself where there is none to fill in."""
    machine = tree.get("state_machine")
    if not isinstance(machine, YamlMap):
        return tree
    rows = machine.get("transitions")
    named = (row.get("trigger") for row in rows.items if isinstance(row, YamlMap)) if isinstance(rows, YamlList) else ()
    triggers = {leaf.value for leaf in named if isinstance(leaf, YamlScalar) and isinstance(leaf.value, str)}

    def intent(row: YamlMap, name: YamlScalar) -> YamlMap:
        kind = row.get("type")
        if isinstance(kind, YamlScalar) and kind.value == EnumIntentType.TIMER:
            return _added(row, "trigger", name) if "trigger" not in row.entries and name.value in triggers else row
        words = {str(outcome): implied_outcome(str(name.value), outcome) for outcome in EnumOutcome}
        if "outcomes" in row.entries or triggers.isdisjoint(words.values()):
            return row
        entries = {word: _entry(word, replace(name, value=trigger)) for word, trigger in words.items()}
        return _added(row, "outcomes", YamlMap(entries, name.place))

    def state(row: YamlMap, name: YamlScalar) -> YamlMap:
        trigger = implied_timeout(str(name.value))
        if "timeout_ms" not in row.entries or "on_timeout" in row.entries or trigger not in triggers:
            return row
        return _added(row, "on_timeout", replace(name, value=trigger))

    return _each(_put(tree, "state_machine", _each(machine, "states", state)), "intents", intent)


def _each(node: YamlMap, name: str, change: Callable[[YamlMap, YamlScalar], YamlMap]) -> YamlMap:
    """``node`` with each row of the list ``name`` changed; a row that has no name stays."""
    rows = node.get(name)
    if not isinstance(rows, YamlList):
        return node
    made: list[YamlNode] = []
    for row in rows.items:
        leaf = row.get("name") if isinstance(row, YamlMap) else None
        named = isinstance(leaf, YamlScalar) and isinstance(leaf.value, str)
        made.append(change(row, leaf) if isinstance(row, YamlMap) and isinstance(leaf, YamlScalar) and named else row)
    if all(new is old for new, old in zip(made, rows.items, strict=True)):
        return node
    return _put(node, name, YamlList(tuple(made), rows.place))


def _put(node: YamlMap, name: str, value: YamlNode) -> YamlMap:
    if node.get(name) is value:
        return node
    return YamlMap({**node.entries, name: node.entries[name]._replace(node=value)}, node.place)


def _added(row: YamlMap, key: str, value: YamlNode) -> YamlMap:
    return YamlMap({**row.entries, key: _entry(key, value)}, row.place)


def _entry(key: str, value: YamlNode) -> YamlEntry:
    return YamlEntry(YamlScalar(key, value.place), value)
