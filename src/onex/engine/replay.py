"""Replay: fold what the log holds and compare it, byte for byte, with what was stored. It never fires an effect.

Consecutive rows of one instance under one code are a *segment*; each gets one verdict. Rows whose code is not at hand, or is
not the code they were made under, are counted as unverified, never as equal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ..kernel.action import Action, WorkflowKey
from ..kernel.errors import OnexError, StateConsistencyError
from ..kernel.step import State
from ..ports import Code, LogEntry, LogRow, Position, SnapshotRow, Stored
from .encode import decode, encode, encode_intents, state_hash
from .fold import SNAPSHOT_EVERY
from .registry import ReducerRegistry, Workflow

PAGE = 1000


class EnumVerdict(StrEnum):
    """SEMANTICS 31, in its words."""

    EQUAL = "equal"
    MISMATCH = "MISMATCH"
    OTHER_CODE_EQUAL = "other code, equal"
    OTHER_CODE_DIFFERS = "other code, differs"
    CODE_NOT_AT_HAND = "code not at hand"


@dataclass(frozen=True, slots=True)
class Segment:
    """Versions ``first ... last`` of one instance under one code. ``reason`` says what differed first, and where."""

    key: WorkflowKey
    first: int
    last: int
    code: Code
    env_id: int
    verdict: EnumVerdict
    reason: str = ""


@dataclass(slots=True)
class Replayed:
    """What a replay came to. ``unverified`` counts log rows not checked under their own code, ``intents`` those folded."""

    instances: int = 0
    segments: int = 0
    actions: int = 0
    intents: int = 0
    mismatches: int = 0
    unverified: int = 0
    by_verdict: dict[str, int] = field(default_factory=dict)
    bad: list[Segment] = field(default_factory=list)

    def add(self, segment: Segment) -> None:
        rows = segment.last - segment.first + 1
        self.segments += 1
        self.by_verdict[segment.verdict] = self.by_verdict.get(segment.verdict, 0) + 1
        if segment.verdict is EnumVerdict.MISMATCH:
            self.mismatches += 1
        elif segment.verdict is not EnumVerdict.EQUAL:
            self.unverified += rows
        if segment.verdict is not EnumVerdict.EQUAL and len(self.bad) < 100:
            self.bad.append(segment)


class Recorded(Protocol):
    """What a replay asks of a store. Any Reader answers it, and so does a file of history."""

    async def codes(self) -> Mapping[int, Code]: ...

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]: ...

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]: ...

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None: ...


class Replay:
    """Checks instances against the code at hand: this app's, and any older ones given beside it (by digest)."""

    def __init__(self, reader: Recorded, registry: ReducerRegistry, older: Sequence[Workflow] = ()) -> None:
        self.reader, self.registry = reader, registry
        self.result = Replayed()
        self._by_code = {(w.code.workflow_type, w.code.digest): w for w in (*older, *registry.workflows)}
        self._codes: Mapping[int, Code] = {}

    async def all(self, workflow_type: str | None = None) -> AsyncIterator[Segment]:
        """Every instance, or those of one type, in key order."""
        after: WorkflowKey | None = None
        while rows := await self.reader.instances(workflow_type, None, after, PAGE):
            for stored in rows:
                async for segment in self.instance(stored):
                    yield segment
            after = rows[-1].key

    async def instance(self, stored: Stored) -> AsyncIterator[Segment]:
        """The segments of one instance, oldest first."""
        self._codes = self._codes or await self.reader.codes()
        self.result.instances += 1
        cursor = _Cursor(self, stored)
        while cursor.version < stored.version:
            try:
                rows = await self.reader.history(stored.key, cursor.version, PAGE)
            except StateConsistencyError as error:
                cursor.damage(error.message)
                break
            if not rows:
                break
            for entry in rows:
                if entry.version > stored.version:  # committed after the row was read
                    break
                self.result.actions += 1
                done = await cursor.take(entry)
                if done is not None:
                    self.result.add(done)
                    yield done
        last = await cursor.end()
        if last is not None:
            self.result.add(last)
            yield last

    def code_of(self, code_id: int) -> Code:
        return self._codes.get(code_id) or Code("", "?", b"", 0)

    def workflow_for(self, code: Code) -> tuple[Workflow | None, bool]:
        """The code to fold with, and whether it is the row's own."""
        own = self._by_code.get((code.workflow_type, code.digest))
        if own is not None:
            return own, True
        if code.workflow_type in self.registry:
            return self.registry[code.workflow_type], False
        return None, False


