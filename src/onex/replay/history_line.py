"""History line: one record of a history as one line of JSON, and back. The format, and nothing about files.

    head, then per instance: its rows by version, its kept states by version, and last the instance as it stands

Data only: no code, no path, no blob's bytes; reading a line runs nothing of it. The head names format and number, so a file
that is read years later is understood or refused. Fields have the names of ``records``. Canonical bytes stand as the text
they are, so that people can read and compare them; ids and hashes stand as hex. A line in which values were changed on
purpose names them as ``redacted``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic import ValidationError as PydanticError

from ..kernel.action import ID_BYTES, WorkflowKey
from ..kernel.errors import InvalidKey, StateConsistencyError, ValidationError
from ..kernel.user_code import describe
from ..ports import Code, Env, LogEntry, LogRow, SnapshotRow, Stored

LINE_BYTES = 32 * 1024 * 1024  # a state of 1 MiB, each byte of it written as \u00xx, and room for names
_TEXT = frozenset({"payload", "intents", "state"})
_PLACE = frozenset({"outbox", "instance", "timers"})  # they say where something is in one store; a file leaves them out
_NO_INTENTS = (b"", b"[]")
_TIME_MAX_US = 253_402_300_799_999_999  # the last microsecond that a calendar has
_HEX = frozenset({"action_id", "correlation", "cause", "body_hash", "state_hash", "digest", "lease_id"})


class HistoryUnreadable(ValidationError):
    """A file that is no history, is damaged, or has a format that this ONEX does not know."""

    code = "history_unreadable"


class Head(BaseModel):
    """``codes`` and ``envs`` by the numbers that the lines below use for them."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["onexrun"] = "onexrun"
    format_version: Literal[1] = 1
    codes: dict[int, Code]
    envs: dict[int, Env]


Record = Head | LogEntry | SnapshotRow | Stored
_LINES: Mapping[str, TypeAdapter[Record]] = {
    "head": TypeAdapter(Head),
    "row": TypeAdapter(LogEntry),
    "snapshot": TypeAdapter(SnapshotRow),
    "instance": TypeAdapter(Stored),
}
_PATHS: TypeAdapter[tuple[str, ...]] = TypeAdapter(tuple[str, ...])


class HistoryLine(NamedTuple):
    """``redacted`` are the dotted paths of the values that were changed, below the record's own fields."""

    record: Record
    redacted: tuple[str, ...] = ()


def written(record: Record, redacted: tuple[str, ...] = ()) -> str:
    """The line, its end included. Raises StateConsistencyError for stored bytes that are no text."""
    name = _name(record)
    fields = dict(record) if isinstance(record, Head) else record._asdict()
    try:
        marked = {"redacted": list(redacted)} if redacted else {}
        whole = {"line": name, **_fields_as_text(fields), **marked}
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":")) + "\n"
    except UnicodeError as error:
        raise StateConsistencyError(f"a stored {name} cannot be written as text: {error}") from error


def read(raw: bytes, source: str, number: int) -> HistoryLine:
    """``number`` counts from 1: the head. Raises HistoryUnreadable, with the number."""
    name = "line"
    try:
        fields = orjson.loads(raw)  # refuses what is no UTF-8, half a character, and what is too deep
        _to_bytes(fields)
        name = fields.pop("line")
        if (number == 1) is not (name == "head"):
            raise ValueError(f"it is a {name}; a history has one head, as its first line")
        redacted = _PATHS.validate_python(fields.pop("redacted", ()))
        if name == "instance":
            fields |= {"instance": 0, "timers": {}}
        record = _LINES[name].validate_python(fields)
        _check(record)
        return HistoryLine(record, redacted)
    except PydanticError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
        raise HistoryUnreadable(
            f"{source}:{number} is a {name} that is not known here: {wrong}. Read it with the ONEX that wrote it, or newer"
        ) from error
    except (InvalidKey, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        wrong = describe(error)
        raise HistoryUnreadable(
            f"{source}:{number} is no line of a history: {wrong}. Was it cut off or edited? Export it again"
        ) from error


def _check(record: Record) -> None:
    """What the types do not say and every reader relies on. Raises ValueError."""
    if isinstance(record, Head):
        return
    if record.version < 1:
        raise ValueError(f"version {record.version} of {record.key} is none; versions count from 1")
    if isinstance(record, LogEntry):
        row = record.row
        _check_time("issued_us", row.issued_us)
        caused = row.cause_id or b""
        for what, raw in (("action_id", row.action_id), ("correlation", row.correlation), ("cause", caused)):
            if len(raw) != ID_BYTES and (raw or what != "cause"):
                raise ValueError(f"{what} has {len(raw)} bytes; an id has {ID_BYTES}")
        _ = row.outcome_of  # raises ValueError
        if row.intents not in _NO_INTENTS:
            _check_intents(row.intents)
        return
    WorkflowKey.of(*record.key)
    if isinstance(record, Stored):
        _check_time("last_us", record.last_us)


def _check_time(what: str, at_us: int) -> None:
    if not 0 <= at_us <= _TIME_MAX_US:
        raise ValueError(f"{what} {at_us} is no time from 1970 to 9999, in microseconds")


def _check_intents(raw: bytes) -> None:
    intents = orjson.loads(raw)
    if not isinstance(intents, list):
        raise ValueError("intents are no list")
    for n, one in enumerate(intents):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise ValueError(f"intent {n} has no name")


def _name(record: Record) -> str:
    if isinstance(record, LogEntry):
        return "row"
    if isinstance(record, SnapshotRow):
        return "snapshot"
    return "instance" if isinstance(record, Stored) else "head"


def _fields_as_text(fields: Mapping[str, object]) -> dict[str, object]:
    kept = {name: value for name, value in fields.items() if name not in _PLACE and (name != "cut" or value)}
    return {str(name): _as_text(str(name), value) for name, value in kept.items()}


def _as_text(name: str, value: object) -> object:
    if isinstance(value, bytes):
        return value.decode() if name in _TEXT else value.hex()
    if isinstance(value, (LogRow, Code, Env)):
        return _fields_as_text(value._asdict())
    return _fields_as_text(value) if isinstance(value, Mapping) else value


def _to_bytes(fields: dict[str, object]) -> None:
    """Texts and hex to the bytes they stand for, in place. Raises ValueError for what is no hex and for odd numbers."""
    for name, value in fields.items():
        kind = type(value)
        if kind is str:
            if name in _TEXT:
                fields[name] = value.encode()  # type: ignore[attr-defined]  # it is a str, as its type says
            elif name in _HEX:
                fields[name] = bytes.fromhex(value)  # type: ignore[arg-type]  # as above
        elif kind is dict:
            _to_bytes(value)  # type: ignore[arg-type]  # JSON's dicts have names
        elif kind is int or kind is list or kind is float:
            _check_numbers(name, value)


def _check_numbers(name: str, value: object) -> None:
    """Integers as stores hold them, in 8 bytes, and nothing else."""
    if isinstance(value, list):
        for one in value:
            _check_numbers(name, one)
    elif isinstance(value, float) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        raise ValueError(f"{name} {value} is no number of 8 bytes")
