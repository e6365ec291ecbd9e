"""Names of the source documents that are presets over one of our concepts: thin classes, no second implementation."""

from __future__ import annotations
