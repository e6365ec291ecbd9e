"""The ledger: every effect the outside saw, written down before the engine hears that it was.

It is kept by the demo's parent, which nobody kills. What it counts at the end is read back from the file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...replay.audit import SeenEffect
from .wire import EffectReport


class EffectCounts(NamedTuple):
    """promise 26: ``retried`` counts further runs with one key, ``repeated`` were seen under another key or body."""

    reports: int
    seen: frozenset[SeenEffect]
    retried: int
    repeated: tuple[SeenEffect, ...]


def count_effects(reports: Iterable[EffectReport]) -> EffectCounts:
    """What the outside saw, all in all."""
    runs: Counter[tuple[SeenEffect, str]] = Counter()
    faces: dict[SeenEffect, set[tuple[str, str]]] = {}
    for report in reports:
        runs[report.seen, report.idempotency_key] += 1
        faces.setdefault(report.seen, set()).add((report.idempotency_key, report.body))
    return EffectCounts(
        runs.total(),
        frozenset(faces),
        runs.total() - len(runs),
        tuple(sorted(seen for seen, face in faces.items() if len(face) > 1)),
    )


class EffectLedger:
    """One line per report, as it came. ``effects`` counts different ones, which is how far the work has come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb")
        self._seen: set[SeenEffect] = set()

    @property
    def effects(self) -> int:
        return len(self._seen)

    def write(self, reports: Sequence[EffectReport]) -> None:
        """On the disk when it returns."""
        self._file.writelines(report.model_dump_json().encode() + b"\n" for report in reports)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._seen.update(report.seen for report in reports)

    def read(self) -> EffectCounts:
        """The count, from the file."""
        with self.path.open("rb") as file:
            return count_effects(EffectReport.model_validate_json(line) for line in file)

    def close(self) -> None:
        self._file.close()
