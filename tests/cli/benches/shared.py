"""What benches share is no bench."""

from __future__ import annotations

ANSWER = 42
