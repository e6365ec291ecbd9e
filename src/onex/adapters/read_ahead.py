"""Read ahead: histories of short instances, read several at once. Most instances of a store have a few rows each, and a query
for each costs more than folding its rows.

Whoever folds a store asks for a page of instances, then for the history of each, or of each k-th of them. So it is known what
will be asked next. What was read ahead is given out once, and it was read later than the page, so it has all rows that the
page's instance had.

What may go wrong, and why the result is still right:

- Other instances are asked for than was thought, because a part of them is left out. The next read is of one instance again; each
  time the next one is the one expected, twice as many are read.
- Rows of an instance are damaged or missing, or the store cannot be read. Nothing is kept of it here. Its history is then read
  alone, which says what is wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..ports import LogEntry, Stored

ROWS: Final = 200
"""At most so many rows are read ahead. Many more values that live for a while keep the garbage collector busy."""
LONG: Final = 50
"""An instance of more rows is read by itself: a query of its own costs little beside them."""

Histories = Callable[[Sequence[Stored]], Awaitable[Mapping[WorkflowKey, Sequence[LogEntry]]]]


class ReadAhead:
    """``begin`` with each page of instances; ``whole`` is the history of one of them where it was read ahead, or None."""

    def __init__(self, histories: Histories) -> None:
        """``histories`` reads whole histories, and leaves out those that cannot be read."""
        self._histories = histories
        self.begin(())

    def begin(self, page: Sequence[Stored]) -> None:
        self._page = page
        self._places = {stored.key: place for place, stored in enumerate(page)}
        self._held: dict[WorkflowKey, Sequence[LogEntry]] = {}
        self._last, self._stride, self._count = -1, 1, 1

    async def whole(self, key: WorkflowKey) -> Sequence[LogEntry] | None:
        place = self._places.get(key)
        if place is None or place <= self._last:
            return None
        stride = place - self._last
        self._count = min(2 * self._count, ROWS) if stride == self._stride else 1
        self._last, self._stride = place, stride
        if key not in self._held:
            self._held = await self._read(place) if self._count > 1 else {}
        return self._held.pop(key, None)

    async def _read(self, first: int) -> dict[WorkflowKey, Sequence[LogEntry]]:
        wanted: list[Stored] = []
        rows = 0
        for stored in self._page[first :: self._stride][: self._count]:
            if type(stored.instance) is not int or type(stored.version) is not int:  # its stored row is damaged
                continue
            rows += stored.version
            if rows > ROWS or stored.version > LONG:
                break
            wanted.append(stored)
        if len(wanted) < 2:
            return {}
        try:
            return dict(await self._histories(wanted))
        except OnexError:
            return {}
