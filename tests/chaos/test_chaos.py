"""An engine with real processes, a real disk and real faults. What counts the results runs outside and is never killed.

Nothing depends on time: faults come by the number of answers, and every wait is for something that must happen. By hand:
``python -m tests.chaos --seed N --troubles N``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.engine import PLANT
from tests.chaos.processes import ROOT
from tests.chaos.system_faults import ALL

PATIENCE_S = 1800


def run(seed: int, troubles: int, folder: Path, plant: str = "") -> subprocess.CompletedProcess[str]:
    words = ["--seed", str(seed), "--troubles", str(troubles), "--folder", str(folder)]
    return subprocess.run(
        [sys.executable, "-m", "tests.chaos", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        env={**os.environ, PLANT: plant},
    )


def nothing_is_lost(seed: int, troubles: int, folder: Path) -> None:
    """Nothing acknowledged is lost, nothing applied twice, one key per effect, no gap, no orphan, replay equal."""
    done = run(seed, troubles, folder)
    print(done.stdout)  # the table, which -s or a failure shows
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.long
def test_each_trouble_once_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    nothing_is_lost(3, len(ALL), tmp_path / "run")


@pytest.mark.long
@pytest.mark.parametrize(
    ("plant", "found"), [("key_of_each_try", "FOUND keys and bodies"), ("answers_without_rows", "FOUND lost")]
)
def test_an_engine_with_a_planted_wrong_is_found_out(plant: str, found: str, tmp_path: Path) -> None:
    done = run(5, 2, tmp_path / "run", plant)
    assert done.returncode == 1 and found in done.stdout, f"{done.stdout}\n{done.stderr}"
    assert f"seed 5, 2 troubles; all there is to see: {tmp_path / 'run'}" in done.stdout
    assert (tmp_path / "run" / "store-at-the-end" / "store.db").exists()


@pytest.mark.long
@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_many_troubles_and_nothing_acknowledged_is_lost(seed: int, tmp_path: Path) -> None:
    nothing_is_lost(seed, 3 * len(ALL), tmp_path / "run")
