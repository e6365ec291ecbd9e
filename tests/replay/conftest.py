"""A store and its engines, for tests that replay what it recorded."""

from __future__ import annotations

from tests.engine.conftest import one_store  # noqa: F401  # a fixture
