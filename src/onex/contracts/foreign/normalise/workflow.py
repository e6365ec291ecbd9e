"""Steps and their order, in all spellings: ``workflow_coordination``, ``workflow_steps``, ``execution_graph``, ``steps``."""

from __future__ import annotations

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .behaviour import BREAKER, RETRY
from .draft import KeyTable, MapBuilder, Notes, aliases, each, text, texts, version

STEP = KeyTable(
    names=aliases(
        step_id="node_id id step",
        step_name="name node_name",
        step_type="node_type type",
        depends_on="dependencies after requires",
        node="service target_node handler tool agent",
        contract_ref="contract",
        config="step_config",
        order="step_order sequence",
        condition="when",
        inputs="input",
        outputs="output",
        timeout_ms="timeout timeout_seconds",
        retry_policy="retry",
        description="desc",
        on_failure="on_error",
    ),
    shapes={
        "step_id": text,
        "step_name": text,
        "node": text,
        "depends_on": texts,
        "retry_policy": RETRY,
        "circuit_breaker": BREAKER,
    },
)


def step(node: YamlNode, notes: Notes) -> YamlNode:
    """Without an id, the name is the id."""
    if not isinstance(node, YamlMap):
        return node
    draft = MapBuilder(STEP.applied(node, notes))
    if "step_id" not in draft:
        draft.put("step_id", draft.take("step_name", "node", "step_type"))
    return draft.branch()


EDGE = KeyTable(
    names=aliases(source="from_node from", target="to_node to", edge_type="type"),
)
WORKFLOW = KeyTable(
    names=aliases(
        workflow_name="name workflow_id",
        workflow_type="type",
        execution_mode="coordination_type mode",
        steps="workflow_steps nodes stages phases tasks",
        coordination_rules="rules",
        timeout_ms="default_workflow_timeout_ms timeout_seconds",
        retry_policy="retry",
    ),
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
)
WRAPPERS = ("workflow_definition", "workflow_metadata", "execution_graph", "workflow")
"""Blocks within a workflow whose keys are the workflow's own."""
WORKFLOWS = ("workflow", "workflow_coordination", "workflow_config", "workflow_definition", "orchestration")
"""Keys of a workflow. The first that is there counts."""
LOOSE = ("workflow_steps", "execution_graph", "steps", "coordination_rules", "stages")
"""Keys of the contract that are parts of a workflow."""
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
    """Moves the content of WRAPPERS up, at any depth. A key that is taken there is dropped from the tree, and so reported."""
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
