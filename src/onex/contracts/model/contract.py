"""The four kinds of contract, as values. Other spellings are normalised to these fields before (``foreign.normalise``).

    base: identity, models, topics, handlers, dependencies
      effect        operations on the world
      compute       an algorithm
      reducer       a machine and the intents it may emit
      orchestrator  a graph of work

``ModelContractWorkflow`` is a reducer with all that this engine needs to run it. Unknown keys are refused
(``extra="forbid"``): whoever reads other people's contracts sorts them out first, and reports them. Times are whole
milliseconds, as in the YAML.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field, JsonValue

from ...kernel.machine import Guard, Machine, Timeout, Transition
from ...kernel.quota import BUDGET_MS_MOST, COUNT_MOST, STATE_BYTES_MOST, ResourceLimits
from .bus import ModelDependency, ModelEventBus, ModelHandlerRouting, ModelReference, References, Topics
from .event_topics import ModelWorkflowBus
from .fsm import ModelFSMSubcontract, ModelIntentDeclaration
from .operation import (
    Capabilities,
    ModelAlgorithm,
    ModelComputeSubcontract,
    ModelDbRepository,
    ModelEffectSubcontract,
    ModelKafkaConfig,
    Operations,
)
from .orchestration import ModelOrchestration
from .part import (
    COMPARED,
    ENGINE,
    INTENTS_MAX,
    MAPPED,
    PROSE,
    ROWS_MAX,
    SEARCH_MAX,
    TARGETS_MAX,
    TRANSITIONS_MAX,
    ClassName,
    FieldPath,
    ModelContractVersion,
    Part,
    Prose,
    Target,
    TriggerName,
    Word,
    WorkflowType,
)
from .schedule import SCHEDULES_MAX, ModelSchedule
from .start import ModelStart
from .target import BLOCKS, ModelIntentCall, ModelTarget
from .unenforced import UnenforcedFields
from .workflow import ModelWorkflowCoordination


class EnumNodeKind(StrEnum):
    """The four kinds every ``node_type`` word comes down to."""

    EFFECT = "effect"
    COMPUTE = "compute"
    REDUCER = "reducer"
    ORCHESTRATOR = "orchestrator"


class ModelDescriptor(Part):
    """What a node claims about itself. ``onex doctor`` compares ``purity: pure`` with its code."""

    node_archetype: Annotated[Word | None, COMPARED] = None
    purity: Annotated[Word | None, MAPPED] = None
    idempotent: Annotated[bool | None, COMPARED] = None
    runtime_profiles: Annotated[tuple[Word, ...], COMPARED] = ()
    timeout_ms: int | None = None


class ModelToolSpecification(Part):
    """What an old contract says about its program."""

    tool_name: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    main_tool_class: Annotated[ModelReference | None, COMPARED] = None
    container_injection: Annotated[JsonValue, COMPARED] = None
    business_logic_pattern: Annotated[Word | None, COMPARED] = None


class ModelContractBase(UnenforcedFields):
    """The fields of every kind on which somebody acts; those on which nobody acts are in UnenforcedFields.

    ``node_type`` is the kind. The word that the file used for it is in ``ReadResult.word``.
    """

    name: Annotated[Word, MAPPED]
    node_type: Annotated[Word, MAPPED]
    contract_version: Annotated[ModelContractVersion | None, COMPARED] = None
    node_version: Annotated[ModelContractVersion | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    input_model: Annotated[ModelReference | None, MAPPED] = None
    output_model: Annotated[ModelReference | None, MAPPED] = None
    input_schema: Annotated[JsonValue, Field(description="JSON Schema, or as near as it gets"), COMPARED] = None
    output_schema: Annotated[JsonValue, Field(description="JSON Schema, or as near as it gets"), COMPARED] = None
    event_bus: Annotated[ModelEventBus | None, MAPPED] = None
    published_events: Annotated[Topics, MAPPED] = ()
    consumed_events: Annotated[Topics, MAPPED] = ()
    terminal_event: Annotated[Word | None, MAPPED] = None
    terminal_events: Annotated[Topics, COMPARED] = ()
    handler_routing: Annotated[ModelHandlerRouting | None, MAPPED] = None
    dependencies: Annotated[tuple[ModelDependency, ...], Field(max_length=ROWS_MAX), MAPPED] = ()
    descriptor: Annotated[ModelDescriptor | None, MAPPED] = None
    state_machine: Annotated[ModelFSMSubcontract | None, MAPPED] = None
    node_name: Annotated[Word | None, COMPARED] = None
    contract_name: Annotated[Word | None, COMPARED] = None
    node_id: Annotated[Word | None, COMPARED] = None
    tool_name: Annotated[Word | None, COMPARED] = None
    node_class: Annotated[ModelReference | None, MAPPED] = None
    version: Annotated[ModelContractVersion | None, Field(description="beside the other two"), COMPARED] = None
    tool_specification: Annotated[ModelToolSpecification | None, COMPARED] = None
    input_models: Annotated[References, COMPARED] = ()
    output_models: Annotated[References, COMPARED] = ()
    state_class: Annotated[ModelReference | None, COMPARED] = None
    config_model: Annotated[ModelReference | None, COMPARED] = None
    config_schema: Annotated[JsonValue, COMPARED] = None
    deterministic_execution: Annotated[bool | None, MAPPED] = None
    determinism: Annotated[JsonValue, MAPPED] = None
    db_repository: Annotated[ModelDbRepository | None, COMPARED] = None
    runtime_profiles: Annotated[tuple[Word, ...], COMPARED] = ()
    protocol_interfaces: Annotated[tuple[Word, ...], COMPARED] = ()
    lifecycle_stage: Annotated[Word | None, COMPARED] = None
    state_fields: Annotated[
        JsonValue, Field(description="JSON Schema of the state; guards are judged by it"), COMPARED
    ] = None
    definitions: Annotated[JsonValue, COMPARED] = None
    io_operations: Annotated[Operations, COMPARED] = ()
    operations: Annotated[Operations, COMPARED] = ()
    actions: Annotated[Operations, COMPARED] = ()
    capabilities: Annotated[Capabilities, COMPARED] = ()
    workflow: Annotated[ModelWorkflowCoordination | None, MAPPED] = None
    effect_operations: Annotated[ModelEffectSubcontract | None, COMPARED] = None
    compute: Annotated[ModelComputeSubcontract | None, COMPARED] = None
    algorithm: Annotated[ModelAlgorithm | None, COMPARED] = None
    kafka_config: Annotated[ModelKafkaConfig | None, COMPARED] = None
    mixin: Annotated[ModelReference | None, COMPARED] = None
    event_type: Annotated[JsonValue, COMPARED] = None
    fingerprint: Annotated[Word | None, COMPARED] = None
    metadata: Annotated[JsonValue, COMPARED] = None
    author: Annotated[Prose | None, COMPARED] = None
    tags: Annotated[tuple[Word, ...], COMPARED] = ()
    status: Annotated[Word | None, COMPARED] = None
    documentation_url: Annotated[Word | None, COMPARED] = None

    @property
    def kind(self) -> EnumNodeKind:
        return next(_KINDS[one] for one in type(self).__mro__ if one in _KINDS)


class ModelContractEffect(ModelContractBase):
    """A node that touches the world."""


class ModelContractCompute(ModelContractBase):
    """A pure transform."""


class ModelResourceLimits(Part):
    """What one instance may take; left out, the engine's own limits hold. What goes beyond is refused, and its neighbours go on."""

    state_bytes: Annotated[
        int | None, Field(ge=1, le=STATE_BYTES_MOST, description="of the state after a step"), ENGINE
    ] = None
    pending_intents: Annotated[
        int | None, Field(ge=1, le=COUNT_MOST, description="intents that wait, run or are held; timers aside"), ENGINE
    ] = None
    actions_per_s: Annotated[
        float | None,
        Field(gt=0, le=COUNT_MOST, description="from outside, on average; ten at once, or a quarter of it"),
        ENGINE,
    ] = None
    step_budget_ms: Annotated[
        int | None,
        Field(ge=1, le=BUDGET_MS_MOST, description="a longer step is stopped; ONEX_STEP_BUDGET_MS else"),
        ENGINE,
    ] = None

    @property
    def limits(self) -> ResourceLimits:
        return ResourceLimits(**self.model_dump())


