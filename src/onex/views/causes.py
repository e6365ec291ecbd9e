"""The chain of actions that led to one action, across instances: each step is an outcome, a timer or a message.

A log row keeps the id of the action that led to it, and the intent between the two. Of a message that is an intent of another
instance, which the row names as its issuer. So the way back needs the log alone: no code of an app, and no search.
"""

from __future__ import annotations

from typing import NamedTuple

from ..kernel.action import WorkflowKey
from ..kernel.errors import InvalidKey
from ..kernel.intent import sent_id
from ..ports import LogEntry, Reader

LONGEST = 1000


class Causes(NamedTuple):
    """``chain``: the first cause first, the action itself last. ``broken``: why the chain begins there, where more came before."""

    chain: tuple[LogEntry, ...]
    broken: str = ""


async def causes_of(reader: Reader, key: WorkflowKey, version: int) -> Causes | None:
    """None when the log has no such action: it was never applied, or was cut."""
    chain: list[LogEntry] = []
    broken = ""
    while True:
        entry = await _applied(reader, key, version)
        if entry is None:
            broken = f"{key} version {version} is not in the log: it was cut, or archived"
            break
        chain.append(entry)
        try:
            through = entry.row.outcome_of
            if through is None:
                break
            if entry.row.action_id == sent_id(through.intent_id).bytes:  # a message: its issuer is the sender
                key = WorkflowKey.parse(entry.row.issuer)
        except (ValueError, InvalidKey):
            broken = f"what led to {entry.key} version {entry.version} cannot be read; onex replay examines the log"
            break
        if len(chain) == LONGEST:
            broken = f"the chain is longer than {LONGEST:,} actions"
            break
        version = through.version
    return Causes(tuple(reversed(chain)), broken) if chain else None


async def _applied(reader: Reader, key: WorkflowKey, version: int) -> LogEntry | None:
    found = await reader.history(key, version - 1, 1) if version > 0 else ()
    return found[0] if found and found[0].version == version else None
