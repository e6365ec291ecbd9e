"""``onex demo``: runs real workflows, kills their engine twice, and checks that nothing was lost."""

from __future__ import annotations
