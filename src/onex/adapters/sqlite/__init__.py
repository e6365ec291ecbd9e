"""The SQLite store: plain calls on one connection (``core``, ``read``), and the threads and locks around them (``store``)."""

from __future__ import annotations
