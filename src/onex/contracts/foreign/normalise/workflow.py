"""Work in an order, in all spellings: ``workflow_coordination``, ``workflow_steps``, ``execution_graph``, ``steps``."""

from __future__ import annotations

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .behaviour import BREAKER, RETRY
from .draft import KeyTable, MapBuilder, Notes, each, text, texts
from .reduction import SECONDS
from .version import version

STEP = KeyTable(
    names={
        "node_id": "step_id",
        "id": "step_id",
        "step": "step_id",
        "name": "step_name",
        "node_name": "step_name",
        "node_type": "step_type",
        "type": "step_type",
        "dependencies": "depends_on",
        "after": "depends_on",
        "requires": "depends_on",
        "service": "node",
        "target_node": "node",
        "handler": "node",
        "tool": "node",
        "agent": "node",
        "contract": "contract_ref",
        "step_config": "config",
        "step_order": "order",
        "sequence": "order",
        "when": "condition",
        "input": "inputs",
        "output": "outputs",
        "timeout": "timeout_ms",
        "timeout_seconds": "timeout_ms",
        "retry": "retry_policy",
        "desc": "description",
        "on_error": "on_failure",
    },
    shapes={
        "step_id": text,
        "step_name": text,
        "node": text,
        "depends_on": texts,
        "retry_policy": RETRY,
        "circuit_breaker": BREAKER,
    },
    scale={"timeout_seconds": SECONDS},
)


def step(node: YamlNode, notes: Notes) -> YamlNode:
    """A step that has only a name is waited for by it."""
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(STEP.applied(node, notes))
    if "step_id" not in draft:
        draft.put("step_id", draft.take("step_name", "node", "step_type"))
    return draft.branch()


EDGE = KeyTable(
    names={"from_node": "source", "from": "source", "to_node": "target", "to": "target", "type": "edge_type"},
)
WORKFLOW = KeyTable(
    names={
        "name": "workflow_name",
        "workflow_id": "workflow_name",
        "type": "workflow_type",
        "coordination_type": "execution_mode",
        "mode": "execution_mode",
        "workflow_steps": "steps",
        "nodes": "steps",
        "stages": "steps",
        "phases": "steps",
        "tasks": "steps",
        "rules": "coordination_rules",
        "default_workflow_timeout_ms": "timeout_ms",
        "timeout_seconds": "timeout_ms",
        "retry": "retry_policy",
    },
    shapes={
        "workflow_version": version,
        "version": version,
        "subcontract_version": version,
        "steps": each(step, key="step_id", word="step_id"),
        "edges": each(EDGE),
        "applicable_node_types": texts,
        "retry_policy": RETRY,
        "workflow_name": text,
    },
    scale={"timeout_seconds": SECONDS},
)
WRAPPERS = ("workflow_definition", "workflow_metadata", "execution_graph", "workflow")
"""Blocks within a workflow whose keys are the workflow's own."""
WORKFLOWS = ("workflow", "workflow_coordination", "workflow_config", "workflow_definition", "orchestration")
"""Keys under which a workflow stands. The first that is there is it."""
LOOSE = ("workflow_steps", "execution_graph", "steps", "coordination_rules", "stages")
"""Parts of a workflow that stand in the contract itself."""
_TOPICS = {"subscriptions": "consumed_events", "publications": "published_events"}


def workflow(draft: MapBuilder, notes: Notes) -> None:
    """Puts ``workflow`` into ``draft``; topics that stand within are the contract's."""
    entry = draft.take(*WORKFLOWS)
    loose = {name: draft.entries[name] for name in LOOSE if isinstance(draft.node(name), YamlList | YamlMap)}
    if entry is None and loose:
        place = next(iter(loose.values())).key.place
        entry = YamlEntry(YamlScalar("workflow", place), YamlMap({}, place))
    if entry is None:
        return
    if isinstance(entry.node, YamlList):
        entry = entry._replace(
            node=YamlMap({"steps": YamlEntry(YamlScalar("steps", entry.node.place), entry.node)}, entry.node.place)
        )
    if not isinstance(entry.node, YamlMap):
        draft.put(str(entry.key.value), entry)
        return
    inside = MapBuilder(entry.node)
    for name in loose:
        inside.put(name, draft.entries.pop(name))
    _unwrapped(inside, notes)
    for written, field in _TOPICS.items():
        if isinstance(inside.node(written), YamlList) and field not in draft:
            draft.put(field, inside.take(written))
    draft.put("workflow", entry._replace(node=WORKFLOW.applied(inside.branch(), notes)))


def _unwrapped(inside: MapBuilder, notes: Notes) -> None:
    """What stands in WRAPPERS, at any depth, comes out; where its key is taken it is nowhere, and so reported."""
    again = True
    while again:
        again = False
        for name in WRAPPERS:
            entry = inside.entries.get(name)
            if entry is None or not isinstance(entry.node, YamlMap):
                continue
            inside.entries.pop(name)
            notes.wrapped(entry.key)
            for key, one in entry.node.entries.items():
                if key not in inside.entries and key != name:
                    inside.entries[key] = one
                    again = True
