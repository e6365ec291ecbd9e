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
from ..ports import LogRow
from .whatif_value import Item, read_items

SENT = b'"to":'
"""What the bytes of a row's intents hold when one of them is a send; a payload may hold it as well."""


class Extra(NamedTuple):
    """A message that only the other code sends, at ``at_us``."""

    at_us: int
    what: str


@dataclass(slots=True)
class Post:
    """``withdrawn``: action ids of messages that arrived and are not sent; ``extra[receiver]``: the first one never recorded.

    Some 100 bytes for each: the only thing in a what-if that grows with the number of differences.
    """

    withdrawn: set[bytes] = field(default_factory=set)
    extra: dict[WorkflowKey, Extra] = field(default_factory=dict)

    def learn(self, news: Post) -> Post:
        """What of it was not known before."""
        fresh = Post(news.withdrawn - self.withdrawn)
        self.withdrawn |= fresh.withdrawn
        for key, extra in news.extra.items():
            known = self.extra.get(key)
            if known is None or extra < known:
                self.extra[key] = fresh.extra[key] = extra
        return fresh

    def __bool__(self) -> bool:
        return bool(self.withdrawn or self.extra)

    # --- by a sender ----------------------------------------------------------------------------------------------------

    def withdraw(self, key: WorkflowKey, row: LogRow, items: Iterable[Item]) -> None:
        """Of the intents that ``row`` emitted, these are not emitted now."""
        for item in items:
            if item.to:
                sent = sent_id(intent_id(UUID(bytes=row.action_id), key, item.name, item.n))
                self.withdrawn.add(sent.bytes)

    def withdraw_all(self, key: WorkflowKey, row: LogRow) -> None:
        """Whether the other code would have come to this action is not known."""
        if SENT in row.intents:
            self.withdraw(key, row, read_items(row.intents))

    def send(self, key: WorkflowKey, row: LogRow, items: Iterable[Item], table: IntentTable) -> None:
        """These are emitted now, and were not."""
        for item in items:
            spec = table.by_name[item.name]
            if spec.kind == EnumIntentType.ACTION_SEND:
                to = WorkflowKey(spec.target, item.to)
                extra = Extra(row.issued_us, f"{key} sends {spec.trigger!r}")
                known = self.extra.get(to)
                self.extra[to] = extra if known is None else min(known, extra)
