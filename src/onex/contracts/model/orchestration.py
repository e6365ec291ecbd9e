"""An orchestration: a list of tasks, what each waits for, and what becomes of a failure. A workflow is made of it (``tasks``).

A task does one thing: it has exactly one of the keys in ``KINDS``. Texts in ``with`` and ``output`` are paths to what is known:
``input.customer``, ``pay.receipt``. A number, true or false stands for itself, and a text for itself in ``{value: text}``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, JsonValue, create_model

from ...kernel.intent import EnumDelivery
from ...kernel.intent_fields import EnumIntentPriority
from .fsm import ModelIntentRetry
from .part import (
    ENGINE,
    EXPRESSION_MAX,
    MACHINE,
    PROSE,
    ClassName,
    Kind,
    Milliseconds,
    Part,
    Prose,
    Target,
    TaskName,
    TriggerName,
    WorkflowType,
)
from .target import ModelCallBlocks

TASKS_MAX = 60
MODELS_MAX = 200
CONCURRENT_MAX = 30
ITEMS_MAX = 1_000_000
COLLECTED_MAX = 1_000
KINDS = ("effect", "compute", "workflow", "signal", "wait_ms", "wait_until", "approval", "map")
Path = Annotated[str, Field(min_length=1, max_length=EXPRESSION_MAX)]


class EnumWorkflowCoordination(StrEnum):
    """Which task waits for which, where a task does not say it. One waits for the one before it; or only for those whose results it
    takes; or for the one before it, where each signal may come at any time.
    """

    SEQUENTIAL = "SEQUENTIAL"
    PARALLEL = "PARALLEL"
    EVENT_DRIVEN = "EVENT_DRIVEN"


class EnumTaskFailure(StrEnum):
    """``abort`` undoes the whole. ``skip`` leaves the task out, and all that takes its result. ``continue`` goes on without it.
    ``hold`` pauses the whole until somebody sends ``rerun``, ``resume`` or ``cancel``.
    """

    ABORT = "abort"
    SKIP = "skip"
    CONTINUE = "continue"
    HOLD = "hold"


Given = Path | dict[str, JsonValue] | None
if TYPE_CHECKING:

    class _With(ModelCallBlocks): ...

else:  # ``with`` is a word of Python, so no class statement can declare the field
    _FIELD = Field(description="field -> path to what it gets; or one path to the whole")
    _With = create_model("_With", __base__=ModelCallBlocks, **{"with": (Annotated[Given, _FIELD, ENGINE], None)})


class ModelCall(_With):
    """A call of an effect or a compute function: what it is given, and how often it is tried. Without ``with`` it is given the
    input, where that has its class.

    ``payload`` and ``result`` may be left out where a function of the app serves it: then its annotations say them.
    """

    effect: Annotated[Target | None, MACHINE] = None
    compute: Annotated[Target | None, MACHINE] = None
    type: Annotated[
        Kind | None, Field(description="left out, what the block of its target serves, else api_call"), ENGINE
    ] = None
    payload: Annotated[ClassName | None, ENGINE] = None
    result: Annotated[ClassName | None, ENGINE] = None
    retry: Annotated[ModelIntentRetry | None, ENGINE] = None
    delivery: Annotated[EnumDelivery | None, ENGINE] = None
    priority: Annotated[EnumIntentPriority | None, ENGINE] = None
    timeout_ms: Annotated[Milliseconds | None, Field(description="of one try"), ENGINE] = None

    @property
    def given(self) -> Given:
        """What stands under ``with``."""
        found: Given = getattr(self, "with")  # a word of Python
        return found


class ModelMap(Part):
    """Over which items: a list, or the numbers from 0 up to ``count``. What is done with each is the task's own call."""

    over: Annotated[Path | None, Field(description="path to a list"), ENGINE] = None
    count: Annotated[Path | int | None, Field(description="a number, or the path to one"), ENGINE] = None
    at_most: Annotated[int | None, Field(ge=1, le=ITEMS_MAX), ENGINE] = None
    concurrency: Annotated[int, Field(ge=1, le=1_000), ENGINE] = 50
    gather: Annotated[Literal["count", "collect"], ENGINE] = "count"
    fold: Annotated[
        ClassName | None, Field(description="pure function of payloads.py: (total, result) -> total"), ENGINE
    ] = None
    failures: Annotated[int, Field(ge=0, description="more failed items than this fail the task"), ENGINE] = 0


class ModelStage(ModelCall):
    """A call with a name. ``when`` is judged once, when all that it waits for has ended; false leaves it out."""

    id: Annotated[TaskName, MACHINE]
    description: Annotated[Prose, PROSE] = ""
    when: Annotated[str | None, Field(min_length=1, max_length=EXPRESSION_MAX), MACHINE] = None
    on_failure: Annotated[EnumTaskFailure, ENGINE] = EnumTaskFailure.ABORT
    compensate: Annotated[ModelCall | None, Field(description="undoes it when the whole fails"), MACHINE] = None


class ModelTask(ModelStage):
    """One task: a call, something it waits for, or children."""

    workflow: Annotated[WorkflowType | None, Field(description="an orchestration of the same app"), MACHINE] = None
    signal: Annotated[TriggerName | None, Field(description="the trigger that it waits for"), MACHINE] = None
    wait_ms: Annotated[Milliseconds | None, MACHINE] = None
    wait_until: Annotated[Path | None, Field(description="path to a time"), MACHINE] = None
    approval: Annotated[
        Prose | None, Field(description="the question; ID.approve and ID.reject answer it"), MACHINE
    ] = None
    map: Annotated[ModelMap | None, MACHINE] = None
    depends_on: Annotated[tuple[TaskName, ...] | None, Field(max_length=TASKS_MAX), MACHINE] = None
    stages: Annotated[
        tuple[ModelStage, ...] | None,
        Field(min_length=1, max_length=TASKS_MAX, description="of a map: calls for each item, one after the other"),
        MACHINE,
    ] = None
    deadline_ms: Annotated[Milliseconds | None, ENGINE] = None

    @property
    def kind(self) -> str:
        """Which of KINDS it is: a map is a map, whatever it does with each item."""
        return "map" if self.map is not None else next(kind for kind in KINDS if getattr(self, kind) is not None)


class ModelOrchestration(Part):
    """What makes a contract an orchestration: its tasks, and the models that stand in no file of Python."""

    input: Annotated[ClassName | None, Field(description="class of the payload of start"), ENGINE] = None
    output: Annotated[Path | None, Field(description="path to what the whole gives"), ENGINE] = None
    mode: Annotated[EnumWorkflowCoordination, ENGINE] = EnumWorkflowCoordination.SEQUENTIAL
    deadline_ms: Annotated[Milliseconds | None, Field(description="of the whole"), ENGINE] = None
    concurrency: Annotated[int, Field(ge=1, le=CONCURRENT_MAX, description="calls at once"), ENGINE] = CONCURRENT_MAX
    models: Annotated[dict[str, dict[str, JsonValue]], Field(max_length=MODELS_MAX), ENGINE] = Field(
        default_factory=dict
    )
    tasks: Annotated[tuple[ModelTask, ...], Field(max_length=TASKS_MAX), MACHINE] = ()
