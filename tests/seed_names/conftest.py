"""A store and its engines, for tests that look at it under the names of the source documents."""

from __future__ import annotations

from tests.engine.conftest import one_store  # noqa: F401  # a fixture
