"""What the API answers with: rows of a store as the commands print them, said as models for the API's document.

Each model is filled from the document that ``views`` makes, so that ``onex show --json`` and the page tell the same.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ..kernel.action import WorkflowKey
from ..kernel.user_trace import HIDDEN
from ..ports import LogEntry
from ..views.hidden import AllHidden, HiddenFields
from ..views.stored_rows import log_entry_json
from ..views.stored_value import intent_names
from ..whatif.value_diff import compare

KEY: Final = r"^[a-z][a-z0-9_]{0,63}:[\s\S]{1,200}$"

KeyText = Annotated[str, Field(pattern=KEY, max_length=265, description="the instance, as TYPE:INSTANCE")]
AskedKey = Annotated[str, Query(alias="key", pattern=KEY, max_length=265, description="the instance, as TYPE:INSTANCE")]
Rows = Annotated[int, Query(ge=1, le=1000, description="how many rows at most")]


def key_of(text: str) -> WorkflowKey:
    """Raises InvalidKey."""
    return WorkflowKey.parse(text)


class Answered(BaseModel):
    """All answers are closed: what is not said here is not there."""

    model_config = ConfigDict(extra="forbid")


class OutcomeOfAnswer(Answered):
    """The intent that an action is the outcome, timer or message of."""

    intent_id: str
    intent: str
    n: int
    version: int


class LogEntryAnswer(Answered):
    """One applied action. ``emitted`` are the names of its intents, ``intents`` all of them."""

    position: str
    key: str
    version: int
    trigger: str
    status: str
    payload: JsonValue
    intents: JsonValue
    emitted: list[str]
    issued_at: str
    issued_us: int
    action_id: str
    correlation_id: str
    cause: str | None
    outcome_of: OutcomeOfAnswer | None
    issuer: str


def log_entry(entry: LogEntry, hide: HiddenFields) -> LogEntryAnswer:
    emitted = intent_names(entry.row.intents)
    return LogEntryAnswer.model_validate(
        {**log_entry_json(entry, hide), "emitted": emitted, "issued_us": entry.row.issued_us}
    )


class RejectionAnswer(Answered):
    """``times`` equal refusals. ``body`` is the beginning of what was sent."""

    key: str
    action_id: str | None
    code: str
    message: str
    times: int
    first_at: str
    last_at: str
    body: JsonValue
    body_is_cut: bool
    trace: list[str]


class StoppedIntentAnswer(Answered):
    """An intent that is held or dead: it waits for a person. ``pointer`` is what ``redrive`` takes."""

    pointer: str
    key: str
    status: str | None
    intent: str
    state: str
    version: int
    attempts: int
    crashes: int
    error: str | None
    result: JsonValue


class OpenIntentAnswer(Answered):
    """An intent that is not settled. ``running`` is null where nobody can say."""

    pointer: str
    intent: str
    state: str
    running: bool | None
    version: int
    attempt: int
    due_at: str | None
    error: str | None


class TimerAnswer(Answered):
    name: str
    due_at: str


class CodeAnswer(Answered):
    """The code that made a row: version of the contract, and BLAKE3 of the code."""

    version: str
    digest: str


class InstanceRow(Answered):
    """One line of a list of instances."""

    key: str
    status: str
    terminal: bool
    version: int
    changed_at: str
    held: str | None
    held_intents: int
    dead_intents: int
    failures: int
    why: str = Field(default="", description="why nothing happens there just now, where it was asked for and is known")


class ChangeAnswer(Answered):
    """One place where two values differ: JSON on either side, cut; '' where there is nothing."""

    path: str
    old: str
    new: str


class ChangesAnswer(Answered):
    """``total`` differences, of which ``first`` lists the first twenty."""

    total: int
    first: list[ChangeAnswer]


def changes_between(old: JsonValue, new: JsonValue, hide: HiddenFields) -> ChangesAnswer:
    """What is secret is hidden before they are compared, so no difference shows it. Who sees no payload sees where they differ."""
    if isinstance(hide, AllHidden):
        made = compare(old, new)
        first = [ChangeAnswer(path=one.path, old=one.old and HIDDEN, new=one.new and HIDDEN) for one in made.first]
        return ChangesAnswer(total=made.total, first=first)
    made = compare(hide.hide(old), hide.hide(new))
    return ChangesAnswer(total=made.total, first=[ChangeAnswer(**one._asdict()) for one in made.first])


class CountAnswer(Answered):
    """So many instances of one type stand in one status."""

    type: str
    status: str
    instances: int