class _Cursor:
    """Walks one instance's rows, closing a segment where the code changes.

    Two things are found out beside each other: ``reason``, what the code at hand makes of the rows otherwise than what
    is stored, and ``broken``, what no code can explain because the rows contradict themselves or their hashes.
    """

    def __init__(self, replay: Replay, stored: Stored) -> None:
        self.replay = replay
        self.stored = stored
        self.rows: list[LogRow] = []  # of the batch whose state hash is still to come
        self.batch: list[LogRow] = []  # the one before, which its hash has sealed
        self.hash = self.hash_before = b""  # behind and before ``batch``
        self.code = Code("", "?", b"", 0)
        self.code_id = -1
        self.env_id = 0
        self.first = 0
        self.version = 0
        self.position = Position(-1, 0)
        self.issued_us = 0
        self.workflow: Workflow | None = None
        self.own = False
        self.state: State | None = None
        self.reason = self.broken = ""

    def damage(self, what: str) -> None:
        self.broken = self.broken or what

    async def take(self, entry: LogEntry) -> Segment | None:
        closed = None
        if entry.code_id != self.code_id:
            closed = await self.end(next_entry=entry)
            await self._begin(entry)
        self._check_order(entry)
        self.version, self.position, self.issued_us = entry.version, entry.position, entry.row.issued_us
        self.env_id = entry.env_id
        self.rows.append(entry.row)
        if not self.reason:
            try:
                self.reason = self._step(entry)
            except OnexError as error:
                self.reason = f"version {entry.version} ({entry.row.kind}): {error.message}"
        if entry.state_hash:
            crossed = (entry.version - len(self.rows)) // SNAPSHOT_EVERY != entry.version // SNAPSHOT_EVERY
            self.hash_before, self.batch, self.hash = self.hash, self.rows, entry.state_hash
            self.rows = []
            if crossed:
                kept = await self.replay.reader.snapshot(self.stored.key, self.version)
                if kept is not None and kept.version == self.version:
                    self._check_snapshot(kept)
        return closed

    async def _begin(self, entry: LogEntry) -> None:
        replay, key = self.replay, self.stored.key
        self.code_id, self.first, self.reason, self.broken = entry.code_id, entry.version, "", ""
        self.code = replay.code_of(entry.code_id)
        self.workflow, self.own = replay.workflow_for(self.code)
        self.state = None
        if entry.version == 1:
            self.state = None if self.workflow is None else self.workflow.reducer.initial()
            return
        snapshot = await replay.reader.snapshot(key, entry.version - 1)
        if snapshot is None or snapshot.version != entry.version - 1:
            self.reason = f"no state is kept at version {entry.version - 1}, where this code took over"
            return
        if self.version == 0:  # what came before was compacted
            self.version, self.hash = snapshot.version, snapshot.state_hash
        if self.workflow is None:
            return
        try:
            self.state = decode(self.workflow.reducer.state_type, snapshot.state)
        except OnexError as error:
            self.reason = error.message

    def _check_order(self, entry: LogEntry) -> None:
        at, before = f"version {entry.version}", self.position
        if entry.version != self.version + 1:
            self.damage(f"{at} follows version {self.version}")
        if entry.position.shard == before.shard and entry.position.n <= before.n:
            self.damage(f"{at} stands at {entry.position.n} in the log, the one before it at {before.n}")
        if entry.row.issued_us < self.issued_us:
            self.damage(f"{at} was issued at {entry.row.issued_us} us, before the one before it ({self.issued_us})")

    def _step(self, entry: LogEntry) -> str:
        """Empty, or what differs. Bytes are compared where they were stored: intents of each row, state at a batch's end."""
        workflow, state, row = self.workflow, self.state, entry.row
        if workflow is None or state is None:
            return ""
        payload = decode(workflow.payload_model(row.kind), row.payload)
        done = workflow.reducer.delta(
            state,
            Action(entry.key, row.kind, payload, row.action_id, row.issued_us, row.correlation, row.issuer, row.cause),
        )
        self.state = done.state
        self.replay.result.intents += len(done.intents)
        at = f"version {entry.version} ({row.kind})"
        if done.state.status != row.status:
            return f"{at}: status {done.state.status!r}, stored {row.status!r}"
        if (emitted := encode_intents(done.intents)) != row.intents:
            return f"{at}: intents {_cut(emitted)}, stored {_cut(row.intents)}"
        if entry.state_hash and self.own:
            made = state_hash(self.hash, entry.key, self.code.digest, self.rows, encode(done.state))
            if made != entry.state_hash:
                return f"{at}: the state hash differs from the stored one"
        return ""

    async def end(self, next_entry: LogEntry | None = None) -> Segment | None:
        """Close the open segment: its last state must be the stored one."""
        if self.code_id < 0:
            if next_entry is not None or self.stored.version == 0:
                return None
            self._nothing_logged()
        elif next_entry is None:
            self._check_last()
            self._compare(self.stored.state)
        else:
            snapshot = await self.replay.reader.snapshot(self.stored.key, self.version)
            if snapshot is None or snapshot.version != self.version:
                self.reason = (
                    self.reason or f"no state is kept at version {self.version}, where the next code took over"
                )
            else:
                self._check_snapshot(snapshot)
                self._compare(snapshot.state)
        verdict = self._verdict()
        reason = self.reason or self.broken if self.own else self.broken or self.reason
        return Segment(self.stored.key, self.first, self.version, self.code, self.env_id, verdict, reason)

    def _nothing_logged(self) -> None:
        self.first, self.version = 1, self.stored.version
        self.code = self.replay.code_of(self.stored.code_id)
        self.damage(f"the log holds no row of it, the stored state is at version {self.stored.version}")

    def _check_last(self) -> None:
        """The stored row says once more what the last log row says."""
        stored = self.stored
        said = (stored.version, stored.position, stored.last_us, stored.code_id, stored.state_hash)
        logged = (self.version, self.position, self.issued_us, self.code_id, self.hash)
        if said != logged:
            names = ("version", "position", "time", "code", "state hash")
            other = [name for name, one, two in zip(names, said, logged, strict=True) if one != two]
            self.damage(f"version {self.version}: the stored {' and '.join(other)} is not the log's last one")
        self._check_schema(stored.state_schema)
        if self.batch and stored.status != self.batch[-1].status:
            self.damage(f"the stored status is {stored.status!r}, the log's last one {self.batch[-1].status!r}")
        if self.own and self.workflow and stored.terminal != (stored.status in self.workflow.reducer.terminal):
            self.damage(
                f"the stored row says terminal: {stored.terminal}, its code says otherwise of {stored.status!r}"
            )

    def _check_snapshot(self, kept: SnapshotRow) -> None:
        """One of those kept every so often, where nothing starts but time travel, or the one at a change of code."""
        self._check_seal(kept.state)
        if (kept.state_hash, kept.code_id) != (self.hash, self.code_id):
            self.damage(f"version {self.version}: the snapshot's state hash or code is not the log's")
        self._check_schema(kept.state_schema)

    def _check_schema(self, schema: int) -> None:
        if self.code.workflow_type and schema != self.code.state_schema:
            self.damage(
                f"version {self.version}: the state has schema {schema}, its code writes {self.code.state_schema}"
            )

    def _compare(self, stored: bytes) -> None:
        self._check_seal(stored)
        if self.reason or self.state is None:
            return
        folded = encode(self.state)
        if folded != stored:
            self.reason = f"version {self.version}: folded {_cut(folded)}, stored {_cut(stored)}"

    def _check_seal(self, state: bytes) -> None:
        """A stored state and the batch it came of have one hash, whatever code is at hand."""
        if self.rows:
            self.damage(f"version {self.version}: the last row of its batch carries no state hash")
        elif (
            self.batch
            and state_hash(self.hash_before, self.stored.key, self.code.digest, self.batch, state) != self.hash
        ):
            self.damage(f"version {self.version}: the stored state, or its last batch, is not what was hashed")

    def _verdict(self) -> EnumVerdict:
        if self.broken:
            return EnumVerdict.MISMATCH
        if self.workflow is None:
            return EnumVerdict.CODE_NOT_AT_HAND
        if self.own:
            return EnumVerdict.MISMATCH if self.reason else EnumVerdict.EQUAL
        return EnumVerdict.OTHER_CODE_DIFFERS if self.reason else EnumVerdict.OTHER_CODE_EQUAL


def _cut(data: bytes) -> str:
    text = data.decode(errors="replace")
    return text if len(text) <= 400 else f"{text[:400]}... ({len(data)} bytes)"


async def state_at(reader: Recorded, workflow: Workflow, key: WorkflowKey, version: int) -> State:
    """Time travel: the state after ``version``, from the nearest snapshot below it. Raises OnexError for a gap or other code."""
    snapshot = await reader.snapshot(key, version)
    reducer = workflow.reducer
    state: State = decode(reducer.state_type, snapshot.state) if snapshot is not None else reducer.initial()
    after = snapshot.version if snapshot is not None else 0
    while after < version:
        rows = await reader.history(key, after, min(PAGE, version - after))
        if not rows:
            raise OnexError(f"{key} has no version {version}; its history ends at {after}")
        for entry in rows:
            row = entry.row
            payload = decode(workflow.payload_model(row.kind), row.payload)
            action = Action(
                key, row.kind, payload, row.action_id, row.issued_us, row.correlation, row.issuer, row.cause
            )
            state = reducer.delta(state, action).state
        after = rows[-1].version
    return state
