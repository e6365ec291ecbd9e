"""Schedules, and queues of starts, in virtual time: engines die, clocks are set, and each firing happens exactly once."""

from __future__ import annotations

from collections import Counter

import pytest

from onex.simulation.seeded_run import run
from tests.engine_sim.schedule_run import POINTS, schedule_run
from tests.engine_sim.start_run import start_run


def test_over_400_days_in_four_zones_every_firing_happens_exactly_once() -> None:
    counted = run(schedule_run, 1).result()
    troubles = (*POINTS, "dies", "is set", "is taken over", "nobody runs")
    assert all(counted[trouble] for trouble in troubles), f"some trouble never came: {counted}"
    assert counted["begun"] > 1000 and counted["missed"] and counted["skipped"], counted


def test_a_queue_of_starts_begins_each_ask_once_and_never_too_many() -> None:
    counted: Counter[str] = Counter()
    for seed in range(1, 5):
        counted += run(start_run, seed).result()
    assert all(counted[trouble] for trouble in (*POINTS, "dies", "is taken over")), f"a trouble never came: {counted}"


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 1200, 20))
def test_many_more_seeds_of_queues(first: int) -> None:
    for seed in range(first, first + 20):
        run(start_run, seed).result()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 130))
def test_many_more_seeds(seed: int) -> None:
    run(schedule_run, seed).result()
