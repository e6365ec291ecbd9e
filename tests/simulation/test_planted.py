"""A simulator that does not find a bug somebody plants would not find ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.adapters.sqlite_schema import create
from onex.testing.campaign.campaign import run_seed
from tests.simulation.planted import PLANTED

SEEDS = 200


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found_within_two_hundred_lives(name: str, tmp_path: Path) -> None:
    create(tmp_path / "empty.db")
    with PLANTED[name]():
        for seed in range(SEEDS):
            place = tmp_path / str(seed)
            place.mkdir()
            report, _ = run_seed(seed, place, tmp_path / "empty.db")
            if report.violations:
                return
    pytest.fail(f"{SEEDS} lives went well with this planted: {name}")


def test_without_them_the_same_lives_go_well(tmp_path: Path) -> None:
    """So that it is the planted bug that was found; every other test of this folder says so for 200 lives."""
    create(tmp_path / "empty.db")
    for seed in range(3):
        place = tmp_path / str(seed)
        place.mkdir()
        assert run_seed(seed, place, tmp_path / "empty.db")[0].violations == []
