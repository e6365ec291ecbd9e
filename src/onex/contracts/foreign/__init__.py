"""Contracts of any family become one of our four kinds, with every key accounted for."""

from __future__ import annotations
