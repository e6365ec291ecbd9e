"""Result: what every bench prints. A figure without its surroundings is worth little on a noisy machine."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..wiring.environment import environment
from .ceiling import fsync_us

Options = Mapping[str, str]
Value = object  # numbers, words, and one level of them under "detail": what JSON prints


def number(options: Options, name: str, default: float, quick: float | None = None) -> float:
    """An option of the command line; ``quick=1`` takes the small default that only shows that the bench runs."""
    if name in options:
        return float(options[name])
    return quick if quick is not None and options.get("quick") else default


def result(
    unit: str,
    value: float,
    folder: Path,
    *,
    ceiling: float | None = None,
    p50_ms: float | None = None,
    p99_ms: float | None = None,
    detail: Mapping[str, Value] | None = None,
) -> dict[str, Value]:
    """The one JSON object of a bench. ``ratio`` is value over ceiling, both of this run."""
    told: dict[str, Value] = {"unit": unit, "value": round(value, 3)}
    if ceiling is not None:
        told |= {"ceiling": round(ceiling, 3), "ratio": round(value / ceiling, 3) if ceiling else None}
    if p50_ms is not None:
        told["p50_ms"] = round(p50_ms, 3)
    if p99_ms is not None:
        told["p99_ms"] = round(p99_ms, 3)
    return told | {
        "fsync_us": round(fsync_us(folder), 1),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "commit": environment(Path(__file__).parent).git_revision or "unknown",
        "detail": dict(detail or {}),
    }


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder on the disk the user works on: /tmp may be memory, which answers an fsync without a disk."""
    return tempfile.TemporaryDirectory(prefix=".onex-bench-", dir=Path.cwd())


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0
