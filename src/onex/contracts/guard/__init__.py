"""Conditions: their text becomes a pure function of state and payload, with a bound on its cost."""

from __future__ import annotations
