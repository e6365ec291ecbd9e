"""Figures of a comparison. Only what was measured in one round is divided: a ratio is the median of the ratios of the rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, NonNegativeFloat, PositiveFloat, PositiveInt

from onex.bench.measurement import quantile, rounded


class Run(BaseModel):
    """What a program of a peer prints as its last line: ``driver.measure`` makes it."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    rate: PositiveFloat
    workflows: PositiveInt
    seconds: PositiveFloat
    cpu_us: NonNegativeFloat
    alone_ms: tuple[PositiveFloat, ...]
    settings: dict[str, str]
    versions: dict[str, str]


class PeerFigures(NamedTuple):
    """``rate`` in workflows/s and ``cpu_us`` per workflow are medians of the rounds. ``ratio``: this rate over ours.

    ``p50_ms`` and ``p99_ms`` are of ``counted`` workflows that ran alone, in all rounds.
    """

    name: str
    rounds: int
    rate: float
    ratio: float
    p50_ms: float
    p99_ms: float
    counted: int
    cpu_us: float
    settings: Mapping[str, str]
    versions: Mapping[str, str]

    def as_json(self) -> dict[str, JsonValue]:
        return {
            "workflows_per_s": rounded(self.rate),
            "ratio": rounded(self.ratio),
            "p50_ms": rounded(self.p50_ms),
            "p99_ms": rounded(self.p99_ms),
            "alone_counted": self.counted,
            "cpu_us": rounded(self.cpu_us),
            "rounds": self.rounds,
            "settings": dict(self.settings),
            "versions": dict(self.versions),
        }


def figures(name: str, ours: Sequence[Run], theirs: Sequence[Run]) -> PeerFigures:
    """Of runs in the order of their rounds. Raises ValueError when they are not of the same rounds, or none."""
    if not theirs or len(ours) != len(theirs):
        raise ValueError(f"{name} has {len(theirs)} rounds beside {len(ours)} of ours")
    alone = [waited for run in theirs for waited in run.alone_ms]
    return PeerFigures(
        name,
        len(theirs),
        median(run.rate for run in theirs),
        median(their.rate / our.rate for our, their in zip(ours, theirs, strict=True)),
        quantile(alone, 0.5),
        quantile(alone, 0.99),
        len(alone),
        median(run.cpu_us for run in theirs),
        theirs[-1].settings,
        theirs[-1].versions,
    )


def table(rows: Sequence[PeerFigures]) -> list[str]:
    """Lines of text, the fastest peer first."""
    head = ("peer", "workflows/s", "of onex", "alone p50 ms", "p99 ms", "counted", "CPU us each", "SQLite", "versions")
    cells: list[tuple[str, ...]] = [head]
    for row in sorted(rows, key=lambda row: -row.rate):
        versions = " ".join(f"{name} {version}" for name, version in row.versions.items())
        values = (row.rate, row.ratio, row.p50_ms, row.p99_ms, row.counted, row.cpu_us)
        cells.append(
            (row.name, *(f"{rounded(value):,g}" for value in values), " ".join(row.settings.values()), versions)
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return [
        "  ".join(
            text.ljust(width) if column in (0, 7, 8) else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
