"""Post: what instances send each other, as far as the other code sends something else than what is recorded.

A message is recorded where it arrived. Whether it is still sent is known only when its sender was folded, so receivers are
folded again until nothing new comes out: what is known here only grows, hence the end does not depend on any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from ..kernel.action import WorkflowKey
from ..kernel.intent import EnumIntentType, IntentTable, intent_id, sent_id
from ..ports import LogEntry, LogRow
from .value_diff import LoggedIntent, read_intents

SENT = b'"to":'
"""What the bytes of a row's intents hold when one of them is a send; a payload may hold it as well."""


class NewMessage(NamedTuple):
    """A message that only the other code sends. Where its sender's shard is the receiver's, positions tell which came first."""

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
    """``withdrawn``: action ids of messages that arrived and are not sent; ``refused``: of those that arrive and are now
    refused, which is what their senders would hear; ``extra[receiver][shard]``: the first one that was never recorded, of
    each shard that senders live in.

    Some 100 bytes for each: the only thing in a what-if that grows with the number of differences.
    """

    withdrawn: set[bytes] = field(default_factory=set)
    extra: dict[WorkflowKey, dict[int, NewMessage]] = field(default_factory=dict)
    refused: set[bytes] = field(default_factory=set)

    def learn(self, news: MessageChanges) -> MessageChanges:
        """What of it was not known before."""
        fresh = MessageChanges(news.withdrawn - self.withdrawn, refused=news.refused - self.refused)
        self.withdrawn |= fresh.withdrawn
        self.refused |= fresh.refused
        for key, extras in news.extra.items():
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
        """One that would have come before this action; the first there is, by shard."""
        extras = self.extra.get(entry.key)
        if extras is None:
            return None
        return next((extra for _, extra in sorted(extras.items()) if extra.precedes(entry)), None)

    def __bool__(self) -> bool:
        return bool(self.withdrawn or self.extra or self.refused)

    # --- by a sender ----------------------------------------------------------------------------------------------------

    def withdraw(self, key: WorkflowKey, row: LogRow, items: Iterable[LoggedIntent]) -> None:
        """Of the intents that ``row`` emitted, these are not emitted now."""
        for item in items:
            if item.to:
                sent = sent_id(intent_id(UUID(bytes=row.action_id), key, item.was or item.name, item.n))
                self.withdrawn.add(sent.bytes)

    def withdraw_all(self, key: WorkflowKey, row: LogRow) -> None:
        """Whether the other code would have come to this action is not known."""
        if SENT in row.intents:
            self.withdraw(key, row, read_intents(row.intents))

    def send(
        self, entry: LogEntry, items: Iterable[LoggedIntent], table: IntentTable, *, another: bool = False
    ) -> None:
        """These are emitted now, and were not; or, ``another``, instead of one that was.

        That one may have been refused where it arrived, and this one may not: so it is not known from now on, and not only
        from the arrival that is recorded.
        """
        for item in items:
            spec = table.by_name[item.name]
            if spec.kind == EnumIntentType.ACTION_SEND:
                shard, n = entry.position
                extra = NewMessage(
                    n, entry.row.issued_us, shard, f"{entry.key} sends {'another ' * another}{spec.trigger!r}"
                )
                self._add(WorkflowKey(spec.target, item.to), extra)
