"""The limits of an engine, as the settings say."""

from __future__ import annotations

from ..engine.limits import Limits
from ..kernel.retry import RetryPolicy
from ..settings import Settings


def limits_of(settings: Settings) -> Limits:
    conflicts = RetryPolicy(
        max_attempts=1 + settings.reducer_retries,
        initial_s=settings.reducer_initial_backoff_ms / 1000,
        max_s=settings.reducer_max_backoff_ms / 1000,
    )
    return Limits(
        cached_bytes=settings.cache_mib << 20, dedup_hours=settings.action_dedup_ttl_hours, conflicts=conflicts
    )
