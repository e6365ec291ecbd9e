"""Replay: fold what the log holds and compare it, byte for byte, with what was stored. It never fires an effect.

Consecutive rows of one instance under one code are a *segment*; each gets one verdict. Rows whose code is not at hand, or is
not the code they were made under, are counted as unverified, never as equal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ..kernel.action import Action, WorkflowKey
from ..kernel.errors import OnexError
from ..kernel.step import State
from ..ports import Code, LogEntry, LogRow, Reader, Stored
from .encode import decode, encode, encode_intents, state_hash
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


class Replay:
    """Checks instances against the code at hand: this app's, and any older ones given beside it (by digest)."""

    def __init__(self, reader: Reader, registry: ReducerRegistry, older: Sequence[Workflow] = ()) -> None:
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
        after = 0
        while rows := await self.reader.history(stored.key, after, PAGE):
            for entry in rows:
                if entry.version > stored.version:  # committed after the row was read
                    break
                self.result.actions += 1
                done = await cursor.take(entry)
                if done is not None:
                    self.result.add(done)
                    yield done
            after = rows[-1].version
            if after >= stored.version:
                break
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
    """Walks one instance's rows, closing a segment where the code changes."""

    def __init__(self, replay: Replay, stored: Stored) -> None:
        self.replay = replay
        self.stored = stored
        self.rows: list[LogRow] = []  # of the batch whose state hash is still to come
        self.code_id = -1
        self.env_id = 0
        self.first = 0
        self.version = 0
        self.hash = b""
        self.workflow: Workflow | None = None
        self.own = False
        self.state: State | None = None
        self.reason = ""

    async def take(self, entry: LogEntry) -> Segment | None:
        closed = None
        if entry.code_id != self.code_id:
            closed = await self.end(next_entry=entry)
            await self._begin(entry)
        self.version = entry.version
        self.env_id = entry.env_id
        if not self.reason:
            try:
                self.reason = self._step(entry)
            except OnexError as error:
                self.reason = f"version {entry.version} ({entry.row.kind}): {error.message}"
        if entry.state_hash:
            self.hash = entry.state_hash
            self.rows.clear()
        return closed

    async def _begin(self, entry: LogEntry) -> None:
        replay, key = self.replay, self.stored.key
        self.code_id, self.first, self.reason = entry.code_id, entry.version, ""
        self.rows.clear()
        code = replay.code_of(entry.code_id)
        self.workflow, self.own = replay.workflow_for(code)
        self.state = None
        if self.workflow is None:
            return
        reducer = self.workflow.reducer
        try:
            if entry.version == 1:
                self.state = reducer.initial()
                return
            snapshot = await replay.reader.snapshot(key, entry.version - 1)
            if snapshot is None or snapshot.version != entry.version - 1:
                self.reason = f"no state is kept at version {entry.version - 1}, where this code took over"
                return
            self.hash = snapshot.state_hash
            self.state = decode(reducer.state_type, snapshot.state)
        except OnexError as error:
            self.reason = error.message

    def _step(self, entry: LogEntry) -> str:
        """'' or what differs. Bytes are compared only where they were stored: intents of each row, state at each batch's end."""
        workflow, state, row = self.workflow, self.state, entry.row
        if workflow is None or state is None:
            return ""
        payload = decode(workflow.payload_model(row.kind), row.payload)
        done = workflow.reducer.delta(
            state,
            Action(entry.key, row.kind, payload, row.action_id, row.issued_us, row.correlation, row.issuer, row.cause),
        )
        self.state = done.state
        self.rows.append(row)
        self.replay.result.intents += len(done.intents)
        at = f"version {entry.version} ({row.kind})"
        if done.state.status != row.status:
            return f"{at}: status {done.state.status!r}, stored {row.status!r}"
        if encode_intents(done.intents) != row.intents:
            return f"{at}: intents {encode_intents(done.intents).decode()}, stored {row.intents.decode()}"
        if entry.state_hash and self.own:
            if state_hash(self.hash, self.rows, encode(done.state)) != entry.state_hash:
                return f"{at}: the state hash differs from the stored one"
        return ""

    async def end(self, next_entry: LogEntry | None = None) -> Segment | None:
        """Close the open segment: its last state must be the stored one."""
        if self.code_id < 0:
            return None
        if not self.reason and self.state is not None:
            self.reason = await self._compare_end(self.state, next_entry)
        return Segment(
            self.stored.key,
            self.first,
            self.version,
            self.replay.code_of(self.code_id),
            self.env_id,
            self._verdict(),
            self.reason,
        )

    async def _compare_end(self, state: State, next_entry: LogEntry | None) -> str:
        if next_entry is None:
            stored, version = self.stored.state, self.stored.version
            if version != self.version:
                return f"the log ends at version {self.version}, the stored state is at {version}"
            if self.own and self.hash != self.stored.state_hash:
                return f"version {version}: the stored state hash is not the log's"
        else:
            snapshot = await self.replay.reader.snapshot(self.stored.key, self.version)
            if snapshot is None or snapshot.version != self.version:
                return f"no state is kept at version {self.version}, where the next code took over"
            stored = snapshot.state
        folded = encode(state)
        if folded == stored:
            return ""
        return f"version {self.version}: folded {_cut(folded)}, stored {_cut(stored)}"

    def _verdict(self) -> EnumVerdict:
        if self.workflow is None:
            return EnumVerdict.CODE_NOT_AT_HAND
        if self.own:
            return EnumVerdict.MISMATCH if self.reason else EnumVerdict.EQUAL
        return EnumVerdict.OTHER_CODE_DIFFERS if self.reason else EnumVerdict.OTHER_CODE_EQUAL


def _cut(data: bytes) -> str:
    text = data.decode(errors="replace")
    return text if len(text) <= 400 else f"{text[:400]}... ({len(data)} bytes)"


async def state_at(reader: Reader, workflow: Workflow, key: WorkflowKey, version: int) -> State:
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
