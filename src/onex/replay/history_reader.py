"""History reader: an exported file, read as a replay reads a store. Memory holds places in the file, never its rows.

Order:

1. Opening reads the whole file once and notes where each instance's lines are: its rows by version, its kept states, and
   last its own line. A row is recognised by its first bytes and not parsed, which makes this pass fast.
2. Keys must come in order and once each, kept states in order and of the right instance. Else the file is not opened.
3. A line is parsed and checked only when it is asked for. Pages of rows are asked for in order, so the place behind the
   last page is remembered and the file is not searched again.

What may go wrong: the file was cut off (it must end with an instance or its head), a line is longer than any that is
written, a line is no record, rows leave out a version, a row is of another instance. Each raises HistoryUnreadable with
the number of the line. Nothing is skipped or repaired: a file that was edited proves nothing.

Rows that do not follow from each other by their *content* are not looked for here. That is the replay's work, and it finds
them in a file as it does in a store.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from ..kernel.action import WorkflowKey
from ..ports import Code, Env, LogEntry, SnapshotRow, Stored
from ..records import Damage
from .history_export import Redacted, redacted_since
from .history_line import LINE_BYTES, Head, HistoryLine, HistoryUnreadable, read

_ROW = b'{"line":"row",'  # as it is written: such a line need not be parsed to be recognised
_REDACTED = b'"redacted":'  # never inside a value: there the quotes are escaped


class _Spot(NamedTuple):
    """Where a line begins, and which line it is, counted from 1."""

    offset: int
    number: int


class _Place(NamedTuple):
    """An instance's lines: ``rows`` of them from ``first`` on, its kept states by version, and last its own."""

    first: _Spot
    rows: int
    version: int
    kept: tuple[tuple[int, _Spot], ...]
    instance: _Spot
    redacted: bool


