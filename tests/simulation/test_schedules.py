"""Schedules in virtual time: engines die and are taken over, clocks are set, and every firing happens exactly once."""

from __future__ import annotations

import pytest

from onex.simulation.seeded_run import run
from tests.engine_sim.schedule_run import POINTS, schedule_run


def test_over_400_days_in_four_zones_every_firing_happens_exactly_once() -> None:
    counted = run(schedule_run, 1).result()
    troubles = (*POINTS, "dies", "is set", "is taken over", "nobody runs")
    assert all(counted[trouble] for trouble in troubles), f"some trouble never came: {counted}"
    assert counted["begun"] > 1100 and counted["missed"] and counted["skipped"], counted


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 130))
def test_many_more_seeds(seed: int) -> None:
    run(schedule_run, seed).result()
