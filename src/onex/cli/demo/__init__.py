"""``onex demo``: real workflows, their engine killed twice, and the proof that nothing was lost."""

from __future__ import annotations
