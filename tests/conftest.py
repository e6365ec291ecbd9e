"""Hypothesis profiles: `ci` draws the same examples each time, `long` draws many new ones."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, database=None, max_examples=60)
settings.register_profile("long", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile("ci")
