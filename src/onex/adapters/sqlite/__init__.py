"""The SQLite store: a synchronous core, and the threads and locks around it."""

from __future__ import annotations