class ModelContractReducer(ModelContractBase):
    """A machine over a state, and the intents it may emit."""

    state_model: Annotated[ClassName | None, MAPPED] = None
    state_schema: Annotated[int, Field(ge=1, le=10_000), ENGINE] = 1
    unleased: Annotated[tuple[TriggerName, ...], Field(max_length=TRANSITIONS_MAX), ENGINE] = ()
    public: Annotated[tuple[TriggerName, ...], Field(max_length=TRANSITIONS_MAX), ENGINE] = ()
    search: Annotated[
        tuple[FieldPath, ...],
        Field(max_length=SEARCH_MAX, description="fields of the state that instances are found by, or dotted paths"),
        ENGINE,
    ] = ()
    resource_limits: Annotated[ModelResourceLimits | None, ENGINE] = None
    version_policy: Annotated[
        Literal["follow", "pinned"],
        Field(
            description="follow: new code takes an instance over at its next action; pinned: it keeps its code for life"
        ),
        ENGINE,
    ] = "follow"
    intents: Annotated[tuple[ModelIntentDeclaration, ...], Field(max_length=INTENTS_MAX), ENGINE] = ()


class ModelContractOrchestrator(ModelContractBase):
    """Work in an order, or in none."""


class ModelContractWorkflow(ModelOrchestration, ModelContractReducer):
    """``<workflow>/contract.yaml`` of an app: a reducer that this engine runs. ``name`` is the workflow type.

    Without ``state_model`` the state is its status and nothing else. With ``tasks`` it is an orchestration: its state, its machine
    and its intents are made of them (``contracts.orchestration``).
    """

    name: Annotated[WorkflowType, ENGINE]
    node_type: Annotated[Literal["REDUCER_GENERIC", "REDUCER", "ORCHESTRATOR_GENERIC", "ORCHESTRATOR"], ENGINE]
    contract_version: Annotated[ModelContractVersion, ENGINE]
    state_model: Annotated[ClassName | None, ENGINE] = None
    state_machine: Annotated[ModelFSMSubcontract, ENGINE]
    targets: Annotated[dict[Target, ModelTarget], Field(max_length=TARGETS_MAX), ENGINE] = Field(default_factory=dict)
    intents: Annotated[tuple[ModelIntentCall, ...], Field(max_length=INTENTS_MAX), ENGINE] = ()
    event_bus: Annotated[ModelWorkflowBus | None, ENGINE] = None
    start: Annotated[ModelStart | None, ENGINE] = None
    schedules: Annotated[tuple[ModelSchedule, ...], Field(max_length=SCHEDULES_MAX), ENGINE] = ()

    @property
    def decided(self) -> dict[str, JsonValue]:
        """What its code is: all that is said, without what decides no state: how targets are reached, schedules, search, and how
        long a version stays."""
        calls = dict.fromkeys(BLOCKS, True)
        stage = {**calls, "compensate": calls}
        tasks = {"__all__": {**stage, "stages": {"__all__": stage}}}
        return self.model_dump(
            mode="json",
            exclude_defaults=True,
            exclude={
                "targets": True,
                "event_bus": True,
                "schedules": True,
                "search": True,
                "version_policy": True,
                "intents": {"__all__": calls},
                "tasks": tasks,
            },  # type: ignore[arg-type]  # as pydantic says
        )

    @property
    def payloads(self) -> dict[str, str]:
        """``payloads[trigger] -> class name``; a trigger that names none carries ``Nothing``."""
        named = {t.trigger: t.payload for t in self.state_machine.transitions if t.payload is not None}
        return {t.trigger: named.get(t.trigger, "Nothing") for t in self.state_machine.transitions}


