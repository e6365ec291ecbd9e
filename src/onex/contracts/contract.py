"""What a reducer's contract says, as values. The one shape; other spellings are brought into it before they get here.

Unknown keys are refused (``extra="forbid"``), so nothing a user writes is silently without effect. Times are whole
milliseconds, as in the YAML.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..kernel.intent import EnumDelivery, EnumIntentPriority
from ..kernel.retry import RetryPolicy

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
WorkflowType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
ClassName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Target = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./:@-]{0,199}$")]
Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Prose = Annotated[str, Field(max_length=4000)]
Milliseconds = Annotated[int, Field(ge=1, le=366 * 24 * 3600 * 1000)]
Count = Annotated[int, Field(ge=0, le=10**9)]

TRANSITIONS_MAX = 1000
INTENTS_MAX = 200
EXPRESSION_MAX = 1000


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ModelContractVersion(_Part):
    major: Count
    minor: Count
    patch: Count

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


class ModelFSMCondition(_Part):
    """A guard: the three-token form or CEL (SEMANTICS 13)."""

    expression: Annotated[str, Field(min_length=1, max_length=EXPRESSION_MAX)]


class ModelFSMTransition(_Part):
    """``from_state`` may be ``"*"``: every state that is not terminal. All conditions must hold."""

    from_state: Annotated[str, Field(pattern=r"^(\*|[A-Za-z][A-Za-z0-9_-]{0,63})$")]
    to_state: Name
    trigger: Name
    payload: ClassName | None = Field(default=None, description="class in payloads.py; said once per trigger")
    conditions: tuple[ModelFSMCondition, ...] = Field(default=(), max_length=20)
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    description: Prose = ""


class ModelFSMState(_Part):
    """``timeout_ms`` after entering, ``on_timeout`` is fired, unless the state was left."""

    name: Name
    description: Prose = ""
    timeout_ms: Milliseconds | None = None
    on_timeout: Name | None = None


class ModelFSMSubcontract(_Part):
    """``states`` is optional: without it the transitions say which there are."""

    initial_state: Name
    terminal_states: tuple[Name, ...] = Field(default=(), max_length=TRANSITIONS_MAX)
    states: tuple[ModelFSMState, ...] | None = Field(default=None, min_length=1, max_length=TRANSITIONS_MAX)
    transitions: tuple[ModelFSMTransition, ...] = Field(min_length=1, max_length=TRANSITIONS_MAX)


class ModelIntentOutcomes(_Part):
    """The trigger each outcome becomes; all three or no ``outcomes`` at all."""

    succeeded: Name
    failed: Name
    unknown: Name


class ModelIntentRetry(_Part):
    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    initial_ms: Milliseconds = 500
    max_ms: Milliseconds = 30_000
    factor: Annotated[float, Field(ge=1, le=100)] = 2.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.5

    def policy(self) -> RetryPolicy:
        return RetryPolicy(self.max_attempts, self.initial_ms / 1000, self.max_ms / 1000, self.factor, self.jitter)


class ModelIntentDeclaration(_Part):
    """One intent a reducer may emit: who serves it, and what each outcome becomes."""

    name: Name
    type: Kind
    target: Target | None = None
    payload: ClassName | None = None
    outcomes: ModelIntentOutcomes | None = None
    retry: ModelIntentRetry = ModelIntentRetry()
    delivery: EnumDelivery | None = None
    priority: EnumIntentPriority = EnumIntentPriority.NORMAL
    timeout_ms: Milliseconds = 30_000
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 10
    trigger: Name | None = None
    description: Prose = ""


class ModelContractReducer(_Part):
    """``<workflow>/contract.yaml``. ``name`` is the workflow type."""

    name: WorkflowType
    contract_version: ModelContractVersion
    node_type: Literal["REDUCER_GENERIC", "REDUCER"]
    description: Prose = ""
    state_model: ClassName
    state_schema: Annotated[int, Field(ge=1, le=10_000)] = 1
    unleased: tuple[Name, ...] = Field(default=(), max_length=TRANSITIONS_MAX)
    state_machine: ModelFSMSubcontract
    intents: tuple[ModelIntentDeclaration, ...] = Field(default=(), max_length=INTENTS_MAX)

    @property
    def payloads(self) -> dict[str, str]:
        """``payloads[trigger] -> class name``; a trigger that names none carries ``Nothing``."""
        named = {t.trigger: t.payload for t in self.state_machine.transitions if t.payload is not None}
        return {t.trigger: named.get(t.trigger, "Nothing") for t in self.state_machine.transitions}
