"""A soak says whether memory, descriptors and the WAL were flat, and three minutes of it are."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.bench.memory import MIB
from onex.bench.soak import SoakSample, flatness, run


def samples(resident_mib: float = 0.0, descriptors: float = 0.0, wal_mib: float = 0.0) -> list[SoakSample]:
    """Thirty, over thirty seconds, each with so much more than the one before."""
    return [
        SoakSample(n, n, int((100 + resident_mib * n) * MIB), 20 + int(descriptors * n), int(wal_mib * n * MIB), 0, 1.0)
        for n in range(30)
    ]


@pytest.mark.parametrize(
    ("grows", "named"),
    [
        ({}, []),
        ({"resident_mib": 0.5}, []),
        ({"resident_mib": 1.0}, ["memory"]),
        ({"descriptors": 0.1}, ["descriptors"]),
        ({"wal_mib": 3.0}, ["WAL"]),
    ],
)
def test_what_grows_is_named(grows: dict[str, float], named: list[str]) -> None:
    assert [name for name, goal in flatness(samples(**grows)).items() if not goal.met] == named


@pytest.mark.long
def test_three_minutes_are_flat(tmp_path: Path) -> None:
    detail = run({"seconds": "180", "rate": "300", "directory": str(tmp_path)})["detail"]
    assert isinstance(detail, dict)
    assert detail["verdict"] == "flat", detail["table"]
