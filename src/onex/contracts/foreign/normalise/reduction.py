"""How a reducer of others aggregates, windows, streams and keeps its state: all spellings, as tables."""

from __future__ import annotations

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .draft import KeyTable, MapBuilder, Notes, each, texts, words
from .version import version

SECONDS = 1000

WINDOWING = KeyTable(
    names={
        "type": "window_type",
        "size_ms": "window_size_ms",
        "window_size_seconds": "window_size_ms",
        "size_seconds": "window_size_ms",
        "slide_ms": "window_slide_ms",
        "slide_seconds": "window_slide_ms",
        "trigger": "window_trigger",
        "allowed_lateness_seconds": "allowed_lateness_ms",
        "late_arrival_tolerance_ms": "allowed_lateness_ms",
        "watermark": "watermark_strategy",
    },
    scale={
        "window_size_seconds": SECONDS,
        "size_seconds": SECONDS,
        "slide_seconds": SECONDS,
        "allowed_lateness_seconds": SECONDS,
    },
)
FUNCTION = KeyTable(
    names={
        "name": "function_name",
        "function": "function_name",
        "type": "function_type",
        "field": "input_fields",
        "input_field": "input_fields",
        "fields": "input_fields",
        "output": "output_field",
        "associative": "is_associative",
        "commutative": "is_commutative",
    },
    shapes={"input_fields": words},
)
GROUPING = KeyTable(
    names={"fields": "grouping_fields", "group_by": "grouping_fields", "strategy": "grouping_strategy"},
    shapes={"grouping_fields": words},
)
AGGREGATION = KeyTable(
    names={
        "name": "subcontract_name",
        "functions": "aggregation_functions",
        "function": "aggregation_functions",
        "mode": "aggregation_mode",
        "type": "aggregation_type",
        "types": "supported_types",
        "aggregation_types": "supported_types",
        "aggregation_strategies": "strategies",
        "group_by": "grouping",
        "window": "windowing",
        "null_handling": "null_handling_strategy",
        "tracked_metrics": "metrics",
    },
    shapes={
        "version": version,
        "subcontract_version": version,
        "supported_types": words,
        "function_definitions": each(FUNCTION, key="function_name"),
        "windowing": WINDOWING,
    },
)
STREAMING = KeyTable(
    names={
        "streaming_enabled": "enabled",
        "streaming_mode": "mode",
        "max_buffer_size": "buffer_size",
        "window_size_seconds": "window_size_ms",
        "on_full": "backpressure_strategy",
        "guarantee": "delivery_guarantee",
        "delivery_semantics": "delivery_guarantee",
        "processing_guarantee": "delivery_guarantee",
        "late_arrival_tolerance_seconds": "late_arrival_tolerance_ms",
        "checkpoint_interval_seconds": "checkpoint_interval_ms",
        "snapshot_interval_seconds": "snapshot_interval_ms",
        "window": "windowing",
    },
    shapes={"version": version, "subcontract_version": version, "windowing": WINDOWING},
    scale={
        "window_size_seconds": SECONDS,
        "late_arrival_tolerance_seconds": SECONDS,
        "checkpoint_interval_seconds": SECONDS,
        "snapshot_interval_seconds": SECONDS,
    },
)
STATE_OPERATION = KeyTable(names={"name": "operation_name", "operation": "operation_name"})
STATE = KeyTable(
    names={
        "name": "subcontract_name",
        "scope": "state_scope",
        "lifecycle": "state_lifecycle",
        "backend": "persistence_backend",
        "storage": "persistence_backend",
        "storage_backend": "persistence_backend",
        "persistence_type": "persistence_backend",
        "serialization": "state_serialization",
        "conflict_strategy": "conflict_resolution",
        "locking": "locking_strategy",
        "validation": "validation_rules",
        "cache": "caching",
    },
    shapes={
        "version": version,
        "subcontract_version": version,
        "operations": each(STATE_OPERATION, key="operation_name", word="operation_name"),
    },
)
REDUCTION = KeyTable(
    names={
        "name": "operation_type",
        "operation": "operation_type",
        "type": "operation_type",
        "aggregation_method": "reduction_function",
        "function": "reduction_function",
        "is_associative": "associative",
        "is_commutative": "commutative",
        "initial_value": "identity_element",
    },
)


def reduction(node: YamlNode, notes: Notes) -> YamlNode:
    """One that gives only its function is called by it."""
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(REDUCTION.applied(node, notes))
    if "operation_type" not in draft:
        draft.put("operation_type", draft.take("reduction_function"))
    return draft.branch()


CONFLICT = KeyTable(
    names={"resolution_strategy": "strategy", "conflict_resolution_strategy": "strategy", "type": "strategy"},
    shapes={"retry_conditions": words},
)
MEMORY = KeyTable(names={"memory_limit_mb": "max_memory_mb"})


def aggregated(node: YamlNode, notes: Notes) -> YamlNode:
    """Functions may be words or blocks, grouping one or more fields; windows may stand in the block itself."""
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(AGGREGATION.applied(node, notes))
    told = draft.entries.get("aggregation_functions")
    if (
        told is not None
        and isinstance(told.node, YamlList)
        and any(isinstance(one, YamlMap) for one in told.node.items)
    ):
        blocks = each(FUNCTION, word="function_name")(told.node, notes)
        draft.put("function_definitions", YamlEntry(told.key, blocks))
        draft.entries.pop("aggregation_functions")
    elif told is not None and isinstance(told.node, YamlMap):
        draft.entries.pop("aggregation_functions")
        draft.put("function_definitions", YamlEntry(told.key, each(FUNCTION, key="function_name")(told.node, notes)))
    elif told is not None:
        draft.entries["aggregation_functions"] = YamlEntry(told.key, texts(told.node, notes))
    grouping = draft.entries.get("grouping")
    if grouping is not None and isinstance(grouping.node, YamlMap):
        draft.entries["grouping"] = grouping._replace(node=GROUPING.applied(grouping.node, notes))
    elif grouping is not None:
        fields = YamlEntry(YamlScalar("grouping_fields", grouping.node.place), texts(grouping.node, notes))
        draft.entries["grouping"] = grouping._replace(node=YamlMap({"grouping_fields": fields}, grouping.node.place))
    loose = [name for name in draft.entries if name in _WINDOW]
    if loose and "windowing" not in draft:
        inside = YamlMap({name: draft.entries.pop(name) for name in loose}, draft.place)
        draft.make("windowing", WINDOWING.applied(inside, notes))
    return draft.branch()


_WINDOW = ("window_type", "window_size_ms", "window_size_seconds", "window_slide_ms", "allowed_lateness_ms")
