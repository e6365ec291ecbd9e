"""Upcast: what is stored, as the code that runs now has it. A value of an older schema is migrated before it is read.

Nothing is written back here: the next commit of an instance writes its state in the new schema, the log stays as it is.
"""

from __future__ import annotations

import orjson
from pydantic import BaseModel

from ..kernel.errors import MigrationFailed, OnexError, StateConsistencyError
from ..kernel.intent import Emitted
from ..kernel.migration import Json, What
from ..kernel.step import ROLLBACK, Rollback, State
from ..ports import Code
from .encode import MEND, decode, decode_intents
from .registry import Workflow

STATE = What()


class MigrationMissing(OnexError):
    """The store holds values of a schema that this app has no way up from."""

    code = "migration_missing"


def stored_state(workflow: Workflow, schema: int, data: bytes) -> State:
    """Raises StateTooNew, MigrationFailed, StateConsistencyError."""
    raw = _raised(workflow, STATE, schema, data)
    state: State = decode(workflow.reducer.state_type, raw, _mend(workflow, schema))
    return state


def logged_payload(workflow: Workflow, trigger: str, schema: int, data: bytes) -> BaseModel:
    """Raises InvalidStateTransitionError for a trigger that is gone, and as ``stored_state``."""
    model: type[BaseModel] = workflow.payload_model(trigger)
    if trigger == ROLLBACK and schema != workflow.code.state_schema:
        return _rollback(workflow, schema, data)
    return decode(model, _raised(workflow, What(payload=trigger), schema, data), _mend(workflow, schema))


def _rollback(workflow: Workflow, schema: int, data: bytes) -> Rollback:
    """A rollback carries a whole state, of the schema that its row was written under."""
    back = decode(Rollback, data)
    state = workflow.migrations.apply(STATE, dict(back.state), schema, workflow.code.state_schema)
    return back.model_copy(update={"state": state})


def logged_intents(workflow: Workflow, schema: int, data: bytes) -> tuple[Emitted, ...]:
    """Raises StateConsistencyError for an intent that is gone, and as ``stored_state``."""
    now = workflow.code.state_schema
    if data and schema != now:
        items: list[Json] = orjson.loads(data)
        for item in items:
            payload = item.get("payload")
            if isinstance(payload, dict):
                item["payload"] = workflow.migrations.apply(What(intent=str(item["name"])), payload, schema, now)
        data = orjson.dumps(items)
    return decode_intents(data, workflow.reducer.intents)


def check_schemas(workflows: tuple[Workflow, ...], codes: tuple[Code, ...]) -> None:
    """Whether every schema a store was ever written by can be read. Raises MigrationMissing, naming the steps."""
    for workflow in workflows:
        name, now = workflow.code.workflow_type, workflow.code.state_schema
        oldest = min((code.state_schema for code in codes if code.workflow_type == name), default=now)
        gaps = workflow.migrations.missing(oldest, now)
        if gaps:
            told = ", ".join(f"{n} to {n + 1}" for n in gaps)
            raise MigrationMissing(
                f"the store holds {name} of schema {oldest}, this app writes {now} and has no migration from {told}. "
                f"Write one in migrations.py beside its contract: @migrate({gaps[0]})"
            )


def _mend(workflow: Workflow, schema: int) -> str:
    now = workflow.code.state_schema
    if schema == now:
        return MEND
    return f"they are of schema {schema}: what migrations.py makes of them is to be what schema {now} has, no more and no less"


def _raised(workflow: Workflow, what: What, schema: int, data: bytes) -> bytes:
    now = workflow.code.state_schema
    if schema == now:
        return data
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise StateConsistencyError(f"stored bytes of {what} are no JSON: {error}") from error
    if not isinstance(value, dict):
        raise StateConsistencyError(f"stored bytes of {what} are no object")
    raised = workflow.migrations.apply(what, value, schema, now)
    try:
        return orjson.dumps(raised)
    except TypeError as error:
        raise MigrationFailed(f"{what}: what its migration returned is no JSON: {error}") from error
