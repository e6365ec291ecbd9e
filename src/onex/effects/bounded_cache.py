"""BoundedCache: values by key in this process, of which the one that was not used for longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from ..ports import Clock

ENTRY_BYTES = 200
"""What an entry costs beside its key and value; a rough figure."""


class _Entry(NamedTuple):
    value: bytes
    until_s: float


class BoundedCache:
    """At most ``max_entries`` and ``max_bytes``. A value is there until its time is over, or until room is needed."""

    def __init__(self, clock: Clock, *, max_entries: int = 10_000, max_bytes: int = 64 << 20) -> None:
        self._clock, self._max_entries, self._max_bytes = clock, max_entries, max_bytes
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self.bytes = 0

    def get(self, key: bytes) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until_s <= self._clock.monotonic():
            self.delete(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def set(self, key: bytes, value: bytes, ttl_s: float | None = None) -> bool:
        """False where the value alone is larger than the cache: then nothing is kept under this key."""
        self.delete(key)
        size = ENTRY_BYTES + len(key) + len(value)
        if size > self._max_bytes:
            return False
        until_s = float("inf") if ttl_s is None else self._clock.monotonic() + ttl_s
        self._entries[key] = _Entry(value, until_s)
        self.bytes += size
        while len(self._entries) > self._max_entries or self.bytes > self._max_bytes:
            self.delete(next(iter(self._entries)))
        return True

    def left_s(self, key: bytes) -> float | None:
        """How long the value under this key is kept; None for ever, or where there is none."""
        entry = self._entries.get(key)
        return None if entry is None or entry.until_s == float("inf") else entry.until_s - self._clock.monotonic()

    def delete(self, key: bytes) -> bool:
        """Whether there was one."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.bytes -= ENTRY_BYTES + len(key) + len(entry.value)
        return True

    def __len__(self) -> int:
        return len(self._entries)
