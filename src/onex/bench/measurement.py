"""Measurement: the result of a bench with its goals. A missed goal is reported as missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from statistics import median
from typing import NamedTuple

from pydantic import JsonValue

from .machine import measured

Result = dict[str, JsonValue]


class Goal(NamedTuple):
    """``gate`` must be reached, ``aim`` is the long-term goal. ``at_most``: smaller is better."""

    what: str
    value: float
    gate: float
    aim: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.value <= self.gate if self.at_most else self.value >= self.gate

    def as_json(self) -> dict[str, JsonValue]:
        bound = "at most" if self.at_most else "at least"
        return {
            "what": self.what, "value": rounded(self.value), bound: self.gate, "aim": self.aim, "met": self.met,
        }  # fmt: skip


@dataclass(slots=True)
class Measurement:
    """``value`` in ``unit``. ``ceiling``: what the same run reached without ONEX. ``ratio``: value over ceiling."""

    unit: str
    value: float
    ceiling: float | None = None
    ratio: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    targets: Sequence[Goal] = ()
    detail: dict[str, JsonValue] = field(default_factory=dict)

    def result(self, folder: Path) -> Result:
        """The measurement as JSON with facts about this machine. ``folder`` is on the disk that was measured."""
        machine = measured(folder)
        given: dict[str, float | None] = {
            "ceiling": self.ceiling, "ratio": self.ratio, "p50_ms": self.p50_ms, "p99_ms": self.p99_ms,
        }  # fmt: skip
        result: Result = {"unit": self.unit, "value": rounded(self.value)}
        result.update({name: rounded(value) for name, value in given.items() if value is not None})
        result.update(fsync_us=machine.fsync_us, load=machine.load, python=machine.python, commit=machine.commit)
        result["detail"] = {
            **self.detail,
            "loop_ns": machine.loop_ns,
            "targets": [target.as_json() for target in self.targets],
        }
        return result


def rounded(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}") if abs(value) < 1000 else float(round(value))


def quantile(values: Sequence[float], q: float) -> float:
    """Nearest rank of ``values``; 0.0 when there are none."""
    ordered = sorted(values)
    return ordered[max(1, ceil(q * len(ordered))) - 1] if ordered else 0.0


def ratio_of_pairs(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median ratio of slices that ran next to each other: noise that hits both cancels out."""
    return median(our / their for our, their in zip(ours, theirs, strict=True))
