"""Refold: recorded rows folded again by the code at hand. The one place that makes an action and a step of a log row.

Whoever reads history uses it: an earlier state (``state_at``), a rollback (``proven_state_at``), replay, and what-if.
The live fold (``engine/fold.py``) is another function for two reasons: it judges, and it writes.

One row, in this order:

1. Its payload is read by today's model. One of an older schema goes through the migrations first.
2. Its trigger gets today's name, where the contract renamed it.
3. The action gets what the log holds: id, time, correlation, issuer, cause, the intent it came through. So every intent gets the
   id it had.
4. ``delta`` makes the next state and the intents. Nothing is judged again: a row in the log was accepted once.

What may go wrong, and who decides what it means:

- The payload no longer fits its model, a migration is missing or fails, the trigger is gone: OnexError.
- The reducer refuses, or raises. A reducer made by hand may raise anything, so a caller catches BaseException.
- The code makes something else than what was recorded. Nothing raises then. A caller that needs the recorded state holds
  the bytes against the hash that closes each batch, as ``proven_state_at`` does. ``state_at`` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel

from ..kernel.action import ID_BYTES, NOTHING, Action, OutcomeOf, WorkflowKey
from ..kernel.errors import OnexError, StateConsistencyError
from ..kernel.step import Done, State
from ..kernel.user_code import caught
from ..ports import Code, LogEntry, LogRow, SnapshotRow, Stored
from .encode import decode, encode, encode_intents, state_hash
from .registry import Workflow
from .schema_upgrade import logged_intents, logged_payload, logged_trigger, stored_state

PAGE = 1000
OWN_INTENT = "intent:"
"""How the issuer of an outcome or timer begins: an intent of the instance itself."""
_made = tuple.__new__  # of a NamedTuple: its own way costs three times the tuple


class HistoryCut(OnexError):
    """The version was moved to an archive by ``onex gc``: here the history of its instance begins later."""

    code = "history_cut"


class Recorded(Protocol):
    """What a replay asks of a store. Any Reader answers it, and so does an exported file."""

    async def codes(self) -> Mapping[int, Code]: ...

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]: ...

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]: ...

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None: ...


class Refold:
    """One workflow's code, looked up once for any number of rows. A step is ``delta(state, action(key, row))``."""

    __slots__ = ("_read", "delta", "schema", "workflow")

    def __init__(self, workflow: Workflow) -> None:
        reducer = workflow.reducer
        self.workflow = workflow
        self.schema = workflow.code.state_schema
        self.delta: Callable[[Any, Action[Any]], Done[Any]] = reducer.delta
        self._read: Mapping[str, Callable[[bytes], BaseModel]] = {
            trigger: model.__pydantic_validator__.validate_json for trigger, model in reducer.payloads.items()
        }

    def begin(self, kept: SnapshotRow | None) -> State:
        """The state before the first row to fold: the kept one, or without one (or at version 0) the initial state."""
        if kept is None or not kept.version:
            state: State = self.workflow.reducer.initial()
            return state
        return stored_state(self.workflow, kept.state_schema, kept.state)

    def action(self, key: WorkflowKey, row: LogRow) -> Action[BaseModel]:
        """The recorded action, as this code calls it. Raises OnexError when this code cannot read it."""
        action_id, kind, body, issued_us, correlation, cause, issuer, _, _, _, _, schema = row
        read = self._read.get(kind) if schema == self.schema else None
        if read is None:
            payload = logged_payload(self.workflow, kind, schema, body)
            kind = logged_trigger(self.workflow, kind, schema)
        else:
            try:
                payload = read(body)
            except BaseException as error:
                caught(error)
                payload = decode(self.workflow.payload_model(kind), body)  # raises again, with a sentence
        through = b""
        if cause is not None and len(cause) > ID_BYTES:
            cause, through = cause[:ID_BYTES], self._through(cause[ID_BYTES:], issuer, schema)
        return _made(Action, (key, kind, payload, action_id, issued_us, correlation, issuer, cause, through))

    def _through(self, through: bytes, issuer: str, schema: int) -> bytes:
        """The intent an action came through, as this code calls it. A message's intent has its name from the sender."""
        if not through or schema == self.schema or not issuer.startswith(OWN_INTENT):
            return through
        try:
            of = OutcomeOf.unpacked(through)
        except ValueError as error:
            raise StateConsistencyError(f"the intent behind a recorded action cannot be read: {error}") from error
        return of._replace(name=self.workflow.migrations.intent(of.name, schema, self.schema)).packed()

    def timer(self, key: WorkflowKey, row: LogRow, kind: str) -> Action[BaseModel]:
        """The recorded action as a timer of this code fires it: under its own trigger ``kind``, without a payload."""
        through = b"" if row.cause is None else self._through(row.cause[ID_BYTES:], row.issuer, row.payload_schema)
        return Action(
            key, kind, NOTHING, row.action_id, row.issued_us, row.correlation, row.issuer, row.cause_id, through
        )

    def status(self, row: LogRow) -> str:
        """The recorded status, as this code calls it."""
        return self.workflow.migrations.status(row.status, row.payload_schema, self.schema)

    def intents(self, row: LogRow) -> bytes:
        """The recorded intents, as this code writes them. Raises OnexError for one that its contract does not have."""
        if row.payload_schema == self.schema:
            return row.intents
        return encode_intents(logged_intents(self.workflow, row.payload_schema, row.intents))


