"""What a node can be asked for and what it calls: operations, actions, capabilities, effects and pipelines, all spellings."""

from __future__ import annotations

from collections.abc import Mapping

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .behaviour import BREAKER, RETRY
from .draft import KeyTable, MapBuilder, Notes, ToShape, each, made, text, text_of, texts
from .reduction import SECONDS
from .references import reference
from .version import version

FIELD = KeyTable(names={"field": "name", "field_name": "name", "desc": "description"}, shapes={"type": text})


def fields(node: YamlNode, notes: Notes) -> YamlNode:
    """``[a, b]``, ``[{name, type}]``, or a mapping by name: ``{a: str, b: {type: str}}``."""
    if not isinstance(node, YamlMap):
        return each(FIELD, word="name")(node, notes)
    return YamlList(tuple(_field(entry, notes) for entry in node.entries.values()), node.place)


def _field(entry: YamlEntry, notes: Notes) -> YamlNode:
    own = YamlEntry(entry.key, YamlScalar(entry.key.value, entry.key.place))
    if isinstance(entry.node, YamlMap) and "name" not in entry.node.entries:
        return FIELD.applied(YamlMap({"name": own, **entry.node.entries}, entry.key.place), notes)
    if isinstance(entry.node, YamlScalar) and entry.node.value is None:
        return YamlMap({"name": own}, entry.key.place)
    return YamlMap({"name": own, "type": made("type", text(entry.node, notes))}, entry.key.place)


OPERATION = KeyTable(
    names={
        "operation": "name",
        "operation_name": "name",
        "id": "name",
        "inputs": "input_fields",
        "input": "input_fields",
        "parameters": "input_fields",
        "outputs": "output_fields",
        "output": "output_fields",
        "returns": "output_fields",
        "timeout_seconds": "timeout_ms",
        "timeout_s": "timeout_ms",
        "type": "operation_type",
        "request_model": "input_model",
        "response_model": "output_model",
        "publishes": "output_topic",
    },
    shapes={
        "name": text,
        "version": version,
        "input_fields": fields,
        "output_fields": fields,
        "input_model": reference,
        "output_model": reference,
    },
    scale={"timeout_seconds": SECONDS, "timeout_s": SECONDS},
)


def operation(node: YamlNode, notes: Notes) -> YamlNode:
    """An operation that gives only its type is called by it."""
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(OPERATION.applied(node, notes))
    if "name" not in draft:
        draft.put("name", draft.take("operation_type"))
    return draft.branch()


CAPABILITY = KeyTable(
    names={"capability": "name", "capability_name": "name"},
    shapes={"version": version, "operations": texts, "input_types": texts, "output_types": texts},
)


def capabilities(node: YamlNode, notes: Notes) -> YamlNode:
    """``{NAME: [operation, ..]}`` as well."""
    if isinstance(node, YamlMap) and all(isinstance(one.node, YamlList) for one in node.entries.values()):
        rows = [
            {
                "name": YamlEntry(one.key, YamlScalar(name, one.key.place)),
                "operations": made("operations", texts(one.node, notes)),
            }
            for name, one in node.entries.items()
        ]
        return YamlList(tuple(YamlMap(row, node.place) for row in rows), node.place)
    return each(CAPABILITY, key="name", word="name")(node, notes)


IO_CONFIG = KeyTable(
    names={
        "type": "handler_type",
        "url": "url_template",
        "body": "body_template",
        "path": "file_path_template",
        "file_path": "file_path_template",
        "query": "query_template",
        "payload": "payload_template",
        "partition_key": "partition_key_template",
        "connection": "connection_name",
        "timeout_seconds": "timeout_ms",
    },
    shapes={"mode": text},
    scale={"timeout_seconds": SECONDS},
)
EFFECT_OPERATION = KeyTable(
    names={
        "name": "operation_name",
        "operation": "operation_name",
        "version": "operation_version",
        "io": "io_config",
        "retry": "retry_policy",
        "response": "response_handling",
        "timeout_ms": "operation_timeout_ms",
    },
    shapes={"operation_version": version, "io_config": IO_CONFIG, "retry_policy": RETRY, "circuit_breaker": BREAKER},
)
EFFECT = KeyTable(
    names={
        "name": "subcontract_name",
        "retry_policy": "default_retry_policy",
        "circuit_breaker": "default_circuit_breaker",
        "transaction_config": "transaction",
        "mode": "execution_mode",
    },
    shapes={
        "version": version,
        "subcontract_version": version,
        "operations": each(EFFECT_OPERATION, key="operation_name"),
        "default_retry_policy": RETRY,
        "default_circuit_breaker": BREAKER,
    },
)
_OF_ONE = (
    "operation_name",
    "operation_version",
    "io_config",
    "response_handling",
    "operation_timeout_ms",
    "idempotent",
)


