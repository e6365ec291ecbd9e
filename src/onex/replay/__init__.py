"""Recorded rows folded again and compared with what was stored; and a run as a file of data."""

from __future__ import annotations
