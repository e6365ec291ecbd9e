"""Child processes that fold recorded runs: how they start and talk, and who gives them work."""

from __future__ import annotations
