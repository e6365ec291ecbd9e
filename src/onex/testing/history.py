"""History: what a store holds of its instances as lines of JSON, and a reader that a replay takes for a store.

    head, then per instance: its rows by version, the states kept on the way, and last the instance as it stands

Data only: no code, no path, no blob's bytes; reading a file runs nothing of it. The head names format and number, so that a
file read years later is understood or refused. Fields have the names of ``records``; canonical bytes stand as the text
they are, so that a person can read and compare them, and ids and hashes as hex.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, TextIO

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic import ValidationError as PydanticError

from ..engine.replay import PAGE, Recorded
from ..kernel.action import WorkflowKey
from ..kernel.errors import StateConsistencyError, ValidationError
from ..ports import Code, Env, LogEntry, LogRow, SnapshotRow, Stored

_TEXT = frozenset({"payload", "intents", "state"})
_PLACE = frozenset({"outbox", "instance", "timers"})  # where something stands in one store, and nothing else
_HEX = frozenset({"action_id", "correlation", "cause", "body_hash", "state_hash", "digest", "lease_id"})


class HistoryUnreadable(ValidationError):
    """A file that is no history, is damaged, or has a format that this ONEX does not know."""

    code = "history_unreadable"


class _Head(BaseModel):
    """``codes`` and ``envs`` by the numbers that the lines below name them by."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["onexrun"] = "onexrun"
    format_version: Literal[1] = 1
    codes: dict[int, Code]
    envs: dict[int, Env]


_LINES: Mapping[str, TypeAdapter[_Head | LogEntry | SnapshotRow | Stored]] = {
    "head": TypeAdapter(_Head),
    "row": TypeAdapter(LogEntry),
    "snapshot": TypeAdapter(SnapshotRow),
    "instance": TypeAdapter(Stored),
}


class Exported(Recorded, Protocol):
    """What an export asks of a store."""

    async def envs(self) -> Mapping[int, Env]: ...


async def export_history(reader: Exported, out: TextIO, workflow_type: str | None = None) -> int:
    """Writes every instance, or those of one type, in key order; returns how many. The same history is the same bytes.

    Raises StateConsistencyError for stored bytes that are no text. What is committed while it runs is left out.
    """
    head = _Head(codes=dict(await reader.codes()), envs=dict(await reader.envs()))
    _write(out, "head", dict(head))
    count = 0
    after: WorkflowKey | None = None
    while found := await reader.instances(workflow_type, None, after, PAGE):
        for stored in found:
            await _export(reader, out, stored)
        count += len(found)
        after = found[-1].key
    return count


async def _export(reader: Exported, out: TextIO, stored: Stored) -> None:
    key, version = stored.key, 0
    while version < stored.version and (rows := await reader.history(key, version, PAGE)):
        for entry in rows:
            if entry.version <= stored.version:
                _write(out, "row", entry._asdict())
        version = rows[-1].version
    kept: list[SnapshotRow] = []
    while (older := await reader.snapshot(key, kept[-1].version - 1 if kept else stored.version)) is not None:
        kept.append(older)
    for snapshot in reversed(kept):
        _write(out, "snapshot", snapshot._asdict())
    _write(out, "instance", stored._asdict())


def _write(out: TextIO, line: str, fields: Mapping[str, object]) -> None:
    try:
        out.write(
            json.dumps({"line": line, **_fields_as_text(fields)}, ensure_ascii=False, separators=(",", ":")) + "\n"
        )
    except UnicodeError as error:
        raise StateConsistencyError(f"a stored {line} cannot be written as text: {error}") from error


def _fields_as_text(fields: Mapping[str, object]) -> dict[str, object]:
    return {str(name): _as_text(str(name), value) for name, value in fields.items() if name not in _PLACE}


def _as_text(name: str, value: object) -> object:
    if isinstance(value, bytes):
        return value.decode() if name in _TEXT else value.hex()
    if isinstance(value, (LogRow, Code, Env)):
        return _fields_as_text(value._asdict())
    return _fields_as_text(value) if isinstance(value, Mapping) else value


def _as_bytes(fields: dict[str, object]) -> dict[str, object]:
    """What ``json.loads`` calls for each object. Raises ValueError for what is no hex."""
    for name, value in fields.items():
        if isinstance(value, str) and name in _TEXT | _HEX:
            fields[name] = value.encode() if name in _TEXT else bytes.fromhex(value)
    return fields


class HistoryReader:
    """The parts of a Reader that a replay uses, over an exported file held in memory."""

    def __init__(self, lines: Iterable[bytes], source: str = "history") -> None:
        """Raises HistoryUnreadable, with the number of the line."""
        self._head: _Head | None = None
        self._stored: dict[WorkflowKey, Stored] = {}
        self._log: dict[WorkflowKey, list[LogEntry]] = {}
        self._kept: dict[WorkflowKey, list[SnapshotRow]] = {}
        last: _Head | LogEntry | SnapshotRow | Stored | None = None
        for last in _read(lines, source):
            if isinstance(last, LogEntry):
                self._log.setdefault(last.key, []).append(last)
            elif isinstance(last, SnapshotRow):
                self._kept.setdefault(last.key, []).append(last)
            elif isinstance(last, Stored):
                self._stored[last.key] = last
            else:
                self._head = last
        if not isinstance(last, (_Head, Stored)):
            raise HistoryUnreadable(f"{source} ends before an instance does: it was cut off; export it again")

    @classmethod
    def open(cls, path: Path) -> HistoryReader:
        """Raises HistoryUnreadable, OSError."""
        with path.open("rb") as file:
            return cls(file, str(path))

    async def codes(self) -> Mapping[int, Code]:
        return self._head.codes if self._head else {}

    async def envs(self) -> Mapping[int, Env]:
        return self._head.envs if self._head else {}

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        found = (
            self._stored[key]
            for key in sorted(self._stored)
            if workflow_type in (None, key.workflow_type) and (after is None or key > after)
        )
        return list(islice((one for one in found if status in (None, one.status)), limit))

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        return [entry for entry in self._log.get(key, ()) if entry.version > after][:limit]

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        fitting = (row for row in self._kept.get(key, ()) if row.version <= at_most)
        return max(fitting, key=lambda row: row.version, default=None)


def _read(lines: Iterable[bytes], source: str) -> Iterator[_Head | LogEntry | SnapshotRow | Stored]:
    for number, raw in enumerate(lines, 1):
        try:
            fields = json.loads(raw, object_hook=_as_bytes)
            name = fields.pop("line")
            if (number == 1) is not (name == "head"):
                raise ValueError(f"it is a {name}; a history has one head, as its first line")
            yield _LINES[name].validate_python(
                {**fields, "instance": 0, "timers": {}} if name == "instance" else fields
            )
        except PydanticError as error:
            told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
            raise HistoryUnreadable(f"{source}:{number} is a {name} that is not known here: {told}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            told = f"{type(error).__name__}: {error}"
            raise HistoryUnreadable(f"{source}:{number} is no line of a history: {told}") from error
