"""The chain of actions that led to one action, across instances: each step is an outcome, a timer, a message, an event or a parent.

A log row keeps the id of the action that led to it, and the intent between the two. Of a message that is an intent of another
instance, which the row names as its issuer. An event of a bus, and an action with a parent, name the action that led to them, and
as issuer the instance that it was applied to. So the way back needs the log alone: no code of an app, and no search. It ends
where the other instance is in another store: then it is said which action of which instance led on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from ..kernel.action import WorkflowKey
from ..kernel.errors import InvalidKey
from ..kernel.intent import sent_id
from ..ports import LogEntry

LONGEST = 1000


class Causes(NamedTuple):
    """``chain``: the first cause first, the action itself last. ``broken``: why the chain begins there, where more came before."""

    chain: tuple[LogEntry, ...]
    broken: str = ""


class LogReader(Protocol):
    """What a store is asked here."""

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]: ...

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None: ...


async def causes_of(reader: LogReader, key: WorkflowKey, version: int) -> Causes | None:
    """None when the log has no such action: it was never applied, or was cut."""
    chain: list[LogEntry] = []
    broken = ""
    entry = await _at(reader, key, version)
    while True:
        if entry is None:
            broken = f"{key} version {version} is not in the log: it was cut, or archived"
            break
        if len(chain) == LONGEST:
            broken = f"the chain is longer than {LONGEST:,} actions"
            break
        chain.append(entry)
        row, key, version = entry.row, entry.key, entry.version
        try:
            through = row.outcome_of
            if through is None:
                if row.cause_id is None:
                    break
                broken, entry = await _parent(reader, row.issuer, row.cause_id)
                if entry is None:
                    break
                continue
            if row.action_id == sent_id(through.intent_id).bytes:  # a message: its issuer is the sender
                key = WorkflowKey.parse(row.issuer)
        except (ValueError, InvalidKey):
            broken = f"what led to {key} version {version} cannot be read; onex replay examines the log"
            break
        version = through.version
        entry = await _at(reader, key, version)
    return Causes(tuple(reversed(chain)), broken) if chain else None


async def _parent(reader: LogReader, issuer: str, action_id: bytes) -> tuple[str, LogEntry | None]:
    """The action that another instance, or a program, gave as the parent; or why it is not found."""
    named = f"its parent is action {UUID(bytes=action_id)}"
    try:
        key = WorkflowKey.parse(issuer)
    except InvalidKey:
        return f"{named}, and its issuer {issuer!r} is no instance in whose log that could be", None
    found = await reader.applied(key, action_id)
    return "" if found else f"{named} of {key}, whose log is not in this store", found


async def _at(reader: LogReader, key: WorkflowKey, version: int) -> LogEntry | None:
    found = await reader.history(key, version - 1, 1) if version > 0 else ()
    return found[0] if found and found[0].version == version else None
