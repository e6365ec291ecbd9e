"""A soak says whether memory, descriptors and the WAL were flat, and three minutes of it are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from onex.bench.memory import MIB
from onex.bench.soak import SoakSample, flatness

ONEX = Path(sys.executable).with_name("onex")


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


def test_memory_that_a_burst_took_once_is_no_leak() -> None:
    burst = [one._replace(resident=one.resident + 30 * MIB * (n >= 20)) for n, one in enumerate(samples())]
    assert flatness(burst)["memory"].met


@pytest.mark.long
def test_three_minutes_are_flat(tmp_path: Path) -> None:
    """In a process of its own, whose memory is the engine's."""
    done = subprocess.run(
        [ONEX, "bench", "soak", "-o", "seconds=180", "-o", "rate=300", "-o", f"directory={tmp_path}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.search(r"verdict +flat$", done.stdout, re.MULTILINE), done.stdout
    assert "resident MiB  descriptors  WAL MiB" in done.stdout
