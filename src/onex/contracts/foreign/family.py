"""Which family a contract belongs to, by the keys that it has (docs/reference/contracts.md).

The family is a name for the report. It does not change how a contract is read: every block is understood in every spelling, so
a contract between two families loses nothing.
"""

from __future__ import annotations

from ..model.fsm import ModelFSMSubcontract, ModelFSMTransition
from ..model.part import Part, use_of
from ..text.yaml_tree import YamlList, YamlMap, YamlNode, YamlPlace, YamlScalar
from .read_result import EnumFamily

# fmt: off
ALONE = frozenset((
    "contract_version", "fingerprint", "node_type", "version", "description", "metadata", "definitions", "node_version",
))
"""Keys that a contract of family G has beside its one block."""

THEIRS = frozenset((
    "input_model", "output_model", "handler_routing", "event_bus", "io_operations", "descriptor", "subcontracts",
    "node_version", "node_name", "node_id", "contract_name", "version",
))
# fmt: on
"""Keys that no contract of ours has, and nearly every other."""

DISCRIMINATORS: dict[EnumFamily, str] = {
    EnumFamily.ONEX: "`state_model` is a class name with nothing of others beside it, `intents` have `outcomes`, or there is a "
    "list of `tasks`; without a `state_model`, a machine with our keys alone, in which nothing is wrong",
    EnumFamily.SKILL: "`event_bus.subscribe`/`publish` are mappings, or `execution` names a backend",
    EnumFamily.MARKET: "`handler: {module, class}` at the top",
    EnumFamily.BRIDGE: "`node_id`, and `subcontracts` a mapping or `version` a text",
    EnumFamily.EXAMPLE: "no name of its own: versions, `node_type` and one or two blocks",
    EnumFamily.TYPED: "models as one dotted text, with `handler_routing.default_handler` or `descriptor`",
    EnumFamily.GENERIC: "`node_type: X_GENERIC`, or models as `{name, module}`, or `handler_routing.handlers`",
    EnumFamily.SEED: "`version: {major, minor, patch}` and no `contract_version`",
    EnumFamily.OTHER: "none of these",
}
"""In the order of the tests; the first that fits decides."""
ORIGINS: dict[EnumFamily, str] = {
    EnumFamily.ONEX: "this engine",
    EnumFamily.SKILL: "nodes that stand for a skill",
    EnumFamily.MARKET: "nodes of a market of nodes",
    EnumFamily.BRIDGE: "test fixtures of the bridge",
    EnumFamily.EXAMPLE: "examples with one block each",
    EnumFamily.TYPED: "nodes of the core with typed models",
    EnumFamily.GENERIC: "the nodes of 2026, the most frequent family",
    EnumFamily.SEED: "contracts of late 2025, and of the documents this project began with",
    EnumFamily.OTHER: "stubs and mixtures",
}
"""Where contracts of a family were found."""


def family_of(tree: YamlMap) -> EnumFamily:
    """Never raises; what fits nothing is OTHER."""
    return next((family for family, fits in _ASKED if fits(tree)), EnumFamily.OTHER)


def _branch(node: YamlNode | None) -> YamlMap:
    return node if isinstance(node, YamlMap) else YamlMap({}, node.place) if node is not None else _NOTHING


_NOTHING = YamlMap({}, YamlPlace(0, 0))


def _text(node: YamlNode | None) -> str:
    return node.value if isinstance(node, YamlScalar) and isinstance(node.value, str) else ""


def _onex(tree: YamlMap) -> bool:
    intents = tree.get("intents")
    if isinstance(intents, YamlList) and any(isinstance(one, YamlMap) and one.get("outcomes") for one in intents.items):
        return True
    if isinstance(tree.get("tasks"), YamlList) and not THEIRS & set(tree.entries):
        return True
    if not _text(tree.get("state_model")) or "." in _text(tree.get("state_model")):
        return False
    return bool({"state_machine", "intents"} & set(tree.entries)) and not THEIRS & set(tree.entries)


def is_bare(tree: YamlMap) -> bool:
    """Whether a contract without a state class may be a workflow: a machine and transitions with our keys and no other."""
    if "state_model" in tree.entries or THEIRS & set(tree.entries) or _NEEDED - set(tree.entries):
        return False
    machine = _branch(tree.get("state_machine"))
    rows = machine.get("transitions")
    return (
        _text(tree.get("node_type")) in ("REDUCER_GENERIC", "REDUCER")
        and _runs_by(ModelFSMSubcontract) >= set(machine.entries)
        and isinstance(rows, YamlList)
        and all(isinstance(row, YamlMap) and _runs_by(ModelFSMTransition) >= set(row.entries) for row in rows.items)
    )


def _runs_by(model: type[Part]) -> set[str]:
    """The keys that the engine runs by, and prose."""
    return {name for name in model.model_fields if {"engine", "docs"} & set(use_of(model, name).by)}


_NEEDED = {"name", "contract_version", "node_type", "state_machine"}


def _skill(tree: YamlMap) -> bool:
    bus, execution = _branch(tree.get("event_bus")), _branch(tree.get("execution"))
    spoken = any(isinstance(bus.get(name), YamlMap) for name in ("subscribe", "publish"))
    return spoken or bool({"backend", "model_purpose"} & set(execution.entries))


def _market(tree: YamlMap) -> bool:
    return bool({"module", "class"} & set(_branch(tree.get("handler")).entries))


def _bridge(tree: YamlMap) -> bool:
    if "node_id" not in tree.entries:
        return False
    return isinstance(tree.get("subcontracts"), YamlMap) or bool(_text(tree.get("version")))


def _example(tree: YamlMap) -> bool:
    blocks = set(tree.entries) - ALONE
    return "name" not in tree.entries and len(blocks) in (1, 2) and not {"node_name", "contract_name"} & blocks


def _typed(tree: YamlMap) -> bool:
    if not any("." in _text(tree.get(name)) for name in ("input_model", "output_model")):
        return False
    return bool(_text(_branch(tree.get("handler_routing")).get("default_handler"))) or "descriptor" in tree.entries


def _generic(tree: YamlMap) -> bool:
    if _text(tree.get("node_type")).upper().endswith("_GENERIC"):
        return True
    if any(isinstance(tree.get(name), YamlMap) for name in ("input_model", "output_model")):
        return True
    return isinstance(_branch(tree.get("handler_routing")).get("handlers"), YamlList)


def _seed(tree: YamlMap) -> bool:
    return isinstance(tree.get("version"), YamlMap) and "contract_version" not in tree.entries


_ASKED = (
    (EnumFamily.ONEX, _onex),
    (EnumFamily.SKILL, _skill),
    (EnumFamily.MARKET, _market),
    (EnumFamily.BRIDGE, _bridge),
    (EnumFamily.EXAMPLE, _example),
    (EnumFamily.TYPED, _typed),
    (EnumFamily.GENERIC, _generic),
    (EnumFamily.SEED, _seed),
)
