"""YAML text becomes a tree that knows the line and column of every value."""

from __future__ import annotations
