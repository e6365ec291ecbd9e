"""What a node does, in all spellings: operations, actions, capabilities, effects, pipelines, and the intents it may emit."""

from __future__ import annotations

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .behaviour import BREAKER, RETRY
from .draft import Blocks, KeyTable, MapBuilder, Notes, aliases, each, made, text, text_of, texts, version
from .references import reference

FIELD = KeyTable(names=aliases(name="field field_name", description="desc"), shapes={"type": text})


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
    names=aliases(
        name="operation operation_name id",
        input_fields="inputs input parameters",
        output_fields="outputs output returns",
        timeout_ms="timeout_seconds timeout_s",
        operation_type="type",
        input_model="request_model",
        output_model="response_model",
        output_topic="publishes",
    ),
    shapes={
        "name": text,
        "version": version,
        "input_fields": fields,
        "output_fields": fields,
        "input_model": reference,
        "output_model": reference,
    },
)


def operation(node: YamlNode, notes: Notes) -> YamlNode:
    """Without a name, the type is the name."""
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(OPERATION.applied(node, notes))
    if "name" not in draft:
        draft.put("name", draft.take("operation_type"))
    return draft.branch()


CAPABILITY = KeyTable(
    names=aliases(name="capability capability_name"),
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
    names=aliases(
        handler_type="type",
        url_template="url",
        body_template="body",
        file_path_template="path file_path",
        query_template="query",
        payload_template="payload",
        partition_key_template="partition_key",
        connection_name="connection",
        timeout_ms="timeout_seconds",
    ),
    shapes={"mode": text},
)
EFFECT_OPERATION = KeyTable(
    names=aliases(
        operation_name="name operation",
        operation_version="version",
        io_config="io",
        retry_policy="retry",
        response_handling="response",
        operation_timeout_ms="timeout_ms",
    ),
    shapes={"operation_version": version, "io_config": IO_CONFIG, "retry_policy": RETRY, "circuit_breaker": BREAKER},
)
EFFECT = KeyTable(
    names=aliases(
        subcontract_name="name",
        default_retry_policy="retry_policy",
        default_circuit_breaker="circuit_breaker",
        transaction="transaction_config",
        execution_mode="mode",
    ),
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


FACTOR = KeyTable(names=aliases(calculation_method="method", parameters="params"))


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
    names=aliases(algorithm_type="type name", parameters="params", factors="weights"),
    shapes={"factors": factors, "algorithm_type": text},
)


def algorithm(node: YamlNode, notes: Notes) -> YamlNode:
    """A bare word is the algorithm's type."""
    return ALGORITHM(
        YamlMap({"algorithm_type": made("algorithm_type", node)}, node.place) if text_of(node) else node, notes
    )


STEP = KeyTable(
    names=aliases(step_name="name step id", step_type="type", transformation_config="config"),
)
COMPUTE = KeyTable(
    names=aliases(
        operation_name="name", pipeline="steps", input_schema_ref="input_schema", output_schema_ref="output_schema"
    ),
    shapes={
        "version": version,
        "operation_version": version,
        "pipeline": each(STEP, key="step_name", word="step_name"),
    },
)
KAFKA = KeyTable(
    names=aliases(intent_topic="topic", envelope_format="envelope", retry_policy="retry", consumer_group="group_id"),
    shapes={"retry_policy": RETRY},
)
BLOCKS: Blocks = {
    "io_operations": (("io_operation",), each(operation, key="name", word="name")),
    "operations": (("supported_operations",), each(operation, key="name", word="name")),
    "actions": ((), each(operation, key="name", word="name")),
    "capabilities": (("capability_outputs",), capabilities),
    "effect_operations": (("effect", "effects"), effect),
    "compute": (("compute_pipeline", "compute_operations"), COMPUTE),
    "algorithm": (("algorithm_config",), algorithm),
    "kafka_config": (("kafka",), KAFKA),
}


def operations(draft: MapBuilder, notes: Notes) -> None:
    draft.blocks(BLOCKS, notes)


INTENT = KeyTable(
    names=aliases(
        name="intent intent_name",
        type="intent_type kind",
        target="target_pattern target_topic destination",
        payload="payload_model model payload_type",
        description="purpose",
        delivery="delivery_guarantee",
    ),
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
    """Name and type default to each other. A priority that is a number becomes ``rank``."""
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
