"""Child processes that fold recorded runs, and what starts and feeds them."""

from __future__ import annotations
