"""Conditions: the text becomes a pure function of state and payload, whose cost has a limit."""

from __future__ import annotations
