"""History export: instances of a store, line by line, in key order. The same history gives the same bytes from any store.

Where a value of an instance is secret, it is replaced, and so is every hash from there on: the hash of a short secret
would give it away. A secret in a state hides all hashes of the instance, since the state may hold it from the first row.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol, TextIO

from ..engine.refold import PAGE, Recorded
from ..kernel.action import WorkflowKey
from ..ports import Env, LogEntry, SnapshotRow, Stored
from .history_line import Head, Record, written
from .redaction import Redaction

HELD = "held; why is not in this file, a reason may quote what was redacted"

Redacted = Mapping[int, tuple[str, ...]]
"""``[version] -> paths`` of the values that were changed on purpose; those of a state begin with ``state``."""


class Exported(Recorded, Protocol):
    """What an export asks of a store: what a replay does, and the environments that its rows name."""

    async def envs(self) -> Mapping[int, Env]: ...


class RedactionMarks(Protocol):
    """What of a history was redacted before. A file and an imported store know."""

    async def redacted(self, key: WorkflowKey) -> Redacted: ...


def redacted_since(marks: Redacted) -> int:
    """The first version whose bytes prove nothing, 0 for none. A secret in a state may have come with any row."""
    if any(path.partition(".")[0] == "state" for paths in marks.values() for path in paths):
        return 1
    return min(marks, default=0)


async def export_history(
    reader: Exported,
    out: TextIO,
    workflow_type: str | None = None,
    *,
    keys: Sequence[Stored] | None = None,
    redaction: Redaction | None = None,
    marks: RedactionMarks | None = None,
    written_rows: Callable[[int], None] = lambda count: None,
) -> int:
    """Writes every instance, or those of one type, or just ``keys``, in key order; returns how many.

    What is committed while it runs is left out. ``written_rows`` is called with the number of rows since its last call.
    ``marks`` is None for a store that an engine wrote. Raises StateConsistencyError for stored bytes that are no text.
    """
    found = _all(reader, workflow_type, keys)
    return await export_each(reader, out, found, redaction=redaction, marks=marks, written_rows=written_rows)


async def export_each(
    reader: Exported,
    out: TextIO,
    instances: AsyncIterator[Stored],
    *,
    redaction: Redaction | None = None,
    marks: RedactionMarks | None = None,
    written_rows: Callable[[int], None] = lambda count: None,
) -> int:
    """Writes these instances, which come in key order, each up to the version that it is given with."""
    out.write(written(Head(codes=dict(await reader.codes()), envs=dict(await reader.envs()))))
    one = _One(reader, out, redaction, marks, written_rows)
    count = 0
    async for stored in instances:
        await one.export(stored)
        count += 1
    return count


async def _all(reader: Exported, workflow_type: str | None, keys: Sequence[Stored] | None) -> AsyncIterator[Stored]:
    if keys is not None:
        for stored in sorted(keys, key=lambda one: one.key):
            yield stored
        return
    after: WorkflowKey | None = None
    while found := await reader.instances(workflow_type, None, after, PAGE):
        for stored in found:
            yield stored
        after = found[-1].key


class _One:
    """Writes one instance after the other."""

    def __init__(
        self,
        reader: Exported,
        out: TextIO,
        redaction: Redaction | None,
        marks: RedactionMarks | None,
        written_rows: Callable[[int], None],
    ) -> None:
        self._reader, self._out = reader, out
        self._redaction, self._marks = redaction, marks
        self._written_rows = written_rows

    async def export(self, stored: Stored) -> None:
        before = await self._marks.redacted(stored.key) if self._marks is not None else {}
        hidden_before = redacted_since(before) or stored.version + 1
        # a secret in a state hides the hashes of the rows before it, so states are searched first
        hidden = min(hidden_before, 1 if await self._secret_state(stored, before) else stored.version + 1)
        version = 0
        while version < stored.version and (rows := await self._reader.history(stored.key, version, PAGE)):
            for entry in rows:
                if entry.version <= stored.version:
                    hidden = self._row(entry, hidden, hidden_before, before.get(entry.version, ()))
            version = rows[-1].version
            self._written_rows(len(rows))
        for at in reversed([kept.version async for kept in self._snapshots(stored)]):
            kept = await self._reader.snapshot(stored.key, at)
            if kept is not None:
                self._snapshot(kept, hidden, hidden_before, before.get(at, ()))
        self._instance(stored, hidden, hidden_before, before.get(stored.version, ()))

    async def _secret_state(self, stored: Stored, before: Redacted) -> bool:
        """Whether any state of it that will be written holds a secret which is not redacted yet."""
        if self._redaction is None:
            return False
        if self._redaction.payload(stored.state, "state", before.get(stored.version, ()))[1]:
            return True
        async for kept in self._snapshots(stored):
            if self._redaction.payload(kept.state, "state", before.get(kept.version, ()))[1]:
                return True
        return False

    async def _snapshots(self, stored: Stored) -> AsyncIterator[SnapshotRow]:
        """Newest first."""
        version = stored.version
        while (kept := await self._reader.snapshot(stored.key, version)) is not None:
            yield kept
            version = kept.version - 1

    def _row(self, entry: LogEntry, hidden: int, hidden_before: int, already: tuple[str, ...]) -> int:
        """Returns the version from which on hashes are hidden, which this row may be."""
        paths: tuple[str, ...] = ()
        if self._redaction is not None:
            entry, paths = self._redaction.row(entry, already)
            if paths:
                hidden = min(hidden, entry.version)
        hashed = self._hash(entry.version, entry.state_hash, hidden, hidden_before)
        self._write(entry._replace(state_hash=hashed), (*_of("payload", already), *_of("intents", already), *paths))
        return hidden

    def _snapshot(self, kept: SnapshotRow, hidden: int, hidden_before: int, already: tuple[str, ...]) -> None:
        state, paths = self._state(kept.state, already)
        hashed = self._hash(kept.version, kept.state_hash, hidden, hidden_before)
        self._write(kept._replace(state=state, state_hash=hashed), paths)

    def _instance(self, stored: Stored, hidden: int, hidden_before: int, already: tuple[str, ...]) -> None:
        state, paths = self._state(stored.state, already)
        hashed = self._hash(stored.version, stored.state_hash, hidden, hidden_before)
        held = HELD if stored.held and hidden <= stored.version else stored.held
        self._write(stored._replace(state=state, state_hash=hashed, held=held), paths)

    def _state(self, data: bytes, already: tuple[str, ...]) -> tuple[bytes, tuple[str, ...]]:
        mine = _of("state", already)
        if self._redaction is None:
            return data, mine
        state, paths = self._redaction.payload(data, "state", mine)
        return state, (*mine, *paths)

    def _hash(self, version: int, digest: bytes, hidden: int, hidden_before: int) -> bytes:
        """A hash is hidden once: what an earlier export hid stays as it is."""
        if self._redaction is None or not hidden <= version < hidden_before:
            return digest
        return self._redaction.hash(digest)

    def _write(self, record: Record, redacted: tuple[str, ...]) -> None:
        self._out.write(written(record, redacted))


def _of(part: str, paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path for path in paths if path.partition(".")[0] == part)
