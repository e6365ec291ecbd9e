"""The store in memory, for tests and simulation."""

from __future__ import annotations
