"""Two versions of one contract: each difference, whom it breaks, and the version bump that it needs."""

from __future__ import annotations
