"""Refold: recorded rows folded again by the code at hand. What an earlier state was, and whether it is still the one recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..kernel.action import Action, WorkflowKey
from ..kernel.errors import OnexError, StateConsistencyError
from ..kernel.step import State
from ..ports import Code, LogEntry, LogRow, SnapshotRow, Stored
from .encode import decode, encode, state_hash
from .registry import Workflow
from .schema_upgrade import logged_payload, logged_trigger, stored_state

PAGE = 1000


class Recorded(Protocol):
    """What a replay asks of a store. Any Reader answers it, and so does a file of history."""

    async def codes(self) -> Mapping[int, Code]: ...

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]: ...

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]: ...

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None: ...


async def state_at(reader: Recorded, workflow: Workflow, key: WorkflowKey, version: int) -> State:
    """Time travel: what ``workflow`` makes of the log up to ``version``, from the nearest snapshot below it.

    Not held against anything: other code may make another state of it. Raises OnexError for a gap.
    """
    snapshot = await reader.snapshot(key, version)
    state, after = _begun(workflow, snapshot)
    while after < version:
        rows = await reader.history(key, after, min(PAGE, version - after))
        if not rows:
            raise _gap(key, version, after)
        for entry in rows:
            state = _stepped(workflow, key, state, entry.row)
        after = rows[-1].version
    return state


async def proven_state_at(reader: Recorded, workflow: Workflow, key: WorkflowKey, version: int) -> State:
    """The state that stood after ``version``, for whoever goes on from it: each batch on the way must have its hash.

    A state of an older schema is brought up, and cannot be held against its hash. Raises StateConsistencyError for a
    row that is damaged, or of which this code makes something else; OnexError for a gap.
    """
    snapshot = await reader.snapshot(key, version)
    state, after = _begun(workflow, snapshot)
    sealed = snapshot.state_hash if snapshot is not None else b""
    codes, batch = await reader.codes(), list[LogRow]()
    found = encode(state) if after == version else None
    while found is None or batch:
        rows = await reader.history(key, after, PAGE)
        if not rows:
            raise _gap(key, version, after)
        for entry in rows:
            try:
                state = _stepped(workflow, key, state, entry.row)
            except OnexError as error:
                raise _unproven(key, entry.version) from error
            batch.append(entry.row)
            if entry.version == version:
                found = encode(state)  # as bytes: the rows behind it are stepped on the same value
            if entry.state_hash:
                code = codes[entry.code_id]
                comparable = code.state_schema == workflow.code.state_schema
                if comparable and state_hash(sealed, key, code.digest, batch, encode(state)) != entry.state_hash:
                    raise _unproven(key, entry.version)
                sealed, batch = entry.state_hash, []
                if found is not None:
                    break
        after = rows[-1].version
    proven: State = decode(workflow.reducer.state_type, found)
    return proven


def _begun(workflow: Workflow, snapshot: SnapshotRow | None) -> tuple[State, int]:
    if snapshot is None:
        return workflow.reducer.initial(), 0
    return stored_state(workflow, snapshot.state_schema, snapshot.state), snapshot.version


def _stepped(workflow: Workflow, key: WorkflowKey, state: State, row: LogRow) -> State:
    payload = logged_payload(workflow, row.kind, row.payload_schema, row.payload)
    kind = logged_trigger(workflow, row.kind, row.payload_schema)
    action = Action(key, kind, payload, row.action_id, row.issued_us, row.correlation, row.issuer, row.cause)
    after: State = workflow.reducer.delta(state, action).state
    return after


def _unproven(key: WorkflowKey, version: int) -> StateConsistencyError:
    return StateConsistencyError(
        f"{key} version {version}: this code does not make of the log what was recorded. It was made by other code, or is "
        "damaged: onex replay tells which. Nothing was changed"
    )


def _gap(key: WorkflowKey, version: int, last: int) -> OnexError:
    return OnexError(f"{key} has no version {version}; its history ends at {last}")