async def state_at(reader: Recorded, workflow: Workflow, key: WorkflowKey, version: int) -> State:
    """What ``workflow`` makes of the log up to ``version``, from the nearest snapshot below it.

    Not compared with anything: other code may make another state of it. Raises OnexError for a gap.
    """
    refold = Refold(workflow)
    snapshot = await reader.snapshot(key, version)
    state, after = refold.begin(snapshot), snapshot.version if snapshot is not None else 0
    while after < version:
        rows = await reader.history(key, after, min(PAGE, version - after))
        if not rows or rows[0].version != after + 1:
            raise _gap(key, version, after, rows)
        for entry in rows:
            state = refold.delta(state, refold.action(key, entry.row)).state
        after = rows[-1].version
    return state


async def proven_state_at(reader: Recorded, workflow: Workflow, key: WorkflowKey, version: int) -> State:
    """The state that stood after ``version``, for a caller that goes on from it: each batch on the way must have its hash.

    A state of an older schema is migrated, and cannot be compared with its hash. Raises StateConsistencyError for a row
    that is damaged, or of which this code makes something else; OnexError for a gap.
    """
    refold = Refold(workflow)
    snapshot = await reader.snapshot(key, version)
    state, after, hash_before = refold.begin(snapshot), 0, b""
    if snapshot is not None:
        after, hash_before = snapshot.version, snapshot.state_hash
    codes, batch = await reader.codes(), list[LogRow]()
    found = encode(state) if after == version else None
    while found is None or batch:  # to the end of the batch that holds ``version``: only there is a hash
        rows = await reader.history(key, after, PAGE)
        if not rows or rows[0].version != after + 1:
            raise _gap(key, version, after, rows)
        for entry in rows:
            try:
                state = refold.delta(state, refold.action(key, entry.row)).state
            except OnexError as error:
                raise _unproven(key, entry.version) from error
            batch.append(entry.row)
            if entry.version == version:
                found = encode(state)  # as bytes: a reducer may change the value in place when later rows are folded
            if entry.state_hash:
                code = codes[entry.code_id]
                comparable = code.state_schema == refold.schema
                if comparable and state_hash(hash_before, key, code.digest, batch, encode(state)) != entry.state_hash:
                    raise _unproven(key, entry.version)
                hash_before, batch = entry.state_hash, []
                if found is not None:
                    break
        after = rows[-1].version
    proven: State = decode(workflow.reducer.state_type, found)
    return proven


def _unproven(key: WorkflowKey, version: int) -> StateConsistencyError:
    return StateConsistencyError(
        f"{key} version {version}: this code does not make of the log what was recorded. It was made by other code, or is "
        "damaged: onex replay tells which. Nothing was changed"
    )


def _gap(key: WorkflowKey, version: int, last: int, rows: Sequence[LogEntry]) -> OnexError:
    if rows:
        return HistoryCut(
            f"the history of {key} begins behind version {rows[0].version - 1} here, and version {version} is before it; the "
            "archive that onex gc wrote has it"
        )
    return OnexError(f"{key} has no version {version}; its history ends at {last}")
