"""All orchestrations of an app, joined: those that a task begins come before the one whose task it is.

A map that calls an effect or a compute function makes an orchestration of one task, ``PARENT_TASK``: its children. It is derived
here and nowhere written. Each orchestration that a task begins gets a message back to that task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

from pydantic import BaseModel, JsonValue

from ..contracts.compile import LocatedContract
from ..contracts.load import load_tree
from ..contracts.model.orchestration import ModelCall, ModelTask
from ..contracts.model.target import BLOCKS, ModelIntentCall
from ..contracts.orchestration.declared_payloads import DeclaredModels
from ..contracts.orchestration.expansion import CANCEL, EACH, START, child_type, ended_name, payload_name, reply_name
from ..contracts.text.yaml_tree import (
    Loc,
    YamlEntry,
    YamlList,
    YamlMap,
    YamlNode,
    YamlScalar,
    located,
    node_at,
    place_of,
)
from ..kernel.finding import EnumSeverity, Finding
from ..kernel.intent import EnumIntentType
from .join import ChildClasses, Functions, JoinedPlan, joined


@dataclass(frozen=True, slots=True)
class WrittenPlan:
    """An orchestration as the app writes it: its folder, its contract, the names of its payloads.py, and what serves it.

    ``declared`` are the models of its contract; its children share them.
    """

    home: str
    contract: LocatedContract
    classes: Mapping[str, object]
    functions: Functions
    declared: Mapping[str, type[BaseModel]] = field(default_factory=dict)


def joined_app(written: Iterable[WrittenPlan]) -> Iterator[tuple[WrittenPlan, JoinedPlan]]:
    """Each with its plan, those that were derived included."""
    plans = {one.contract.contract.name: _with_models(one) for one in written}
    inline: set[str] = set()
    for one in [*plans.values()]:
        for child in _inline_children(one):
            if isinstance(child, JoinedPlan):
                yield one, child
                return
            plans[child.contract.contract.name] = child
            inline.add(child.contract.contract.name)
    begins = {name: [*_begun_by(one)] for name, one in plans.items()}
    try:
        order = [
            *TopologicalSorter(
                {name: [child for child, _ in of if child in plans] for name, of in begins.items()}
            ).static_order()
        ]
    except CycleError as error:
        first = plans[error.args[1][0]]
        yield first, _cycle(first, error.args[1])
        return
    ready: dict[str, ChildClasses] = {}
    for name in order:
        parents = [(parent, task) for parent, of in begins.items() for child, task in of if child == name]
        one = _with_replies(plans[name], parents, is_public=name not in inline)
        replies = frozenset(reply_name(parent, task) for parent, task in parents)
        made = joined(one.contract, one.classes, one.declared, one.functions, ready, replies)
        if made.as_child is not None:
            ready[name] = made.as_child
        yield one, made


def _with_models(one: WrittenPlan) -> WrittenPlan:
    contract, tree, path = one.contract
    return replace(one, declared=DeclaredModels(tree, contract.models, path).classes)


def _begun_by(one: WrittenPlan) -> Iterator[tuple[str, str]]:
    """``(type of the children, task)`` of each task that begins some."""
    for task in one.contract.contract.tasks:
        if task.kind in ("workflow", "map"):
            yield child_type(one.contract.contract.name, task), task.id


def _cycle(one: WrittenPlan, ring: list[str]) -> JoinedPlan:
    spot = place_of(one.contract.tree, ("tasks",)).spot(one.contract.path)
    message = f"these orchestrations begin each other without end: {' -> '.join(reversed(ring))}"
    return JoinedPlan(
        {}, None, (Finding("cycle", EnumSeverity.ERROR, *spot, message, "let one of them do it by itself"),)
    )


def _inline_children(one: WrittenPlan) -> Iterator[WrittenPlan | JoinedPlan]:
    """The children of each map that does calls of its own; a plan with findings where its stages are wrong."""
    contract, tree = one.contract.contract, one.contract.tree
    for n, task in enumerate(contract.tasks):
        if task.map is None or task.workflow is not None:
            continue
        place = place_of(tree, ("tasks", n))
        head: dict[str, JsonValue] = {
            "name": child_type(contract.name, task),
            "node_type": contract.node_type,
            "contract_version": contract.contract_version.model_dump(),
            "description": f"One item of {task.id}",
            "input": payload_name(EACH, task),
        }
        last = task if task.stages is None else task.stages[-1]
        if last.result is not None or _gives(one, last):
            head["output"] = EACH if task.stages is None else task.stages[-1].id
        made = located(head, place)
        assert isinstance(made, YamlMap)
        kept = {key: tree.entries[key] for key in ("targets",) if key in tree.entries}
        written = _entries(tree, ("tasks", n))
        rows: YamlNode
        if "stages" in written:
            rows = written["stages"].node
        else:
            call = located(_call(task), place)
            assert isinstance(call, YamlMap)
            blocks = {key: entry for key, entry in written.items() if key in BLOCKS}
            rows = YamlList((YamlMap({**call.entries, **blocks}, place),), place)
        entries = {**made.entries, **kept, "tasks": YamlEntry(YamlScalar("tasks", place), rows)}
        child = load_tree(YamlMap(entries, place), one.contract.path)
        if child.contract is None or child.tree is None:
            yield JoinedPlan({}, None, child.findings)
        else:
            yield replace(one, contract=LocatedContract(child.contract, child.tree, one.contract.path))


def _entries(tree: YamlMap, loc: Loc) -> Mapping[str, YamlEntry]:
    node = node_at(tree, loc)
    return node.entries if isinstance(node, YamlMap) else {}


def _call(task: ModelTask) -> dict[str, JsonValue]:
    kept = {"effect", "compute", "type", "payload", "result", "retry", "delivery", "priority", "timeout_ms"}
    said = task.model_dump(mode="json", include=kept & task.model_fields_set, exclude_none=True)
    return {"id": EACH, **said}


def _gives(one: WrittenPlan, task: ModelCall) -> bool:
    """Whether the function that serves the call gives anything."""
    served = one.functions.computes if task.compute else one.functions.effects
    shape = served.get(task.compute or task.effect or "")
    return shape is not None and bool(shape[1].model_fields)


def _with_replies(one: WrittenPlan, parents: list[tuple[str, str]], *, is_public: bool) -> WrittenPlan:
    """With a message to each task that begins it. What such a task sends stays open to clients too, where it is no child only."""
    if not parents:
        return one
    contract, tree = one.contract.contract, one.contract.tree
    rows: list[dict[str, JsonValue]] = [
        {
            "name": reply_name(parent, task),
            "type": EnumIntentType.ACTION_SEND,
            "target": parent,
            "trigger": f"{task}.ended",
            "payload": ended_name(reply_name(parent, task)),
            "detached": True,
        }
        for parent, task in parents
    ]
    top = place_of(tree, ("tasks",))
    intents = tree.get("intents")
    more = tuple(located(dict(row), top) for row in rows)
    changed: dict[str, YamlNode] = {
        "intents": YamlList((*(intents.items if isinstance(intents, YamlList) else ()), *more), top)
    }
    public = (*contract.public, *((START, CANCEL) if is_public else ()))
    if public:
        changed["public"] = located([*dict.fromkeys(public)], top)
    entries = {**tree.entries, **{name: YamlEntry(YamlScalar(name, top), node) for name, node in changed.items()}}
    declared = tuple(ModelIntentCall.model_validate(row, strict=False) for row in rows)
    made = contract.model_copy(
        update={"intents": (*contract.intents, *declared), "public": tuple(dict.fromkeys(public))}
    )
    return replace(one, contract=LocatedContract(made, YamlMap(entries, tree.place), one.contract.path))
