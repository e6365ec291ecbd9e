"""``subcontracts: {fsm: {..}, aggregation: {..}}`` holds blocks of the contract; a list of files is left as it is."""

from __future__ import annotations

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap
from .draft import MapBuilder, Notes

KNOWN = {
    "fsm": "state_machine",
    "state_machine": "state_machine",
    "effect": "effect_operations",
    "effect_operations": "effect_operations",
    "aggregation": "aggregation",
    "state_management": "state_management",
    "streaming": "streaming",
    "retry": "retry_policy",
    "circuit_breaker": "circuit_breaker",
    "health_check": "health_check",
    "error_handling": "error_handling",
    "workflow_coordination": "workflow_coordination",
    "workflow": "workflow_coordination",
    "event_bus": "event_bus",
    "handler_routing": "handler_routing",
    "event_type": "event_type",
    "caching": "caching",
    "compute": "compute",
    "lifecycle": "lifecycle",
    "security": "security",
    "dependencies": "dependencies",
    "performance": "performance",
    "intent_publisher": "intent_publisher",
    "configuration": "configuration",
}
"""Name within ``subcontracts``: the block of the contract it is."""


def subcontracts(draft: MapBuilder, notes: Notes) -> None:
    entry = draft.entries.get("subcontracts")
    if entry is not None and isinstance(entry.node, YamlMap):
        rest: dict[str, YamlEntry] = {}
        for name, one in entry.node.entries.items():
            field = KNOWN.get(name.removesuffix("_subcontract"))
            if field is not None and isinstance(one.node, YamlMap | YamlList) and field not in draft:
                draft.put(field, one)
            else:
                rest[name] = one
        if len(rest) < len(entry.node.entries):
            notes.wrapped(entry.key)
            draft.entries.pop("subcontracts")
            if rest:
                draft.entries["subcontracts"] = entry._replace(node=YamlMap(rest, entry.node.place))
    _publisher(draft, notes)


def _publisher(draft: MapBuilder, notes: Notes) -> None:
    """``intent_publisher: {capabilities, kafka_config, mixin}``: its parts are the contract's."""
    entry = draft.entries.get("intent_publisher")
    if entry is None or not isinstance(entry.node, YamlMap):
        return
    moved = {name: one for name, one in entry.node.entries.items() if name in PARTS and name not in draft}
    if not moved:
        return
    notes.wrapped(entry.key)
    for name, one in moved.items():
        draft.put(name, one)
    draft.entries.pop("intent_publisher")
    rest = {name: one for name, one in entry.node.entries.items() if name not in moved}
    if rest:
        draft.entries["intent_publisher"] = entry._replace(node=YamlMap(rest, entry.node.place))


PARTS = ("capabilities", "kafka_config", "mixin")