class HistoryReader:
    """The parts of a Reader that a replay uses, over a seekable file. ``open`` opens the file too; ``close`` closes it."""

    def __init__(self, file: BinaryIO, source: str = "history") -> None:
        """Raises HistoryUnreadable, with the number of the line."""
        self._file, self.source = file, source
        self._head: Head | None = None
        self._places: dict[WorkflowKey, _Place] = {}
        self.shards = 1
        """How many shards its rows are of, at least: one more than the highest that an instance stands in."""
        self._index()
        self._keys = list(self._places)
        self._next: tuple[WorkflowKey, int, _Spot] | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises HistoryUnreadable."""
        try:
            file = path.open("rb")
        except OSError as error:
            raise HistoryUnreadable(f"{path} cannot be read: {error.strerror}") from error
        try:
            return cls(file, str(path))
        except OSError as error:  # a folder, a disk that fails
            file.close()
            raise HistoryUnreadable(f"{path} cannot be read: {error.strerror}") from error
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def actions(self) -> int:
        """Rows in the file."""
        return sum(place.rows for place in self._places.values())

    # --- once over the file -------------------------------------------------------------------------------------------

    def _index(self) -> None:
        self._file.seek(0)
        spot, last = _Spot(0, 1), "nothing"
        first: _Spot | None = None
        rows, redacted = 0, False
        kept: list[tuple[int, _Spot]] = []
        kept_of: WorkflowKey | None = None
        for raw in self._lines(1):
            here, spot = spot, _Spot(spot.offset + len(raw), spot.number + 1)
            first, redacted = first or here, redacted or _REDACTED in raw
            if raw.startswith(_ROW) and here.offset:
                if kept:
                    raise self._wrong(here, "a row stands behind its instance's kept states")
                rows, last = rows + 1, "row"
                continue
            record = read(raw, self.source, here.number).record
            if isinstance(record, Head):
                self._head, first, redacted, last = record, None, False, "head"
            elif isinstance(record, LogEntry):
                rows, last = rows + 1, "row"
            elif isinstance(record, SnapshotRow):
                if kept and (kept[-1][0] >= record.version or kept_of != record.key):
                    raise self._wrong(here, f"the state of {record.key} at version {record.version} is out of order")
                kept.append((record.version, here))
                kept_of, last = record.key, "snapshot"
            else:
                self._add(record, kept_of, _Place(first, rows, record.version, tuple(kept), here, redacted))
                first, rows, redacted, kept, kept_of, last = None, 0, False, [], None, "instance"
        if last not in ("head", "instance"):
            raise HistoryUnreadable(f"{self.source} ends before an instance does: it was cut off; export it again")

    def _add(self, stored: Stored, kept_of: WorkflowKey | None, place: _Place) -> None:
        if kept_of is not None and kept_of != stored.key:
            raise self._wrong(place.instance, f"the states before it are of {kept_of}, not of {stored.key}")
        if self._places and stored.key <= next(reversed(self._places)):
            what = "stands twice" if stored.key in self._places else "is out of order"
            raise self._wrong(place.instance, f"{stored.key} {what}")
        self._places[stored.key] = place
        self.shards = max(self.shards, stored.position.shard + 1)

    def _lines(self, number: int) -> Iterator[bytes]:
        """From where the file stands. Raises HistoryUnreadable for a line that no export writes, before it is all read."""
        while raw := self._file.readline(LINE_BYTES + 1):
            if len(raw) > LINE_BYTES:
                raise HistoryUnreadable(
                    f"{self.source}:{number} is no line of a history: it has more than {LINE_BYTES} bytes"
                )
            yield raw
            number += 1

    def _wrong(self, spot: _Spot, what: str) -> HistoryUnreadable:
        return HistoryUnreadable(f"{self.source}:{spot.number}: {what}. Was it edited? Export it again")

    # --- what a replay asks -------------------------------------------------------------------------------------------

    async def codes(self) -> Mapping[int, Code]:
        return self._head.codes if self._head else {}

    async def envs(self) -> Mapping[int, Env]:
        return self._head.envs if self._head else {}

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        return {key: self._stored(key) for key in keys if key in self._places}

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        found: list[Stored] = []
        at = 0 if after is None else bisect_right(self._keys, after)
        while at < len(self._keys) and len(found) < limit:
            key = self._keys[at]
            if workflow_type in (None, key.workflow_type):
                stored = self._stored(key)
                if status in (None, stored.status):
                    found.append(stored)
            at += 1
        return found

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        return [entry for entry, _ in self._rows(key, after, limit)]

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        place = self._places.get(key)
        fitting = [spot for version, spot in place.kept if version <= at_most] if place is not None else []
        if not fitting:
            return None
        record = self._at(fitting[-1]).record
        assert isinstance(record, SnapshotRow), "the index names a kept state's line"
        return record

    async def redacted(self, key: WorkflowKey) -> Redacted:
        """What was changed on purpose before it was written; see ``history_export``."""
        place = self._places.get(key)
        if place is None or not place.redacted:
            return {}
        found: dict[int, tuple[str, ...]] = {}
        after = 0
        while rows := self._rows(key, after, 1000):
            found |= {entry.version: paths for entry, paths in rows if paths}
            after = rows[-1][0].version
        for version, spot in (*place.kept, (place.version, place.instance)):
            if paths := self._at(spot).redacted:
                found[version] = tuple(dict.fromkeys((*found.get(version, ()), *paths)))
        return found

    async def redacted_since(self, key: WorkflowKey) -> int:
        return redacted_since(await self.redacted(key))

    async def damaged(self, part: int) -> Sequence[Damage]:
        """Nothing: a file that contradicts itself is not opened."""
        return ()

    async def checksums(self, on_rows: Callable[[int], None]) -> tuple[int, int, Sequence[Damage]]:
        """A file has none: it is made to be read by people, too."""
        return 0, self.actions, ()

    # --- lines --------------------------------------------------------------------------------------------------------

    def _stored(self, key: WorkflowKey) -> Stored:
        record = self._at(self._places[key].instance).record
        assert isinstance(record, Stored), "the index names an instance's line"
        return record

    def _at(self, spot: _Spot) -> HistoryLine:
        self._file.seek(spot.offset)
        return read(next(self._lines(spot.number), b""), self.source, spot.number)

    def _rows(self, key: WorkflowKey, after: int, limit: int) -> list[tuple[LogEntry, tuple[str, ...]]]:
        """Pages are asked for in order, so the next one mostly begins where the last has ended."""
        place = self._places.get(key)
        if place is None:
            return []
        spot, version = place.first, 0
        if self._next is not None and self._next[0] == key and self._next[1] <= after:
            _, version, spot = self._next
        self._file.seek(spot.offset)
        found: list[tuple[LogEntry, tuple[str, ...]]] = []
        end = place.first.number + place.rows
        for raw in self._lines(spot.number):
            if spot.number >= end or len(found) >= limit:
                break
            entry, redacted = read(raw, self.source, spot.number)
            if not isinstance(entry, LogEntry) or entry.key != key:
                raise self._wrong(spot, f"it is not a row of {key}, whose lines these are")
            if entry.version <= version or (version and entry.version != version + 1):
                raise self._wrong(spot, f"version {entry.version} of {key} follows version {version}")
            version, spot = entry.version, _Spot(spot.offset + len(raw), spot.number + 1)
            if version > after:
                found.append((entry, redacted))
        self._next = (key, version, spot)
        return found
