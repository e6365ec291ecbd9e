"""Two versions of one contract: each difference, whom it breaks, and the version it owes."""

from __future__ import annotations
