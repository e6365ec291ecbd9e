"""A state machine as a contract tells it: states, transitions and what guards them.

``from_state`` may be ``"*"``: every state that is not terminal. Without ``states`` the transitions say which there are.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..part import (
    COMPARED,
    EXPRESSION_MAX,
    MACHINE,
    PROSE,
    ROWS_MAX,
    TRANSITIONS_MAX,
    ClassName,
    Milliseconds,
    ModelContractVersion,
    Name,
    Part,
    Prose,
    StateName,
    Word,
)


class ModelFSMCondition(Part):
    """A guard: the three-token form or CEL (SEMANTICS 13)."""

    expression: Annotated[str, Field(min_length=1, max_length=EXPRESSION_MAX), MACHINE]
    condition_name: Annotated[Word | None, COMPARED] = None
    condition_type: Word | None = None
    required: bool | None = None
    error_message: Prose | None = None
    description: Annotated[Prose, PROSE] = ""
    version: Annotated[ModelContractVersion | None, COMPARED] = None


class ModelFSMAction(Part):
    """What an old contract does on entering, leaving or passing: read as the name of an intent (DESIGN 7)."""

    action_name: Annotated[Word, COMPARED]
    action_type: Annotated[Word | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    is_critical: bool | None = None
    execution_order: int | None = None
    rollback_action: Word | None = None
    timeout_ms: Milliseconds | None = None
    version: Annotated[ModelContractVersion | None, COMPARED] = None


Actions = Annotated[tuple[ModelFSMAction, ...], Field(max_length=ROWS_MAX)]


class ModelFSMTransition(Part):
    """``from_state`` may be ``"*"``: every state that is not terminal. All conditions must hold."""

    from_state: Annotated[StateName, MACHINE]
    to_state: Annotated[Name, MACHINE]
    trigger: Annotated[Name, MACHINE]
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


class ModelFSMState(Part):
    """``timeout_ms`` after entering, ``on_timeout`` is fired, unless the state was left."""

    name: Annotated[Name, MACHINE]
    description: Annotated[Prose, PROSE] = ""
    timeout_ms: Annotated[Milliseconds | None, MACHINE] = None
    on_timeout: Annotated[Name | None, MACHINE] = None
    state_type: Annotated[Word | None, COMPARED] = None
    is_recoverable: bool | None = None
    entry_actions: Annotated[Actions, COMPARED] = ()
    exit_actions: Annotated[Actions, COMPARED] = ()
    required_data: Annotated[tuple[Word, ...], COMPARED] = ()
    optional_data: Annotated[tuple[Word, ...], COMPARED] = ()
    version: Annotated[ModelContractVersion | None, COMPARED] = None


class ModelFSMSubcontract(Part):
    """``states`` is optional: without it the transitions say which there are."""

    initial_state: Annotated[Name, MACHINE]
    terminal_states: Annotated[tuple[Name, ...], Field(max_length=TRANSITIONS_MAX), MACHINE] = ()
    states: Annotated[tuple[ModelFSMState, ...] | None, Field(min_length=1, max_length=TRANSITIONS_MAX), MACHINE] = None
    transitions: Annotated[tuple[ModelFSMTransition, ...], Field(min_length=1, max_length=TRANSITIONS_MAX), MACHINE]
    state_machine_name: Annotated[Word | None, COMPARED] = None
    state_machine_version: Annotated[ModelContractVersion | None, COMPARED] = None
    version: Annotated[ModelContractVersion | None, COMPARED] = None
    description: Annotated[Prose, PROSE] = ""
    error_states: Annotated[tuple[Word, ...], COMPARED] = ()
