"""For tests: an app in virtual time, given/when/then for reducers, and one suite that every store must pass."""

from __future__ import annotations
