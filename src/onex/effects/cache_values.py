"""Values by key as the cache effect asks for them, and those that are kept in this process."""

from __future__ import annotations

from typing import Protocol

from ..kernel.errors import EffectFailed
from ..ports import Clock
from .bounded_cache import BoundedCache

_LEAST, _MOST = -(2**63), 2**63 - 1


class CacheValues(Protocol):
    """Any method raises EffectFailed when surely nothing was changed, else EffectUnknown."""

    shown: str
    """Where they are, for messages."""

    async def get(self, key: bytes) -> bytes | None: ...

    async def set(self, key: bytes, value: bytes, ttl_ms: int | None) -> None: ...

    async def delete(self, key: bytes) -> bool:
        """Whether there was one."""

    async def increment(self, key: bytes, by: int, ttl_ms: int | None, once: bytes, dedup_ms: int) -> int:
        """The sum. With a ``once`` that was used within ``dedup_ms``: the sum of then, and nothing is counted."""

    async def close(self) -> None:
        """Idempotent."""


class OwnCache:
    """In this process, gone with it."""

    shown = "this process"

    def __init__(self, clock: Clock, max_entries: int, max_bytes: int) -> None:
        self._values = BoundedCache(clock, max_entries=max_entries, max_bytes=max_bytes)
        self._done = BoundedCache(clock, max_entries=max_entries, max_bytes=max_bytes)

    async def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    async def set(self, key: bytes, value: bytes, ttl_ms: int | None) -> None:
        if not self._values.set(key, value, None if ttl_ms is None else ttl_ms / 1000):
            raise EffectFailed(f"the value has {len(value):,} bytes, more than the cache (max_bytes)", code="too_large")

    async def delete(self, key: bytes) -> bool:
        return self._values.get(key) is not None and self._values.delete(key)

    async def increment(self, key: bytes, by: int, ttl_ms: int | None, once: bytes, dedup_ms: int) -> int:
        if (done := self._done.get(once)) is not None:
            return int(done)
        kept = self._values.get(key)
        left_s = self._values.left_s(key) if kept is not None else None if ttl_ms is None else ttl_ms / 1000
        try:
            total = int(kept or b"0") + by
        except ValueError as error:
            raise EffectFailed("the value under this key is no whole number", code="no_number") from error
        if not _LEAST <= total <= _MOST:
            raise EffectFailed("the sum would have more than 64 bits", code="no_number")
        self._values.set(key, b"%d" % total, left_s)
        self._done.set(once, b"%d" % total, dedup_ms / 1000)
        return total

    async def close(self) -> None:
        self._values = self._done = BoundedCache(_Stopped())


class _Stopped:
    """The clock of a cache that is closed and empty."""

    def now_us(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None: ...
