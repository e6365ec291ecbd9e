"""RetryPolicy: when to try again. A decision, not a loop; whoever waits owns the clock."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff: ``min(max_s, initial_s * factor**(attempt-1))``, less up to ``jitter`` of it. Seconds.

    ``max_attempts=1`` never tries again. Full-jitter backoff after Brooker, "Exponential Backoff And Jitter" (AWS, 2015),
    with a floor: jitter 0.5 leaves at least half the wait.
    """

    max_attempts: int = 5
    initial_s: float = 0.010
    max_s: float = 0.250
    factor: float = 2.0
    jitter: float = 0.5

    def delay_s(self, attempt: int, seed: bytes) -> float | None:
        """Seconds to wait after failed ``attempt`` (counted from 1); None: give up.

        The jitter follows from ``seed`` and the attempt, so two writers part ways and a replay does not.
        """
        if attempt >= self.max_attempts:
            return None
        # factor**attempt overflows a float near attempt 1024; the cap is reached long before
        full = min(self.max_s, self.initial_s * self.factor ** min(attempt - 1, 64))
        unit = int.from_bytes(blake2b(seed + attempt.to_bytes(4, "big"), digest_size=4).digest()) / 2**32
        return full * (1 - self.jitter * unit)
