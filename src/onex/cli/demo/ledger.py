"""The ledger: every effect that happened, written to disk before the engine gets the acknowledgement.

The demo's parent process, which is not killed, writes it. The counts at the end are read back from the file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from io import BufferedWriter
from pathlib import Path
from typing import NamedTuple

from ...replay.audit import SeenEffect
from .wire import EffectReport


class EffectCounts(NamedTuple):
    """Promise 26. ``retried``: further runs with the same key. ``repeated``: effects seen with two keys or two bodies."""

    reports: int
    seen: frozenset[SeenEffect]
    retried: int
    repeated: tuple[SeenEffect, ...]


def count_effects(reports: Iterable[EffectReport]) -> EffectCounts:
    """Counts over all reports."""
    runs: Counter[tuple[SeenEffect, str]] = Counter()
    variants: dict[SeenEffect, set[tuple[str, str]]] = {}
    for report in reports:
        runs[report.seen, report.idempotency_key] += 1
        variants.setdefault(report.seen, set()).add((report.idempotency_key, report.body))
    return EffectCounts(
        runs.total(),
        frozenset(variants),
        runs.total() - len(runs),
        tuple(sorted(seen for seen, variant in variants.items() if len(variant) > 1)),
    )


class EffectLedger:
    """One line per report, in order of arrival. ``effects`` counts different effects: the progress of the work.

    ``retried`` and ``repeated`` are what ``read`` counts in the end, as far as it has come. A closed ledger may be written further.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BufferedWriter | None = path.open("xb")
        self._first: dict[SeenEffect, tuple[str, str]] = {}
        self._repeated: set[SeenEffect] = set()
        self.retried = 0

    @property
    def effects(self) -> int:
        return len(self._first)

    @property
    def repeated(self) -> int:
        return len(self._repeated)

    def write(self, reports: Sequence[EffectReport]) -> None:
        """Durable when it returns."""
        file = self._file = self._file or self.path.open("ab")
        file.writelines(report.model_dump_json().encode() + b"\n" for report in reports)
        file.flush()
        os.fsync(file.fileno())
        for report in reports:
            told = report.idempotency_key, report.body
            first = self._first.setdefault(report.seen, told)
            if first is told:
                continue
            self.retried += first[0] == told[0]
            if first != told:
                self._repeated.add(report.seen)

    def read(self) -> EffectCounts:
        """Counts, read from the file."""
        with self.path.open("rb") as file:
            return count_effects(EffectReport.model_validate_json(line) for line in file)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
