"""Replay: fold what the log holds and compare it, byte for byte, with what was stored. It never fires an effect.

Consecutive rows of one instance under one code are a *segment*; each gets one verdict. Rows whose code is not at hand, or is
not the code they were made under, are counted as unverified, never as equal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from ..kernel.action import Action, WorkflowKey
from ..kernel.errors import OnexError, StateConsistencyError
from ..kernel.step import State
from ..ports import Code, LogEntry, SnapshotRow, Stored
from .registry import ReducerRegistry, Workflow
from .segment import CodeAtHand, Folding
from .upcast import logged_payload, stored_state
from .verdict import EnumVerdict, Replayed, Segment

PAGE = 1000

__all__ = ["PAGE", "EnumVerdict", "Recorded", "Replay", "Replayed", "Segment", "state_at"]


class Recorded(Protocol):
    """What a replay asks of a store. Any Reader answers it, and so does a file of history."""

    async def codes(self) -> Mapping[int, Code]: ...

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]: ...

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]: ...

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None: ...


async def nothing_redacted(key: WorkflowKey) -> int:
    """Of what an engine recorded."""
    return 0


class Replay:
    """Checks instances against the code at hand: this app's, and any older ones given beside it (by digest).

    ``redacted_since`` tells of an instance from which version on its bytes were changed on purpose, 0 for never.
    """

    def __init__(
        self,
        reader: Recorded,
        registry: ReducerRegistry,
        older: Sequence[Workflow] = (),
        redacted_since: Callable[[WorkflowKey], Awaitable[int]] = nothing_redacted,
    ) -> None:
        self.reader = reader
        self.result = Replayed()
        self._at_hand = CodeAtHand(registry, older)
        self._redacted_since = redacted_since

    async def all(self, workflow_type: str | None = None, part: tuple[int, int] = (0, 1)) -> AsyncIterator[Segment]:
        """Every instance, or those of one type, in key order. ``part`` (i, k): only each k-th of them, from the i-th on."""
        after: WorkflowKey | None = None
        number, (mine, parts) = 0, part
        while rows := await self.reader.instances(workflow_type, None, after, PAGE):
            for stored in rows:
                if number % parts == mine:
                    async for segment in self.instance(stored):
                        yield segment
                number += 1
            after = rows[-1].key

    async def instance(self, stored: Stored) -> AsyncIterator[Segment]:
        """The segments of one instance, oldest first."""
        at_hand, result = self._at_hand, self.result
        at_hand.codes = at_hand.codes or await self.reader.codes()
        result.instances += 1
        folding = Folding(self.reader, at_hand, stored, await self._redacted_since(stored.key))
        done: Segment | None
        more = True
        while more and folding.version < stored.version:
            try:
                rows = await self.reader.history(stored.key, folding.version, PAGE)
            except StateConsistencyError as error:
                folding.damage(error.message)
                break
            at, more = 0, bool(rows)
            while more and at < len(rows):
                entry = rows[at]
                if entry.version > stored.version:  # committed after the row was read
                    more = False
                    break
                if entry.code_id != folding.code_id:
                    done = await folding.end(other_code_follows=True)
                    if done is not None:
                        result.add(done)
                        yield done
                    await folding.begin(entry)
                before, at = at, folding.fold(rows, at)
                result.actions += at - before
                await folding.check_kept()
        done = await folding.end()
        result.intents += folding.intents
        if done is not None:
            result.add(done)
            yield done


async def state_at(reader: Recorded, workflow: Workflow, key: WorkflowKey, version: int) -> State:
    """Time travel: the state after ``version``, from the nearest snapshot below it. Raises OnexError for a gap or other code."""
    snapshot = await reader.snapshot(key, version)
    reducer = workflow.reducer
    state: State = (
        stored_state(workflow, snapshot.state_schema, snapshot.state) if snapshot is not None else reducer.initial()
    )
    after = snapshot.version if snapshot is not None else 0
    while after < version:
        rows = await reader.history(key, after, min(PAGE, version - after))
        if not rows:
            raise OnexError(f"{key} has no version {version}; its history ends at {after}")
        for entry in rows:
            row = entry.row
            payload = logged_payload(workflow, row.kind, row.payload_schema, row.payload)
            action = Action(
                key, row.kind, payload, row.action_id, row.issued_us, row.correlation, row.issuer, row.cause
            )
            state = reducer.delta(state, action).state
        after = rows[-1].version
    return state
