"""What the API says of one instance, as models: a moment and why it came, what it waits for, what became of its intents."""

from __future__ import annotations

from pydantic import Field, JsonValue

from .answers import (
    Answered,
    ChangesAnswer,
    CodeAnswer,
    LogEntryAnswer,
    OpenIntentAnswer,
    RejectionAnswer,
    TimerAnswer,
)


class TransitionAnswer(Answered):
    """A transition that was tried for the action, in the order of the contract. The one with ``taken`` chose the status.

    ``failed`` is the condition that did not hold. ``path`` and ``line`` are those of the contract; line 0 where ONEX made it.
    """

    from_state: str
    to_state: str
    trigger: str
    guards: list[str]
    path: str
    line: int
    taken: bool
    failed: str


class TaskAnswer(Answered):
    """One task of an orchestration. ``items`` is how far a map is, in words; '' for any other task."""

    task: str
    state: str
    began: str
    ended: str
    items: str
    error: str


class WaitingAnswer(Answered):
    """What an instance waits for. ``held``: why it takes no action until it is released; null when it is not held."""

    intents: list[OpenIntentAnswer]
    timers: list[TimerAnswer]
    leased_until: str | None
    epoch: int
    held: str | None
    failures: int
    engine_runs: bool = Field(description="whether an engine runs on the store")


class InstanceAnswer(Answered):
    """One instance after one version. ``action`` is the one that led there, ``tried`` says why, ``changes`` what it changed."""

    key: str
    version: int
    last_version: int
    first_version: int = Field(description="the oldest version that the log has; older ones are in an archive")
    status: str
    status_before: str | None
    terminal: bool
    changed_at: str
    state: JsonValue
    state_is_known: bool
    unknown: str = Field(description="why the state, or what was before it, is not known; '' when it is")
    unproven: str = Field(
        description="why the recorded hash of this version was not made again by this code; '' when it was"
    )
    is_folded: bool = Field(description="whether the state was folded again, and so compared with its hash")
    changes: ChangesAnswer | None
    action: LogEntryAnswer
    tried: list[TransitionAnswer]
    accepts: list[str] = Field(description="triggers that have a transition from this status")
    public: list[str] = Field(description="those of them that a client may send")
    code: CodeAnswer | None
    is_app_code: bool | None = Field(description="whether the code of the app here made this version")
    state_schema: int = Field(description="the schema of the state, as the app counts them")
    tasks: list[TaskAnswer] = Field(
        description="of an orchestration: how far each task is that has begun or was left out"
    )
    waiting: WaitingAnswer | None = Field(description="what it waits for; only at its last version")


class PassAnswer(Answered):
    """A first pass over a long history is under way: ask the same again. ``folded`` of about ``of`` rows are done."""

    folded: int
    of: int


class StretchAnswer(Answered):
    """Versions from ``first`` to ``last`` are not proven by the code of the app."""

    first: int
    last: int
    why: str


class ProofAnswer(Answered):
    """``proven``: the code of the app makes every recorded hash again, up to version ``up_to``."""

    up_to: int
    proven: bool
    stretches: list[StretchAnswer]


class AttemptAnswer(Answered):
    """One try of an intent."""

    attempt: int
    began_at: str | None
    ended_at: str
    ms: float | None
    outcome: str
    code: str | None
    error: str | None
    trace: list[str]


class IntentStoryAnswer(Answered):
    """One intent, and what became of it. ``outcome`` is the trigger that it came back as, at ``outcome_version``."""

    pointer: str
    intent: str
    n: int
    version: int
    state: str
    ended_as: str | None
    error: str | None
    outcome: str | None
    outcome_version: int | None
    outcome_after_ms: float | None
    attempts: list[AttemptAnswer]


class IntentsAnswer(Answered):
    """Intents of the actions from ``first_version`` on."""

    intents: list[IntentStoryAnswer]
    first_version: int


class CausesAnswer(Answered):
    """The first cause first, the action itself last. ``broken``: why the chain begins there, where more came before."""

    chain: list[LogEntryAnswer]
    broken: str


class RejectionsAnswer(Answered):
    """``more``: there are older ones."""

    rejections: list[RejectionAnswer]
    more: bool


class WaitAnswer(Answered):
    """Where the instance stands. ``reached`` is false when the time was over first; status null: it has not begun."""

    reached: bool
    status: str | None
    version: int
