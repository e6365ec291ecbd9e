"""A subscription that is charged every thirty days: the app of ``onex bench skip``."""

from __future__ import annotations