_KINDS = {
    ModelContractEffect: EnumNodeKind.EFFECT,
    ModelContractCompute: EnumNodeKind.COMPUTE,
    ModelContractReducer: EnumNodeKind.REDUCER,
    ModelContractOrchestrator: EnumNodeKind.ORCHESTRATOR,
}


def machine_of(contract: ModelContractBase) -> Machine | None:
    """None when the contract has none."""
    return None if contract.state_machine is None else drawn(contract.state_machine)


def drawn(declared: ModelFSMSubcontract) -> Machine:
    """A machine to draw and search. Its guards raise, so a transition with a condition is refused (GuardFailed)."""
    transitions = tuple(
        Transition(
            line.from_state,
            line.to_state,
            line.trigger,
            tuple(Guard(condition.expression, _unbound, condition.after) for condition in line.conditions),
            line.priority,
        )
        for line in declared.transitions
    )
    timeouts = {
        state.name: Timeout(state.timeout_ms * 1000, state.on_timeout)
        for state in declared.states or ()
        if state.timeout_ms is not None and state.on_timeout is not None
    }
    states = tuple(state.name for state in declared.states or ())
    return Machine(declared.initial_state, transitions, frozenset(declared.terminal_states), timeouts, states)


def _unbound(state: BaseModel, payload: BaseModel) -> bool:
    raise TypeError("this machine is for drawing; compile_reducer makes the one that runs")
