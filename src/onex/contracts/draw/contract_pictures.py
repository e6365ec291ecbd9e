"""The pictures of a contract: its machine, the order of its steps, its pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from ..model.contract import ModelContractBase, ModelContractWorkflow, machine_of
from ..model.operation import ModelComputeSubcontract
from ..model.orchestration import ModelTask
from ..model.workflow import ModelWorkflowCoordination, ModelWorkflowStep
from ..orchestration.task_checks import needs
from .drawing import EnumFlow, GraphEdge, GraphNode
from .layout import layout
from .machine_diagram import StateGraph, entity, machine_svg, mermaid
from .svg import svg

_KINDS = ("effect", "compute", "reducer", "orchestrator")


class Picture(NamedTuple):
    """``mermaid`` ends in a line break. ``svg`` is a whole file."""

    title: str
    mermaid: str
    svg: str


NOTHING_DONE: Mapping[str, str] = {}


def pictures(contract: ModelContractBase, done: Mapping[str, str] = NOTHING_DONE) -> tuple[Picture, ...]:
    """The machine first; () when there is nothing to draw. Of an orchestration the tasks, not the machine made of them.

    ``done[task]`` is how far it is in one instance.
    """
    made = []
    plan = plan_graph(contract, done)
    machine = machine_of(contract) if plan is None else None
    if machine is not None:
        made.append(Picture(contract.name, mermaid(machine), machine_svg(machine, contract.name)))
    for what, figure in (
        ("tasks", plan),
        ("work", _work(contract.workflow)),
        ("pipeline", _pipeline(contract.compute)),
    ):
        if figure is not None:
            title = f"{contract.name}: {what}" if made else contract.name
            description = f"The order of {len(figure.nodes)} steps."
            made.append(Picture(title, flowchart(figure), svg(layout(*figure, EnumFlow.DOWN), title, description)))
    return tuple(made)


def flowchart(figure: StateGraph) -> str:
    """A graph as Mermaid. Names become numbers, because no node may have a reserved word of Mermaid as its name."""
    numbers = {node.id: f"n{n}" for n, node in enumerate(figure.nodes)}
    lines = ["flowchart TD"]
    for node in figure.nodes:
        label = entity(node.label) + (f"<br><small>{entity(node.detail)}</small>" if node.detail else "")
        lines.append(f'    {numbers[node.id]}["{label}"]')
    for edge in figure.edges:
        label = f'|"{entity(edge.label)}"|' if edge.label else ""
        lines.append(f"    {numbers[edge.source]} -->{label} {numbers[edge.target]}")
    return "\n".join(lines) + "\n"


def plan_graph(contract: ModelContractBase, done: Mapping[str, str] = NOTHING_DONE) -> StateGraph | None:
    """Tasks, and what each waits for. None for a contract without tasks."""
    if not isinstance(contract, ModelContractWorkflow) or not contract.tasks:
        return None
    waits = needs(contract)
    nodes = tuple(
        GraphNode(
            task.id, task.id, _KIND_OF_TASK.get(task.kind, ""), detail=done.get(task.id, _what(task)), note=_note(task)
        )
        for task in contract.tasks
    )
    whens = {task.id: task.when or "" for task in contract.tasks}
    edges = tuple(
        GraphEdge(before, task, whens[task] and f"when {whens[task]}")
        for task, needed in waits.items()
        for before in needed
        if not any(
            before in _all_before(other, waits) for other in needed
        )  # what follows from other edges is not drawn
    )
    return StateGraph(nodes, edges)


def _all_before(task: str, waits: Mapping[str, Sequence[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [*waits[task]]
    while ahead:
        if (name := ahead.pop()) not in found:
            found.add(name)
            ahead += waits[name]
    return found


_KIND_OF_TASK = {"effect": "effect", "compute": "compute", "workflow": "orchestrator", "map": "orchestrator"}


def _what(task: ModelTask) -> str:
    what = task.effect or task.compute or task.workflow or task.signal or ""
    return f"{task.kind.removesuffix('_ms').replace('_', ' ')} {what}".strip()


def _note(task: ModelTask) -> str:
    undo = task.compensate and (task.compensate.effect or task.compensate.compute)
    return task.description or task.approval or (f"undone by {undo}" if undo else "")


def _work(work: ModelWorkflowCoordination | None) -> StateGraph | None:
    """Steps, and what each waits for. A step that is waited for and not there is drawn as missing."""
    if work is None or not work.steps:
        return None
    nodes = {step.step_id: _step(step) for step in work.steps}
    edges: dict[tuple[str, str], GraphEdge] = {}
    for step in work.steps:
        for before in step.depends_on:
            edges.setdefault((before, step.step_id), GraphEdge(before, step.step_id))
    for edge in work.edges:
        label = edge.condition or edge.edge_type or ""
        edges[edge.source, edge.target] = GraphEdge(edge.source, edge.target, label)
    for name in dict.fromkeys(end for pair in edges for end in pair if end not in nodes):
        nodes[name] = GraphNode(name, name, "missing", note="no step has this name")
    return StateGraph(tuple(nodes.values()), tuple(edges.values()))


def _step(step: ModelWorkflowStep) -> GraphNode:
    step_type = (step.step_type or "").lower()
    kind = next((kind for kind in _KINDS if kind in step_type), "")
    return GraphNode(
        step.step_id, step.step_name or step.step_id, kind, detail=step.step_type or "", note=step.description
    )


def _pipeline(compute: ModelComputeSubcontract | None) -> StateGraph | None:
    if compute is None or not compute.pipeline:
        return None
    nodes = [
        GraphNode(str(n), step.step_name, "compute", detail=step.transformation_type or step.step_type or "")
        for n, step in enumerate(compute.pipeline)
    ]
    return StateGraph(tuple(nodes), _chained(nodes))


def _chained(nodes: Sequence[GraphNode]) -> tuple[GraphEdge, ...]:
    return tuple(GraphEdge(one.id, other.id) for one, other in pairwise(nodes))
