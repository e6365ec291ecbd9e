"""Messages between instances, where the other code sends something else than what is recorded.

A message is recorded where it arrived. Whether it is still sent is known only when its sender has been folded. So
receivers are folded again until nothing new is found. What is known here only grows, so the end does not depend on order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from ..kernel.action import WorkflowKey
from ..kernel.intent import EnumIntentType, IntentTable, intent_id, sent_id
from ..ports import LogEntry, LogRow
from .value_diff import RecordedIntent, recorded_intents

SENT = b'"to":'
"""Stands in the bytes of a row's intents when one of them is a send; a payload may hold it as well."""


class NewMessage(NamedTuple):
    """A message that only the other code sends. Within one shard, positions say what came first; between shards, times."""

    n: int
    at_us: int
    shard: int
    what: str

    def precedes(self, entry: LogEntry) -> bool:
        if self.shard == entry.position.shard:
            return self.n < entry.position.n
        return self.at_us <= entry.row.issued_us


@dataclass(slots=True)
class MessageChanges:
    """What is known of messages so far; some 100 bytes for each. Nothing else in a what-if grows with the differences.

    ``withdrawn``: action ids of messages that arrived and are not sent any more. ``refused``: of those that arrive and are
    now refused, which their senders would hear. ``extra[receiver][shard]``: of messages that were never recorded, the
    first of each shard in which senders live.
    """

    withdrawn: set[bytes] = field(default_factory=set)
    extra: dict[WorkflowKey, dict[int, NewMessage]] = field(default_factory=dict)
    refused: set[bytes] = field(default_factory=set)

    def learn(self, found: MessageChanges) -> MessageChanges:
        """Adds ``found``; returns what of it was not known before."""
        fresh = MessageChanges(found.withdrawn - self.withdrawn, refused=found.refused - self.refused)
        self.withdrawn |= fresh.withdrawn
        self.refused |= fresh.refused
        for key, extras in found.extra.items():
            for extra in extras.values():
                if self._add(key, extra):
                    fresh._add(key, extra)
        return fresh

    def _add(self, key: WorkflowKey, extra: NewMessage) -> bool:
        known = self.extra.setdefault(key, {})
        if extra.shard in known and known[extra.shard] <= extra:
            return False
        known[extra.shard] = extra
        return True

    def before(self, entry: LogEntry) -> NewMessage | None:
        """A message that would have come before this action: the first, by shard."""
        extras = self.extra.get(entry.key)
        if extras is None:
            return None
        return next((extra for _, extra in sorted(extras.items()) if extra.precedes(entry)), None)

    def forget(self) -> None:
        self.withdrawn.clear()
        self.extra.clear()
        self.refused.clear()

    def __bool__(self) -> bool:
        return bool(self.withdrawn or self.extra or self.refused)

    # --- by a sender ----------------------------------------------------------------------------------------------------

    def withdraw(self, key: WorkflowKey, row: LogRow, items: Iterable[RecordedIntent]) -> None:
        """``items``, which ``row`` emitted, are not emitted now: the messages among them are not sent."""
        for item in items:
            if item.to:
                sent = sent_id(intent_id(UUID(bytes=row.action_id), key, item.was or item.name, item.n))
                self.withdrawn.add(sent.bytes)

    def withdraw_all(self, key: WorkflowKey, row: LogRow) -> None:
        """Every message of ``row``: whether the other code would have come to this action is not known."""
        if SENT in row.intents:
            self.withdraw(key, row, recorded_intents(row.intents))

    def send(
        self, entry: LogEntry, items: Iterable[RecordedIntent], table: IntentTable, *, another: bool = False
    ) -> None:
        """``items`` are emitted now and were not recorded; or, with ``another``, were recorded with another content.

        The recorded one may have been refused where it arrived, and this one accepted. So its receiver is open from here,
        and not only from the recorded arrival.
        """
        for item in items:
            spec = table.by_name[item.name]
            if spec.kind == EnumIntentType.ACTION_SEND:
                shard, n = entry.position
                extra = NewMessage(
                    n, entry.row.issued_us, shard, f"{entry.key} sends {'another ' * another}{spec.trigger!r}"
                )
                self._add(WorkflowKey(spec.target, item.to), extra)
