"""The JSON Schema of a contract, for editors. It is made from the typed kinds, so it agrees with the reader.

    a workflow of ours      every key that the engine runs by, nothing else
    any other contract      the normalised keys, for completion and hover; other spellings are read too, so nothing is refused

With it an editor completes keys, shows what they mean and who acts on them, and marks errors. ``onex check`` finds more: unknown
names, unreachable states, conditions that cannot be compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from ..load import RUN_BY
from ..model.contract import (
    ModelContractBase,
    ModelContractCompute,
    ModelContractEffect,
    ModelContractOrchestrator,
    ModelContractReducer,
    ModelContractWorkflow,
)
from ..model.key_usage import models_of
from ..model.part import Use, use_of
from ..model.payload_fields import unwrap

Schema: TypeAlias = dict[str, JsonValue]

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The draft that editors' YAML servers know."""
KINDS: Mapping[str, type[ModelContractBase]] = {
    "effect": ModelContractEffect,
    "compute": ModelContractCompute,
    "reducer": ModelContractReducer,
    "orchestrator": ModelContractOrchestrator,
}
_OURS, _ANY = "workflow", "contract"
EXAMPLES: Mapping[str, list[JsonValue]] = {
    "name": ["orders"],
    "node_type": ["REDUCER_GENERIC"],
    "contract_version": [{"major": 1, "minor": 0, "patch": 0}],
    "state_model": ["Order"],
    "initial_state": ["new"],
    "terminal_states": [["shipped", "cancelled"]],
    "from_state": ["new"],
    "to_state": ["shipped"],
    "trigger": ["ship"],
    "payload": ["Ship"],
    "timeout_ms": [60_000],
    "on_timeout": ["remind"],
    "expression": ["payload.items.size() > 0", "amount greater_than 0"],
    "type": ["api_call"],
    "target": ["bank"],
    "cron": ["30 2 * * MON-FRI"],
    "zone": ["Europe/Berlin"],
    "not_on": [["12-25", "2026-12-31/2027-01-02"]],
    "ModelSchedule.payload": [{"day": "{date}"}],
    "outcomes": [{"succeeded": "charged", "failed": "declined", "unknown": "in_doubt"}],
}
"""Examples of values in a workflow of ours, by key; by class and key where a key means another thing there."""
_ACTS = {
    "engine": "the engine runs by it",
    "check": "`onex check` judges it",
    "diff": "`onex diff` compares it",
    "doctor": "`onex doctor` follows it",
    "diagram": "`onex diagram` draws it",
    "docs": "it is prose",
}


def contract_schema() -> Schema:
    """The whole, with the same keys in the same order each time."""
    definitions: Schema = {}
    definitions.update(_definitions(ModelContractWorkflow, _OURS, "workflow.", is_ours=True))
    definitions.update(_definitions(ModelContractBase, _ANY, "", is_ours=False))
    choice: JsonValue = {"$ref": f"#/definitions/{_ANY}"}
    for kind, model in reversed([*KINDS.items()]):
        own = dict(_definitions(model, kind, "", is_ours=False))
        whole = own[kind]
        fields = whole["properties"] if isinstance(whole, dict) else None
        assert isinstance(whole, dict) and isinstance(fields, dict), "a model's schema has properties"
        more = {name: shape for name, shape in fields.items() if name not in ModelContractBase.model_fields}
        own[kind] = {**whole, "allOf": [{"$ref": f"#/definitions/{_ANY}"}], "properties": more}
        definitions.update(own)
        asked: Schema = {"properties": {"node_type": {"type": "string", "pattern": _any_case(kind)}}}
        choice = {"if": asked, "then": {"$ref": f"#/definitions/{kind}"}, "else": choice}
    made: Schema = {
        "$schema": DIALECT,
        "title": "ONEX contract",
        "description": "What a node or workflow is: its kind, its machine, what it subscribes to, publishes and emits.",
        "type": "object",
        "required": ["node_type"],
        "if": {
            "required": ["state_model"],
            "properties": {"node_type": {"enum": ["REDUCER_GENERIC", "REDUCER"]}},
        },
        "then": {"$ref": f"#/definitions/{_OURS}"},
        "else": choice,
    }
    return {**made, "definitions": _reached(made, definitions)}


