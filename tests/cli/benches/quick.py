"""Counts as far as it is told."""

from __future__ import annotations

from collections.abc import Mapping


def run(options: Mapping[str, str]) -> dict[str, int | float]:
    return {"counted": int(options.get("to", "1000")), "per_s": 12.3456}
