"""Every JSON shape that people and programs see."""

from __future__ import annotations
