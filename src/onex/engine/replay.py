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
from ..kernel.user_code import describe
from ..ports import Code, LogEntry, LogRow, SnapshotRow, Stored
from ..records import Damage
from .encode import decode, encode, state_hash
from .registry import ReducerRegistry, Workflow
from .segment import CodeAtHand, Folding
from .upcast import logged_payload, logged_trigger, stored_state
from .verdict import EnumVerdict, Replayed, Segment

PAGE = 1000

__all__ = ["PAGE", "EnumVerdict", "Recorded", "Replay", "Replayed", "Segment", "proven_state_at", "state_at"]


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


async def nothing_damaged(part: int) -> Sequence[Damage]:
    """Of what cannot tell."""
    return ()


class Replay:
    """Checks instances against the code at hand: this app's, and any older ones given beside it (by digest).

    ``redacted_since`` tells of an instance from which version on its bytes were changed on purpose, 0 for never;
    ``damaged`` what the store says against itself, asked once, with the number of the share that asks.
    """

    def __init__(
        self,
        reader: Recorded,
        registry: ReducerRegistry,
        older: Sequence[Workflow] = (),
        redacted_since: Callable[[WorkflowKey], Awaitable[int]] = nothing_redacted,
        damaged: Callable[[int], Awaitable[Sequence[Damage]]] = nothing_damaged,
    ) -> None:
        self.reader = reader
        self.result = Replayed()
        self._at_hand = CodeAtHand(registry, older)
        self._redacted_since = redacted_since
        self._damaged = damaged
        self._damage: dict[WorkflowKey, str] | None = None

    async def all(self, workflow_type: str | None = None, part: tuple[int, int] = (0, 1)) -> AsyncIterator[Segment]:
        """Every instance, or those of one type, in key order. ``part`` (i, k): only each k-th of them, from the i-th on."""
        after: WorkflowKey | None = None
        number, (mine, parts) = 0, part
        await self._look(mine)
        while rows := await self.reader.instances(workflow_type, None, after, PAGE):
            for stored in rows:
                if number % parts == mine:
                    async for segment in self.instance(stored):
                        yield segment
                number += 1
            after = rows[-1].key

    async def _look(self, part: int) -> Mapping[WorkflowKey, str]:
        """What is said of instances; what belongs to none of them is told with the first share's result."""
        if self._damage is None:
            self._damage = {}
            for one in await self._damaged(part):
                if one.key is not None:
                    self._damage.setdefault(one.key, one.what)
                elif part == 0:
                    self.result.damage.append(one.what)
        return self._damage

    async def instance(self, stored: Stored) -> AsyncIterator[Segment]:
        """The segments of one instance, oldest first."""
        at_hand, result = self._at_hand, self.result
        damage = (await self._look(0)).get(stored.key)
        at_hand.codes = at_hand.codes or await self.reader.codes()
        result.instances += 1
        try:
            async for segment in self._segments(stored, damage):
                result.add(segment)
                yield segment
        except Exception as error:
            if isinstance(error, OnexError) and not isinstance(error, StateConsistencyError):
                raise
            # a number that is text by now, an id cut short: what it broke is this instance's, the others are folded
            why = damage or f"it cannot be read: {describe(error)}"
            last = stored.version if type(stored.version) is int else 0
            broken = Segment(stored.key, 1, last, Code("", "?", b"", 0), 0, EnumVerdict.MISMATCH, why)
            result.add(broken)
            yield broken

    async def _segments(self, stored: Stored, damage: str | None) -> AsyncIterator[Segment]:
        at_hand, result = self._at_hand, self.result
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
                        yield done
                    await folding.begin(entry)
                before, at = at, folding.fold(rows, at)
                result.actions += at - before
                await folding.check_kept()
        if damage is not None:
            folding.damage(damage)
        done = await folding.end()
        result.intents += folding.intents
        if done is not None:
            yield done
        elif damage is not None:
            result.damage.append(f"{stored.key}: {damage}")


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
