"""Schema upgrade: what is stored, as the code that runs now has it. A value of an older schema is migrated before it is read.

Nothing is written back here. The next commit of an instance writes its state in the new schema; the log stays as it is, so a
log row is upgraded each time it is read. An id is made of the names that an intent was emitted under, never of today's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from ..kernel.data_key import check_readable
from ..kernel.errors import MigrationFailed, OnexError, StateConsistencyError, StateTooNew
from ..kernel.intent import CANCEL, Emitted, EnumIntentType
from ..kernel.machine import state_timer
from ..kernel.migration import Json
from ..kernel.rename import STATE, ValueKind
from ..kernel.size_limits import PAYLOAD_BYTES
from ..kernel.step import ROLLBACK, Rollback, State
from ..ports import Code, Pointer
from .encode import SCHEMA_FIX, STATE_BYTES, decode, decode_intent, ordinals, read_intents
from .registry import Workflow

TimerWait = tuple[Pointer, int]
"""The outbox row where a timer waits, and until when (microseconds)."""


class MigrationMissing(OnexError):
    """The store holds values of a schema that this app has no way up from."""

    code = "migration_missing"


def stored_state(workflow: Workflow, schema: int, data: bytes) -> State:
    """Raises StateTooNew, MigrationFailed, StateConsistencyError."""
    raw = _upgraded(workflow, STATE, schema, data)
    state: State = decode(workflow.reducer.state_type, raw, _fix(workflow, schema))
    return state


def logged_trigger(workflow: Workflow, trigger: str, schema: int) -> str:
    """What a trigger of schema ``schema`` is called now."""
    return workflow.migrations.trigger(trigger, schema, workflow.code.state_schema)


def logged_payload(workflow: Workflow, trigger: str, schema: int, data: bytes) -> BaseModel:
    """What ``trigger``, as schema ``schema`` called it, carried. Raises InvalidStateTransitionError for one that is gone,
    and as ``stored_state``."""
    model: type[BaseModel] = workflow.payload_model(logged_trigger(workflow, trigger, schema))
    if trigger == ROLLBACK and schema != workflow.code.state_schema:
        return _upgraded_rollback(workflow, schema, data)
    return decode(model, _upgraded(workflow, ValueKind(payload=trigger), schema, data), _fix(workflow, schema))


def _upgraded_rollback(workflow: Workflow, schema: int, data: bytes) -> Rollback:
    """A rollback carries a whole state, of the schema that its row was written under."""
    back = decode(Rollback, data)
    state = workflow.migrations.apply(STATE, dict(back.state), schema, workflow.code.state_schema)
    return back.model_copy(update={"state": state})


class Logged(NamedTuple):
    """One intent of a log row. ``name`` and ``n``, which its id is made of, are those it was emitted under."""

    emitted: Emitted
    name: str
    n: int


def logged_intent(workflow: Workflow, schema: int, data: bytes, ordinal: int) -> Logged:
    """The intent at ``ordinal``, whatever its neighbours have become. Raises as ``logged_intents``."""
    items = read_intents(data)
    if not 0 <= ordinal < len(items):
        raise StateConsistencyError(f"the stored step has {len(items)} intents, and none at {ordinal}")
    names = [str(one["name"]) for one in items]
    return Logged(_intent(workflow, schema, items[ordinal]), names[ordinal], ordinals(names)[ordinal])


def logged_intents(workflow: Workflow, schema: int, data: bytes) -> tuple[Emitted, ...]:
    """All of one step, names and payloads as they are now.

    Raises StateConsistencyError for an intent that is gone, and as ``stored_state``.
    """
    return tuple(_intent(workflow, schema, item) for item in read_intents(data))


def _intent(workflow: Workflow, schema: int, item: Json) -> Emitted:
    now, was = workflow.code.state_schema, str(item["name"])
    if schema > now:
        raise StateTooNew(f"intent {was!r} was written by schema {schema}; this code knows up to {now}. Run newer code")
    if schema != now:
        payload = item.get("payload")
        if isinstance(payload, dict):
            item["payload"] = workflow.migrations.apply(ValueKind(intent=was), payload, schema, now)
        item["name"] = workflow.migrations.intent(was, schema, now)
        if was == CANCEL and isinstance(item.get("to"), str):
            item["to"] = workflow.migrations.intent(str(item["to"]), schema, now)
    if item["name"] not in workflow.reducer.intents.by_name:
        timer = "due_us" in item and item.get("payload") is None
        raise StateConsistencyError(". ".join(missing_intent(workflow, was, str(item["name"]), schema, timer=timer)))
    return decode_intent(item, workflow.reducer.intents)


def missing_intent(
    workflow: Workflow, was: str, called: str, schema: int, *, timer: bool, status: str = ""
) -> tuple[str, str]:
    """Why an intent of ``schema`` cannot go on, and the line that lets it. ``status``: what its instance stands in now."""
    own, now, table = workflow.code.workflow_type, workflow.code.state_schema, workflow.reducer.intents.by_name
    if was.startswith("@"):
        new = status if state_timer(status) in table and status != was[1:] else "NEW"
        line = rename_line(schema, now, "statuses", was[1:], new)
        reason = f"the timeout of status {was[1:]!r} is set, and the contract of {own} has no status {called[1:]!r} with a timeout"
    else:
        alike = [name for name, spec in table.items() if (spec.kind == EnumIntentType.TIMER) == timer]
        line = rename_line(schema, now, "intents", was, closest_name(was, [name for name in alike if name[0] != "@"]))
        reason = f"intent {was!r} is in the log but no longer in the contract of {own}"
    return reason, f"If it is called otherwise now: {line}. If it is gone, keep it until none waits"


def rename_line(schema: int, now: int, what: str, old: str, new: str) -> str:
    """What to write beside the workflow, and in its contract where this schema has no next one yet."""
    of = min(schema, now)
    rise = f"write state_schema: {now + 1} and " if of == now else ""
    return f'{rise}add to migrations.py, or to its one Python file: renames({of}, {what}={{"{old}": "{new}"}})'


def closest_name(name: str, names: Sequence[str]) -> str:
    """The one that is most likely meant: the only one, or one spelled alike; else NEW, to be replaced."""
    close = list(names) if len(names) == 1 else get_close_matches(name, names, 1)
    return close[0] if close else "NEW"


def current_timers(workflow: Workflow, timers: Mapping[str, TimerWait]) -> dict[str, TimerWait]:
    """Stored timers by what they are called now: ``@asked`` is ``@waiting`` where the status was renamed.

    Where two are called the same now, the later one is; the other keeps its stored name, and fires for nothing.
    """
    called = workflow.migrations.names.timers
    if not called:
        return dict(timers)
    standing: dict[str, TimerWait] = {}
    for name, waits in sorted(timers.items(), key=lambda one: one[1], reverse=True):
        now = called.get(name, name)
        standing[name if now in standing else now] = waits
    return standing


def renamed_trigger(workflow: Workflow, trigger: str) -> tuple[str, int]:
    """``(today's name, last schema that called it so)`` of a trigger that was renamed; ``("", 0)`` for any other."""
    names = workflow.migrations.names.triggers
    if not names or trigger in workflow.reducer.payloads or trigger not in names.olds():
        return "", 0
    schema = names.ends_of(trigger)[-1]
    called = names.now(trigger, schema)
    return (called, schema) if called in workflow.reducer.payloads else ("", 0)


def upgrade_sent(workflow: Workflow, trigger: str, raw: bytes) -> tuple[str, bytes]:
    """An action of a client that knows an older contract: its trigger and payload, JSON, as they are now.

    A trigger of today is taken as it is; one that was renamed is of the last schema that called it so, and anything else
    comes back as it came. Raises MigrationFailed, StateConsistencyError.
    """
    called, schema = renamed_trigger(workflow, trigger)
    if not called:
        return trigger, raw
    return called, _upgraded(workflow, ValueKind(payload=trigger), schema, raw or b"{}")


def check_schemas(workflows: tuple[Workflow, ...], codes: tuple[Code, ...]) -> None:
    """Whether every schema a store was ever written by can be read. Raises MigrationMissing, naming the steps."""
    for workflow in workflows:
        name, now = workflow.code.workflow_type, workflow.code.state_schema
        oldest = min((code.state_schema for code in codes if code.workflow_type == name), default=now)
        gaps = workflow.migrations.missing(oldest, now)
        if gaps:
            steps = ", ".join(f"{n} to {n + 1}" for n in gaps)
            raise MigrationMissing(
                f"the store holds {name} of schema {oldest}, this app writes {now} and has no migration from {steps}. "
                f"Write one in migrations.py beside its contract, or in its one Python file: @migrate({gaps[0]})"
            )


def _fix(workflow: Workflow, schema: int) -> str:
    now = workflow.code.state_schema
    if schema == now:
        return SCHEMA_FIX
    return f"they are of schema {schema}: what migrations.py makes of them is to be what schema {now} has, no more and no less"


def _upgraded(workflow: Workflow, what: ValueKind, schema: int, data: bytes) -> bytes:
    now = workflow.code.state_schema
    if schema == now:
        return data
    check_readable(data, f"a stored {what}")
    try:
        value = from_json(data)  # never through a float: orjson makes one of an integer over 64 bits
    except ValueError as error:
        raise StateConsistencyError(f"stored bytes of {what} are no JSON: {error}") from error
    if not isinstance(value, dict):
        raise StateConsistencyError(f"stored bytes of {what} are no object")
    upgraded = workflow.migrations.apply(what, value, schema, now)
    made = to_json(upgraded)  # plain JSON: what a function gave was copied as such
    most = STATE_BYTES if what == STATE else PAYLOAD_BYTES
    if len(made) > most:
        raise MigrationFailed(f"{what}: migrated to schema {now} it has {len(made)} bytes; the limit is {most}")
    return made


def held_result(kind: str, body: bytes, schema: int) -> bytes:
    """A held outcome as it is stored: what re-drive delivers again. Without a schema it is of schema 1."""
    marked = b',"schema":%d' % schema if schema > 1 else b""
    return b'{"kind":"' + kind.encode() + b'","payload":' + body + marked + b"}"


def held_schema(result: bytes) -> int:
    """The schema of the code that held it; 0 where its row is damaged."""
    try:
        return int(from_json(result).get("schema", 1))
    except (ValueError, TypeError, AttributeError):
        return 0
