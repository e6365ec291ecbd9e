"""A state machine as a contract declares it, and the intents that a reducer may emit.

``from_state`` may be ``"*"``: every state that is not terminal. Without ``states`` the transitions say which there are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from ...kernel.intent import EnumDelivery
from ...kernel.intent_fields import EnumIntentPriority
from ...kernel.retry import RetryPolicy
from .part import (
    COMPARED,
    ENGINE,
    EXPRESSION_MAX,
    MACHINE,
    PROSE,
    ROWS_MAX,
    SAID,
    TRANSITIONS_MAX,
    ClassName,
    Kind,
    Milliseconds,
    ModelContractVersion,
    Name,
    Part,
    Prose,
    Share,
    StateName,
    Target,
    TriggerName,
    Word,
)


class ModelFSMCondition(Part):
    """A guard: the three-token form or CEL (promise 13). With ``after`` it sees the state that the handler returned."""

    expression: Annotated[str, Field(min_length=1, max_length=EXPRESSION_MAX), MACHINE]
    after: Annotated[bool, Field(description="judge the state after the handler, not the one before"), MACHINE] = False
    condition_name: Annotated[Word | None, COMPARED] = None
    condition_type: Word | None = None
    required: bool | None = None
    error_message: Prose | None = None
    description: Annotated[Prose, PROSE] = ""
    version: Annotated[ModelContractVersion | None, COMPARED] = None


class ModelFSMAction(Part):
    """What an old contract does when a state is entered or left, or a transition taken. Read as the name of an intent."""

    action_name: Annotated[Word, COMPARED]
    action_type: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    is_critical: bool | None = None
    execution_order: int | None = None
    rollback_action: Word | None = None
    timeout_ms: Milliseconds | None = None
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    action_config: JsonValue = None


Actions = Annotated[tuple[ModelFSMAction, ...], Field(max_length=ROWS_MAX)]


class ModelFSMTransition(Part):
    """``from_state`` may be ``"*"``: every state that is not terminal. All conditions must hold."""

    from_state: Annotated[StateName, MACHINE]
    to_state: Annotated[Name, MACHINE]
    trigger: Annotated[TriggerName, MACHINE]
    payload: Annotated[ClassName | None, Field(description="class in payloads.py; said once per trigger"), MACHINE] = (
        None
    )
    conditions: Annotated[tuple[ModelFSMCondition, ...], Field(max_length=20), MACHINE] = ()
    priority: Annotated[int, Field(ge=-1000, le=1000), MACHINE] = 0
    description: Annotated[Prose, PROSE] = ""
    transition_name: Annotated[Word | None, COMPARED] = None
    actions: Annotated[Actions, COMPARED] = ()
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    is_atomic: bool | None = None
    retry_enabled: bool | None = None
    max_retries: int | None = None
    retry_delay_ms: int | None = None
    rollback_transitions: JsonValue = None
    permissions_required: tuple[Word, ...] = ()


class ModelFSMState(Part):
    """``timeout_ms`` after entering, ``on_timeout`` is fired, unless the state was left. Left out, it is ``NAME.timeout`` where a
    transition has it.

    ``is_terminal`` and ``is_initial`` are how other contracts say what here the machine says once.
    """

    name: Annotated[Name, MACHINE]
    description: Annotated[Prose, PROSE] = ""
    timeout_ms: Annotated[Milliseconds | None, MACHINE] = None
    on_timeout: Annotated[TriggerName | None, MACHINE] = None
    state_type: Annotated[Word | None, COMPARED] = None
    is_recoverable: bool | None = None
    entry_actions: Annotated[Actions, COMPARED] = ()
    exit_actions: Annotated[Actions, COMPARED] = ()
    required_data: Annotated[tuple[Word, ...], COMPARED] = ()
    optional_data: Annotated[tuple[Word, ...], COMPARED] = ()
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    is_terminal: Annotated[bool | None, SAID] = None
    is_initial: Annotated[bool | None, SAID] = None
    is_error: Annotated[bool | None, COMPARED] = None
    max_duration_ms: Annotated[
        Milliseconds | None, Field(description="a timeout that names no trigger: nothing is fired")
    ] = None
    properties: JsonValue = None
    metadata: JsonValue = None
    validation_rules: JsonValue = None


class ModelFSMSubcontract(Part):
    """``states`` is optional: without it the transitions say which there are."""

    initial_state: Annotated[Name, MACHINE]
    terminal_states: Annotated[tuple[Name, ...], Field(max_length=TRANSITIONS_MAX), MACHINE] = ()
    states: Annotated[tuple[ModelFSMState, ...] | None, Field(min_length=1, max_length=TRANSITIONS_MAX), MACHINE] = None
    transitions: Annotated[tuple[ModelFSMTransition, ...], Field(min_length=1, max_length=TRANSITIONS_MAX), MACHINE]
    state_machine_name: Annotated[Word | None, COMPARED] = None
    state_machine_version: Annotated[ModelContractVersion | None, COMPARED] = None
    subcontract_name: Annotated[Word | None, COMPARED] = None
    subcontract_version: Annotated[ModelContractVersion | None, COMPARED] = None
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    error_states: Annotated[tuple[Word, ...], COMPARED] = ()
    persistence_enabled: bool | None = None
    checkpoint_interval_ms: int | None = None
    max_checkpoints: int | None = None
    recovery_enabled: bool | None = None
    rollback_enabled: bool | None = None
    conflict_resolution_strategy: Word | None = None
    concurrent_transitions_allowed: bool | None = None
    transition_timeout_ms: int | None = None
    strict_validation_enabled: bool | None = None
    state_monitoring_enabled: bool | None = None
    event_logging_enabled: bool | None = None
    operations: JsonValue = None
    recovery_strategies: JsonValue = None
    timeouts: JsonValue = None
    metadata: JsonValue = None


class ModelIntentOutcomes(Part):
    """The trigger each outcome becomes; all three or no ``outcomes`` at all."""

    succeeded: Annotated[TriggerName, ENGINE]
    failed: Annotated[TriggerName, ENGINE]
    unknown: Annotated[TriggerName, ENGINE]


_RETRY = RetryPolicy()


class ModelIntentRetry(Part):
    """What is left out is as in ``RetryPolicy()``."""

    max_attempts: Annotated[int, Field(ge=1, le=1000), ENGINE] = _RETRY.max_attempts
    initial_ms: Annotated[Milliseconds, ENGINE] = round(_RETRY.initial_s * 1000)
    max_ms: Annotated[Milliseconds, ENGINE] = round(_RETRY.max_s * 1000)
    factor: Annotated[float, Field(ge=1, le=100), ENGINE] = _RETRY.factor
    jitter: Annotated[Share, ENGINE] = _RETRY.jitter

    def policy(self) -> RetryPolicy:
        return RetryPolicy(self.max_attempts, self.initial_ms / 1000, self.max_ms / 1000, self.factor, self.jitter)


class ModelIntentDeclaration(Part):
    """One intent a reducer may emit: who serves it, and what each outcome becomes.

    Left out, ``outcomes`` are ``NAME.succeeded``, ``NAME.failed``, ``NAME.unknown`` where a transition has one of these, and the
    ``trigger`` of a timer is its own name where a transition has it.
    """

    name: Annotated[Name, ENGINE]
    type: Annotated[Kind, ENGINE]
    target: Annotated[Target | None, ENGINE] = None
    payload: Annotated[ClassName | None, ENGINE] = None
    outcomes: Annotated[ModelIntentOutcomes | None, ENGINE] = None
    retry: Annotated[ModelIntentRetry, ENGINE] = ModelIntentRetry()
    delivery: Annotated[EnumDelivery | None, ENGINE] = None
    priority: Annotated[EnumIntentPriority, ENGINE] = EnumIntentPriority.NORMAL
    timeout_ms: Annotated[Milliseconds, ENGINE] = 30_000
    heartbeat_ms: Annotated[
        Milliseconds | None,
        Field(description="a try that gives no heartbeat for so long is timed out as stalled"),
        ENGINE,
    ] = None
    concurrency: Annotated[int, Field(ge=1, le=10_000), ENGINE] = 10
    trigger: Annotated[TriggerName | None, ENGINE] = None
    on_exit: Annotated[
        Literal["cancel"] | None, Field(description="what becomes of it when its instance leaves the status"), ENGINE
    ] = None
    detached: Annotated[
        bool, Field(description="it runs though its instance ends while it waits; else that cancels it"), ENGINE
    ] = False
    description: Annotated[Prose, PROSE] = ""
    rank: Annotated[int | None, Field(description="a priority that is a number, in contracts of others")] = None
