"""For us and for users: given/when/then, one suite for every store, and whole systems under a seed."""

from __future__ import annotations
