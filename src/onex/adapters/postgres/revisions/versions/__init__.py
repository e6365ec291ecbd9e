"""Alembic reads each file here as a revision."""

from __future__ import annotations
