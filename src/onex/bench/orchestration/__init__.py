"""A plan over many items: the app of ``onex bench orchestrate``."""

from __future__ import annotations
