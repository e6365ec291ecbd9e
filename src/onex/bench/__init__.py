"""One file per ``onex bench NAME``, and what they share: load, options, measurement, and the SQLite ceiling."""

from __future__ import annotations