def effect(node: YamlNode, notes: Notes) -> YamlNode:
    """An effect that is one operation becomes a list of one; a bare list is its operations."""
    if isinstance(node, YamlList):
        node = YamlMap({"operations": made("operations", node)}, node.place)
    if not isinstance(node, YamlMap):
        return node
    if "operations" in node.entries or "io_config" not in node.entries:
        return EFFECT.applied(node, notes)
    own = (*_OF_ONE, "retry_policy", "circuit_breaker")
    one = YamlMap({name: node.entries[name] for name in own if name in node.entries}, node.place)
    rest = {name: entry for name, entry in node.entries.items() if name not in own}
    rest["operations"] = made("operations", YamlList((one,), node.place))
    return EFFECT.applied(YamlMap(rest, node.place), notes)


FACTOR = KeyTable(names={"method": "calculation_method", "params": "parameters"})


def factors(node: YamlNode, notes: Notes) -> YamlNode:
    """``{name: {weight}}``; a bare number is the weight."""
    if not isinstance(node, YamlMap):
        return node
    entries = {}
    for name, entry in node.entries.items():
        if isinstance(entry.node, YamlScalar):
            entries[name] = entry._replace(node=YamlMap({"weight": made("weight", entry.node)}, entry.node.place))
        else:
            entries[name] = entry._replace(node=FACTOR(entry.node, notes))
    return YamlMap(entries, node.place)


ALGORITHM = KeyTable(
    names={"type": "algorithm_type", "name": "algorithm_type", "params": "parameters", "weights": "factors"},
    shapes={"factors": factors, "algorithm_type": text},
)
STEP = KeyTable(
    names={
        "name": "step_name",
        "step": "step_name",
        "id": "step_name",
        "type": "step_type",
        "config": "transformation_config",
    },
)
COMPUTE = KeyTable(
    names={
        "name": "operation_name",
        "steps": "pipeline",
        "input_schema": "input_schema_ref",
        "output_schema": "output_schema_ref",
    },
    shapes={
        "version": version,
        "operation_version": version,
        "pipeline": each(STEP, key="step_name", word="step_name"),
    },
)
KAFKA = KeyTable(
    names={
        "topic": "intent_topic",
        "envelope": "envelope_format",
        "retry": "retry_policy",
        "group_id": "consumer_group",
    },
    shapes={"retry_policy": RETRY},
)
BLOCKS: Mapping[str, tuple[tuple[str, ...], ToShape]] = {
    "io_operations": (("io_operation",), each(operation, key="name", word="name")),
    "operations": (("supported_operations",), each(operation, key="name", word="name")),
    "actions": ((), each(operation, key="name", word="name")),
    "capabilities": (("capability_outputs",), capabilities),
    "effect_operations": (("effect", "effects"), effect),
    "compute": (("compute_pipeline", "compute_operations"), COMPUTE),
    "algorithm": (("algorithm_config",), ALGORITHM),
    "kafka_config": (("kafka",), KAFKA),
}
"""Field: the other keys it stands under, and its shape."""


def operations(draft: MapBuilder, notes: Notes) -> None:
    for field, (others, shape) in BLOCKS.items():
        if field not in draft:
            draft.put(field, draft.take(*others))
        if field not in draft:
            continue
        entry = draft.entries[field]
        node = entry.node
        if field == "algorithm" and text_of(node):
            node = YamlMap({"algorithm_type": made("algorithm_type", node)}, node.place)
        draft.entries[field] = entry._replace(node=shape(node, notes))
