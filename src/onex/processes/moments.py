"""Moments: one instance at any version, folded from its log, fast enough to be dragged through.

Theory of operation. A store keeps a snapshot of each instance every 1,000 versions. ``Moments.at(key, version)`` does this:

1. It finds the nearest known state below ``version``: a snapshot of the store, or a state that was kept here.
2. From there it folds a *segment*, about SEGMENT rows, and keeps its rows and states. The next question about a moment near by is
   answered from memory: a person who drags asks for many versions of one segment.
3. Where the nearest state is far away (an old store, an import), it folds up to there segment by segment, and keeps the state at
   the end of each. This is the first pass; it tells how far it is, and is made once.

Each batch of a log has a hash over its rows and the state after them. It is made again from what was folded here. Where it comes
out otherwise, these versions are a *stretch* that is not proven: other code made them, or the log is damaged (``onex replay`` says
which). The states shown there are what this code makes of the same actions. The next segment begins at a state of the store again.

What may go wrong: this code refuses a recorded action, or cannot read it. The states behind it are not known up to the next
snapshot, and the moment says why. Memory is bounded: at most SEGMENT_BYTES of states in one segment, then only some of them are
kept and those between are folded again; at most MEMORY_BYTES in all, and the segment that was not used for longest goes first.
Of the states that a first pass keeps, every second one is dropped when they take more than KEPT_BYTES.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from ..engine.encode import encode, state_hash
from ..engine.refold import Recorded, Refold
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError, StateConsistencyError
from ..kernel.step import State
from ..kernel.user_code import caught
from ..ports import Code, LogEntry, LogRow, SnapshotRow
from ..replay.segment import UNKNOWN_CODE

SEGMENT: Final = 1000
SLICE: Final = 200
"""Rows that are folded before others of this process get their turn."""
SEGMENT_BYTES: Final = 8 << 20
MEMORY_BYTES: Final = 64 << 20
KEPT_BYTES: Final = 32 << 20
ROW_BYTES: Final = 1500
"""What a row of a segment takes beside its state, about."""

Went = Callable[[int], None]


class Stretch(NamedTuple):
    """Versions whose recorded hash this code does not make again, and why."""

    first: int
    last: int
    why: str


class Moment(NamedTuple):
    """``state`` after ``entry``, ``before`` it; b'' where it is not known, and ``unknown`` says why.

    ``unproven``: why the recorded hash of its batch was not made again; '' where it was.
    """

    entry: LogEntry
    state: bytes
    before: bytes
    unknown: str
    unproven: str


class MomentSegment:
    """Rows and states of one instance behind ``base``, folded as far as was asked."""

    def __init__(self, refold: Refold, base: SnapshotRow, codes: Mapping[int, Code]) -> None:
        self.base, self._refold, self._codes = base, refold, codes
        self.rows: list[LogEntry] = []
        self.stretches: list[Stretch] = []
        self.unknown = ""
        self.bytes = 0
        self.settled = base.version
        """The last version that is at the end of a batch: what stands behind it is not judged yet."""
        self._states: dict[int, bytes] = {}
        self._stride = 1
        self._hash, self._batch = base.state_hash, list[LogRow]()
        self._state: State | None = None
        try:
            self._state = refold.begin(base)
            self._keep(base.version, encode(self._state))
        except OnexError as error:
            self.unknown = error.message

    @property
    def last(self) -> int:
        return self.base.version + len(self.rows)

    @property
    def end(self) -> SnapshotRow | None:
        """The state at the end of its last batch, to go on from; None where it is not known."""
        if self.settled != self.last or self._state is None or self.settled == self.base.version:
            return None
        data = encode(self._state)
        return SnapshotRow(
            self.base.key, self.last, data, self._refold.schema, self.rows[-1].code_id, self.rows[-1].state_hash
        )

    def take(self, entry: LogEntry) -> None:
        """Folds one more row. Raises nothing for what code of the user does: it is told by ``unknown``."""
        self.rows.append(entry)
        self.bytes += ROW_BYTES
        self._batch.append(entry.row)
        if self._state is not None:
            self._state, self.unknown = self._next(self._state, entry)
        data = b"" if self._state is None else encode(self._state)
        if data and entry.version % self._stride == 0:
            self._keep(entry.version, data)
        if entry.state_hash:
            self._judge(entry, data)

    def state(self, version: int) -> bytes:
        """The state after ``version``, which this segment has; b'' where it is not known."""
        found = self._states.get(version)
        if found is not None:
            return found
        near = max((one for one in self._states if one < version), default=-1)
        if near < 0:
            return b""
        state: State | None = self._refold.begin(
            SnapshotRow(self.base.key, near, self._states[near], self._refold.schema, 0, b"")
        )
        for entry in self.rows[near - self.base.version : version - self.base.version]:
            if state is not None:
                state, _ = self._next(state, entry)
        return b"" if state is None else encode(state)

    def unproven(self, version: int) -> str:
        return next((one.why for one in self.stretches if one.first <= version <= one.last), "")

    def _next(self, state: State, entry: LogEntry) -> tuple[State | None, str]:
        refold = self._refold
        try:
            after: State = refold.delta(state, refold.action(entry.key, entry.row)).state
            return after, ""
        except OnexError as error:
            why = error.message
        except BaseException as error:
            why = caught(error)
        return None, f"this code does not take the action of version {entry.version}: {why}"

    def _keep(self, version: int, data: bytes) -> None:
        self._states[version] = data
        self.bytes += len(data)
        if self.bytes > SEGMENT_BYTES and len(self._states) > 2:
            self._stride *= 2
            for one in [one for one in self._states if one % self._stride and one != self.base.version]:
                self.bytes -= len(self._states.pop(one))

    def _judge(self, entry: LogEntry, data: bytes) -> None:
        code = self._codes.get(entry.code_id, UNKNOWN_CODE)
        why = self.unknown
        if not why and code.state_schema != self._refold.schema:
            why = f"its state had schema {code.state_schema}, and this code reads it as schema {self._refold.schema}"
        elif not why and state_hash(self._hash, entry.key, code.digest, self._batch, data) != entry.state_hash:
            mine = self._refold.workflow.code.digest
            made = f"code {code.digest.hex()[:12]} (version {code.contract_version}) made it"
            why = f"{made}, and this is {mine.hex()[:12]}: it makes something else of the same actions"
            if code.digest == mine:
                why = "this code makes something else of the same actions: onex replay says whether the log is damaged"
        if why:
            self._stretch(self.settled + 1, entry.version, why)
        self._hash, self._batch, self.settled = entry.state_hash, [], entry.version

    def _stretch(self, first: int, last: int, why: str) -> None:
        before = self.stretches[-1] if self.stretches else None
        if before is not None and before.last == first - 1 and before.why == why:
            self.stretches[-1] = Stretch(before.first, last, why)
        else:
            self.stretches.append(Stretch(first, last, why))


def joined(found: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """In order, each version in one stretch at most."""
    merged: list[Stretch] = []
    for one in sorted(found):
        last = merged[-1] if merged else None
        if last is not None and one.first <= last.last + 1 and (one.why == last.why or one.last <= last.last):
            merged[-1] = last._replace(last=max(last.last, one.last))
        else:
            merged.append(one if last is None else one._replace(first=max(one.first, last.last + 1)))
    return tuple(merged)


class Moments:
    """Of the instances of one run. ``refolds[workflow type]`` is the code that folds them."""

    def __init__(self, reader: Recorded, refolds: Mapping[str, Refold]) -> None:
        self._reader, self._refolds = reader, refolds
        self._codes: Mapping[int, Code] = {}
        self._segments: OrderedDict[tuple[WorkflowKey, int], MomentSegment] = OrderedDict()
        self._kept: dict[WorkflowKey, list[SnapshotRow]] = {}

    async def at(self, key: WorkflowKey, version: int, went: Went) -> Moment:
        """The moment of ``version``, from 1 on. ``went`` hears how many rows a first pass has folded.

        Raises StateConsistencyError where the log does not have it.
        """
        segment = await self._segment(key, version, went)
        entry = segment.rows[version - segment.base.version - 1]
        state, before = segment.state(version), segment.state(version - 1)
        return Moment(entry, state, before, "" if state else segment.unknown, segment.unproven(version))

    async def stretches(self, key: WorkflowKey, last: int, went: Went) -> tuple[Stretch, ...]:
        """What of versions up to ``last`` is not proven: every row is folded once."""
        found: list[Stretch] = []
        base = await self.base(key, 0)
        while base.version < last:
            segment = MomentSegment(self._refold(key), base, self._codes)
            await self._fold(segment, min(base.version + SEGMENT, last), went)
            found += [one for one in segment.stretches if one.first <= last]
            if segment.last == base.version:
                break
            next_base = await self.base(key, segment.settled)
            if next_base.version <= base.version:
                next_base = segment.end or next_base
            if next_base.version <= base.version:
                found.append(Stretch(segment.last, last, segment.unknown or "its state is not known"))
                break
            base = next_base
            if segment.end is not None:
                self._remember(segment.end)
        return joined(found)

    async def _segment(self, key: WorkflowKey, version: int, went: Went) -> MomentSegment:
        base = await self.base(key, version - 1)
        while True:
            segment = self._segments.get((key, base.version))
            if segment is None:
                segment = MomentSegment(self._refold(key), base, self._codes)
            if segment.last < version:
                await self._fold(segment, min(version, base.version + SEGMENT), went)
            if segment.last >= version:
                break
            if (end := segment.end) is None or end.version <= base.version:
                await self._fold(segment, version, went)
                break
            self._remember(end)
            base = end
        self._segments[(key, base.version)] = segment
        self._segments.move_to_end((key, base.version))
        while sum(one.bytes for one in self._segments.values()) > MEMORY_BYTES and len(self._segments) > 1:
            self._segments.popitem(last=False)
        if segment.last < version:
            raise StateConsistencyError(
                f"the log of {key} ends at version {segment.last}; version {version} is not in it"
            )
        return segment

    async def _fold(self, segment: MomentSegment, least: int, went: Went) -> None:
        """Up to ``least``, to the end of a slice, and to the end of the batch there, as far as the log goes."""
        key = segment.base.key
        while segment.last < least or segment.settled != segment.last:
            rows = await self._reader.history(key, segment.last, SLICE)
            if not rows:
                return
            if rows[0].version != segment.last + 1:
                raise StateConsistencyError(
                    f"the history of {key} begins behind version {rows[0].version - 1} here: an archive has what is before"
                )
            await self._know(rows)
            only_to_settle = segment.last >= least
            for entry in rows:
                segment.take(entry)
                if only_to_settle and segment.settled == segment.last:
                    break
            went(len(rows))
            await asyncio.sleep(0)

    async def _know(self, rows: Sequence[LogEntry]) -> None:
        if any(entry.code_id not in self._codes for entry in rows):
            self._codes = dict(await self._reader.codes())

    async def base(self, key: WorkflowKey, at_most: int) -> SnapshotRow:
        """The newest known state at or below ``at_most``; the beginning where none is known."""
        refold = self._refold(key)
        if not self._codes:
            self._codes = dict(await self._reader.codes())
        stored = await self._reader.snapshot(key, at_most)
        kept = self._kept.get(key, [])
        at = bisect_right(kept, at_most, key=lambda one: one.version)
        here = kept[at - 1] if at else None
        found = max((one for one in (stored, here) if one is not None), key=lambda one: one.version, default=None)
        return SnapshotRow(key, 0, b"", refold.schema, 0, b"") if found is None else found

    def _remember(self, end: SnapshotRow) -> None:
        kept = self._kept.setdefault(end.key, [])
        if not kept or kept[-1].version < end.version:
            kept.append(end)
        while sum(len(one.state) for rows in self._kept.values() for one in rows) > KEPT_BYTES:
            for key in [*self._kept]:
                self._kept[key] = self._kept[key][1::2]
                if not self._kept[key]:
                    del self._kept[key]

    def _refold(self, key: WorkflowKey) -> Refold:
        return self._refolds[key.workflow_type]
