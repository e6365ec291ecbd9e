"""An engine with real processes, a real disk and real faults; whoever counts stands outside and is never killed.

Not a word about time: troubles come by the number of answers, and every wait is for something that must happen. By hand:
``python -m tests.chaos --seed N --troubles N``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.house import ROOT
from tests.chaos.troubles import ALL

PATIENCE_S = 1800


def lived(seed: int, troubles: int, folder: Path) -> None:
    """Nothing acknowledged is lost, nothing applied twice, one key per effect, no gap, no orphan, replay equal."""
    words = ["--seed", str(seed), "--troubles", str(troubles), "--folder", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *words], capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "LEFT OUT" not in done.stdout or "acknowledged" in done.stdout


def test_each_trouble_once_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    lived(3, len(ALL), tmp_path / "run")


@pytest.mark.long
@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_many_troubles_and_nothing_acknowledged_is_lost(seed: int, tmp_path: Path) -> None:
    lived(seed, 4 * len(ALL), tmp_path / "run")
