"""Names of the source documents that are presets over one of our concepts. Each says which; nothing is implemented twice."""

from __future__ import annotations
