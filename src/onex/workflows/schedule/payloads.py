"""What a schedule is told, what it asks the engine to send, and what it remembers."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, JsonValue

from onex import Payload, State
from onex.contracts.model.schedule import ModelSchedule

Count = Annotated[int, Field(ge=0)]


class Declared(Payload):
    """The engine's app has this schedule, for this workflow."""

    workflow: str
    definition: ModelSchedule


class Fire(Payload):
    """Send ``trigger`` to ``key`` under the id ``firing_id``, unless the run ``before`` has not ended.

    With ``cancel``, that trigger is sent to ``before`` first, and nothing is asked. ``before`` is '' where runs may overlap.
    """

    firing_id: UUID
    due: AwareDatetime
    key: str
    trigger: str
    payload: dict[str, JsonValue] = Field(default_factory=dict)
    before: str = ""
    cancel: str = ""


class FireResult(Payload):
    """``begun``: the action is applied. ``running``: it was not sent, the earlier run has not ended. ``refused``: and why."""

    outcome: Literal["begun", "running", "refused"]
    reason: str = ""


class WatchRun(Payload):
    """Tell when this run has ended."""

    key: str


class WatchResult(Payload):
    """``over``: it has ended. Else the time for this watch is over, and nothing more is known."""

    over: bool


class Open(Payload):
    """A firing whose answer is awaited. ``was_queued``: it waited for an earlier run before."""

    due: AwareDatetime
    key: str
    intent_id: UUID
    was_queued: bool = False


class Last(Payload):
    """The last firing, and what came of it: an outcome of FireResult, ``queued`` or ``failed``."""

    due: AwareDatetime
    key: str
    outcome: str
    reason: str = ""


class Schedule(State):
    """``next_due``: the earliest due time that is not decided. ``owed``: so many from there on are to be fired although they are
    over. ``asked``: an operator wants a firing. ``queued``: this one waits for an earlier run, which the intent ``watch`` watches.
    ``run`` is the last instance that a firing began. ``missed`` were due while no engine ran, ``skipped`` while a run was on.
    """

    workflow: str = ""
    definition: ModelSchedule | None = None
    next_due: AwareDatetime | None = None
    owed: Count = 0
    firing: Open | None = None
    asked: tuple[AwareDatetime, ...] = ()
    queued: AwareDatetime | None = None
    watch: UUID | None = None
    run: str = ""
    last: Last | None = None
    fired: Count = 0
    missed: Count = 0
    missed_at: AwareDatetime | None = None
    skipped: Count = 0
    refused: Count = 0
