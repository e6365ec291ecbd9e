"""An app as plain values: what a process that imports no code of a user may know of it.

A process that folds makes them (``moment_process``), and they cross its pipe. Nothing here refers to a class or function of
the app. Places are those of the contract, or of the Python file that declares it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import JsonValue

from ..app import App, LoadedWorkflow
from ..contracts.draw.contract_pictures import plan_graph
from ..contracts.draw.drawing import Drawing, EnumFlow, width_of
from ..contracts.draw.layout import layout
from ..contracts.draw.machine_diagram import mermaid, state_graph
from ..contracts.model.contract import ModelContractBase
from ..contracts.text.yaml_tree import place_of
from ..engine.internal_triggers import internal_triggers
from ..kernel.intent import EnumIntentType
from ..kernel.machine import Machine, Transition
from ..kernel.secret import secret_fields
from ..kernel.step import ROLLBACK

TASK_WIDTH: Final = 132.0
TASK_PAD: Final = 24.0


class StatusFacts(NamedTuple):
    """``timeout_s`` after it was entered, ``on_timeout`` is fired; 0 and '' where it has no timer."""

    name: str
    initial: bool
    terminal: bool
    timeout_s: float
    on_timeout: str
    path: str
    line: int


class EdgeFacts(NamedTuple):
    """One transition. ``guards`` are texts of the contract; ``line`` 0: it stands in no file, ONEX made it."""

    from_state: str
    to_state: str
    trigger: str
    guards: tuple[str, ...]
    path: str
    line: int


class IntentFacts(NamedTuple):
    """``outcomes[succeeded]`` is the trigger that it comes back as. ``sends_to`` is the workflow type of a message."""

    name: str
    kind: str
    target: str
    outcomes: Mapping[str, str]
    sends_to: str


class WorkflowFacts(NamedTuple):
    """``triggers[name]`` is the JSON Schema of its payload; ``internal`` are those that no client may send.

    ``plan``: the tasks of an orchestration, and what each waits for; else None.
    """

    name: str
    description: str
    contract_version: str
    code: str
    statuses: tuple[StatusFacts, ...]
    edges: tuple[EdgeFacts, ...]
    triggers: Mapping[str, JsonValue]
    internal: frozenset[str]
    intents: tuple[IntentFacts, ...]
    consumed: tuple[str, ...]
    published: tuple[str, ...]
    drawing: Drawing
    plan: Drawing | None
    mermaid: str

    def accepts(self, status: str) -> list[str]:
        """Triggers that have a transition from this status; guards are not asked."""
        if any(one.name == status and one.terminal for one in self.statuses):
            return []
        return sorted({edge.trigger for edge in self.edges if edge.from_state in (status, "*")})


class AppFacts(NamedTuple):
    """``secret`` are names of fields that the app marks as Secret."""

    name: str
    digest: str
    workflows: Mapping[str, WorkflowFacts]
    secret: tuple[str, ...]


def facts_of(app: App) -> AppFacts:
    closed = internal_triggers({name: one.reducer.intents for name, one in app.workflows.items()})
    found = {name: _workflow(one, closed[name]) for name, one in app.workflows.items()}
    return AppFacts(app.name, app.digest, found, tuple(sorted(set(_marks(app)))))


def _marks(app: App) -> Iterator[str]:
    for one in app.workflows.values():
        intents = (spec.payload for spec in one.reducer.intents.by_name.values() if spec.payload is not None)
        for model in (one.reducer.state_type, *one.reducer.payloads.values(), *intents):
            yield from secret_fields(model)


def _workflow(one: LoadedWorkflow, brought: Mapping[str, str]) -> WorkflowFacts:
    reducer, machine, contract = one.reducer, one.reducer.machine, one.contract
    bus = contract.event_bus
    return WorkflowFacts(
        one.name,
        contract.description,
        one.code.contract_version,
        one.code.digest.hex(),
        tuple(_statuses(one, machine)),
        tuple(edge_facts(one, transition) for transition in machine.transitions),
        {name: model.model_json_schema() for name, model in reducer.payloads.items() if name != ROLLBACK},
        frozenset(brought) - one.public,
        tuple(
            IntentFacts(
                spec.name,
                spec.kind,
                spec.target,
                {outcome.value: trigger for outcome, trigger in spec.outcomes.items()},
                spec.target if spec.kind == EnumIntentType.ACTION_SEND else "",
            )
            for spec in reducer.intents.by_name.values()
        ),
        () if bus is None else tuple(one.topic for one in bus.subscribe_topics),
        () if bus is None else tuple(one.topic for one in bus.publish_topics),
        layout(*state_graph(machine), EnumFlow.DOWN),
        _plan(contract),
        mermaid(machine),
    )


def _plan(contract: ModelContractBase) -> Drawing | None:
    """Each box has room for how far its task is."""
    graph = plan_graph(contract)
    if graph is None:
        return None
    nodes = tuple(node._replace(width=max(TASK_WIDTH, width_of(node.label) + TASK_PAD)) for node in graph.nodes)
    return layout(nodes, graph.edges, EnumFlow.DOWN)


def _statuses(one: LoadedWorkflow, machine: Machine) -> Iterator[StatusFacts]:
    declared = {state.name: n for n, state in enumerate(one.contract.state_machine.states or ())}
    for name in machine.statuses:
        path, line = "", 0
        if name in declared:
            place = place_of(one.located.tree, ("state_machine", "states", declared[name]))
            path, line, _ = place.spot(one.located.path)
            path = _seen_from_here(path)
        timeout = machine.timeouts.get(name)
        after_s, fired = (0.0, "") if timeout is None else (timeout.after_us / 1_000_000, timeout.trigger)
        yield StatusFacts(name, name == machine.initial, name in machine.terminal, after_s, fired, path, line)


def edge_facts(one: LoadedWorkflow, transition: Transition) -> EdgeFacts:
    guards = tuple(str(guard) for guard in transition.guards)
    path, line = "", 0
    for n, said in enumerate(one.contract.state_machine.transitions):
        texts = tuple(f"after: {each.expression}" if each.after else each.expression for each in said.conditions)
        if (said.from_state, said.to_state, said.trigger, texts) == (*_ends(transition), guards):
            path, line, _ = place_of(one.located.tree, ("state_machine", "transitions", n)).spot(one.located.path)
            path = _seen_from_here(path)
            break
    return EdgeFacts(*_ends(transition), guards, path, line)


def _ends(transition: Transition) -> tuple[str, str, str]:
    return transition.from_state, transition.to_state, transition.trigger


def _seen_from_here(path: str) -> str:
    """As a person writes it who works where the service was started: a page shows no folders of the machine above that."""
    here = Path.cwd()
    absolute = Path(path).absolute()
    if absolute.is_relative_to(here):
        return str(absolute.relative_to(here))
    return str(Path(*absolute.parts[-2:]))
