"""How a reducer of another engine aggregates, windows, streams and stores its state, in all spellings."""

from __future__ import annotations

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .draft import KeyTable, MapBuilder, Notes, aliases, each, texts, version, words

SECONDS = 1000

WINDOWING = KeyTable(
    names=aliases(
        window_type="type",
        window_size_ms="size_ms window_size_seconds size_seconds",
        window_slide_ms="slide_ms slide_seconds",
        window_trigger="trigger",
        allowed_lateness_ms="allowed_lateness_seconds late_arrival_tolerance_ms",
        watermark_strategy="watermark",
    ),
)
FUNCTION = KeyTable(
    names=aliases(
        function_name="name function",
        function_type="type",
        input_fields="field input_field fields",
        output_field="output",
        is_associative="associative",
        is_commutative="commutative",
    ),
    shapes={"input_fields": words},
)
GROUPING = KeyTable(
    names=aliases(grouping_fields="fields group_by", grouping_strategy="strategy"),
    shapes={"grouping_fields": words},
)
AGGREGATION = KeyTable(
    names=aliases(
        subcontract_name="name",
        aggregation_functions="functions function",
        aggregation_mode="mode",
        aggregation_type="type",
        supported_types="types aggregation_types",
        strategies="aggregation_strategies",
        grouping="group_by",
        windowing="window",
        null_handling_strategy="null_handling",
        metrics="tracked_metrics",
    ),
    shapes={
        "version": version,
        "subcontract_version": version,
        "supported_types": words,
        "function_definitions": each(FUNCTION, key="function_name"),
        "windowing": WINDOWING,
    },
)
STREAMING = KeyTable(
    names=aliases(
        enabled="streaming_enabled",
        mode="streaming_mode",
        buffer_size="max_buffer_size",
        window_size_ms="window_size_seconds",
        backpressure_strategy="on_full",
        delivery_guarantee="guarantee delivery_semantics processing_guarantee",
        late_arrival_tolerance_ms="late_arrival_tolerance_seconds",
        checkpoint_interval_ms="checkpoint_interval_seconds",
        snapshot_interval_ms="snapshot_interval_seconds",
        windowing="window",
    ),
    shapes={"version": version, "subcontract_version": version, "windowing": WINDOWING},
)
STATE_OPERATION = KeyTable(names=aliases(operation_name="name operation"))
STATE = KeyTable(
    names=aliases(
        subcontract_name="name",
        state_scope="scope",
        state_lifecycle="lifecycle",
        persistence_backend="backend storage storage_backend persistence_type",
        state_serialization="serialization",
        conflict_resolution="conflict_strategy",
        locking_strategy="locking",
        validation_rules="validation",
        caching="cache",
    ),
    shapes={
        "version": version,
        "subcontract_version": version,
        "operations": each(STATE_OPERATION, key="operation_name", word="operation_name"),
    },
)
REDUCTION = KeyTable(
    names=aliases(
        operation_type="name operation type",
        reduction_function="aggregation_method function",
        associative="is_associative",
        commutative="is_commutative",
        identity_element="initial_value",
    ),
)


def reduction(node: YamlNode, notes: Notes) -> YamlNode:
    """Without a type, the function is the type."""
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(REDUCTION.applied(node, notes))
    if "operation_type" not in draft:
        draft.put("operation_type", draft.take("reduction_function"))
    return draft.branch()


CONFLICT = KeyTable(
    names=aliases(strategy="resolution_strategy conflict_resolution_strategy type"),
    shapes={"retry_conditions": words},
)
MEMORY = KeyTable(names=aliases(max_memory_mb="memory_limit_mb"))


def aggregated(node: YamlNode, notes: Notes) -> YamlNode:
    """Functions may be words or blocks, grouping one or more fields; windows may stand in the block itself."""
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(AGGREGATION.applied(node, notes))
    functions = draft.entries.get("aggregation_functions")
    if (
        functions is not None
        and isinstance(functions.node, YamlList)
        and any(isinstance(one, YamlMap) for one in functions.node.items)
    ):
        blocks = each(FUNCTION, word="function_name")(functions.node, notes)
        draft.put("function_definitions", YamlEntry(functions.key, blocks))
        draft.entries.pop("aggregation_functions")
    elif functions is not None and isinstance(functions.node, YamlMap):
        draft.entries.pop("aggregation_functions")
        draft.put(
            "function_definitions", YamlEntry(functions.key, each(FUNCTION, key="function_name")(functions.node, notes))
        )
    elif functions is not None:
        draft.entries["aggregation_functions"] = YamlEntry(functions.key, texts(functions.node, notes))
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
