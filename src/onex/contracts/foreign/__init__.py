"""Contracts of any family become one of our four kinds, and the usage of every key is known."""

from __future__ import annotations