def _reached(root: Schema, definitions: Schema) -> Schema:
    """The definitions that something refers to. Blocks whose keys were all left out are gone."""
    seen: dict[str, None] = {}
    waiting: list[JsonValue] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            waiting.extend(node.values())
            ref = node.get("$ref")
            name = ref.removeprefix("#/definitions/") if isinstance(ref, str) else ""
            if name in definitions and name not in seen:
                seen[name] = None
                waiting.append(definitions[name])
    return {name: definitions[name] for name in sorted(seen, key=lambda name: (name.partition(".")[1], name))}


def _any_case(kind: str) -> str:
    """Matches ``effect``, ``EFFECT``, ``EFFECT_GENERIC``. JSON Schema has no flag for it."""
    return "^" + "".join(f"[{letter}{letter.upper()}]" for letter in kind) + "(_GENERIC|_generic)?$"


def _definitions(
    model: type[ModelContractBase], name: str, prefix: str, *, is_ours: bool
) -> Iterator[tuple[str, JsonValue]]:
    """The model under ``name``, its parts under their own names with ``prefix``."""
    made = model.model_json_schema(ref_template=f"#/definitions/{prefix}{{model}}")
    parts = {part.__name__: part for part in _parts(model)}
    yield name, _block(made, model, is_ours=is_ours)
    for part, schema in made.pop("$defs", {}).items():
        yield f"{prefix}{part}", _block(schema, parts[part], is_ours=is_ours) if part in parts else schema


def _parts(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for field in model.model_fields.values():
        for part in models_of(field.annotation):
            yield part
            yield from _parts(part)


def _block(schema: Schema, model: type[BaseModel], *, is_ours: bool) -> Schema:
    """For ours only what the engine runs by. For others every key, and any value is valid."""
    given = schema.get("properties")
    fields: Schema = {}
    for name, shape in (given if isinstance(given, dict) else {}).items():
        use = use_of(model, name)
        if is_ours and not RUN_BY & set(use.by):
            continue
        own = shape if isinstance(shape, dict) else {}
        words = ". ".join(part for part in (str(own.get("description", "")), use_in_words(use)) if part)
        bare = {key: value for key, value in own.items() if key not in ("title", "description")}
        if "$ref" in bare:  # draft 7 ignores the keys beside a $ref
            bare["allOf"] = [{"$ref": bare.pop("$ref")}]
        examples = EXAMPLES.get(f"{model.__name__}.{name}", EXAMPLES.get(name))
        if is_ours and examples is not None:
            bare["examples"] = examples
        fields[name] = {"description": f"{words}.", **(bare if is_ours else {"anyOf": [bare, True]})}
    made: Schema = {"type": "object"} if is_ours else {}
    if model.__doc__:
        made["description"] = " ".join(model.__doc__.split()).replace("``", "`")
    made["properties"] = fields
    if is_ours:
        made["additionalProperties"] = False
        required = schema.get("required")
        made["required"] = [name for name in (required if isinstance(required, list) else []) if name in fields]
    return made


def use_in_words(use: Use) -> str:
    """Who acts on a field, as a sentence without a full stop."""
    if not use.by:
        return "Held: nobody acts on it"
    words = "; ".join(_ACTS[one] for one in use.by)
    return words[0].upper() + words[1:]


def type_in_words(field: FieldInfo) -> str:
    """The type of a field in a few words: ``text``, ``whole number``, ``list of mapping``."""
    return " or ".join(
        dict.fromkeys(_type_words(member) for member in unwrap(field.annotation) if member is not type(None))
    )


def _type_words(kind: object) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in get_args(kind))
    if origin is tuple:
        return f"list of {' or '.join(_type_words(one) for one in unwrap(get_args(kind)[0]))}"
    if origin is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return "mapping"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return " or ".join(f"`{one}`" for one in kind)
    return {str: "text", bool: "true or false", int: "whole number", float: "number"}.get(kind, "any value")  # type: ignore[call-overload, no-any-return]  # any object may be asked for
