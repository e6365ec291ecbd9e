"""Limits: how much one engine takes at once, keeps in memory and remembers."""

from __future__ import annotations

from dataclasses import dataclass

from ..kernel.retry import RetryPolicy
from .intake import ACTION_DEDUP_TTL_HOURS


@dataclass(frozen=True, slots=True)
class Limits:
    """``batch`` actions per transaction, ``waiting`` not yet durable, ``cached`` instances of ``cached_bytes`` and ``kept`` intents
    in memory; ``horizon_s``: what is due later stays in the store, read again each half of that time (infinite: never, for a
    store in memory under a clock nobody sets); ``dedup_hours``: how old an id may be; ``conflicts``: when one is tried again."""

    batch: int = 512
    waiting: int = 20_000
    cached: int = 50_000
    cached_bytes: int = 64 << 20
    kept: int = 20_000
    horizon_s: float = 60.0
    dedup_hours: int = ACTION_DEDUP_TTL_HOURS
    conflicts: RetryPolicy = RetryPolicy(max_attempts=6, initial_s=0.010, max_s=0.250)
