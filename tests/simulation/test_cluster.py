"""Workers that share a store, in virtual time: what dies, hangs, comes and goes loses nothing and doubles nothing."""

from __future__ import annotations

from collections import Counter

import pytest

from onex.simulation.seeded_run import run
from tests.engine_sim.cluster import POINTS, cluster_run

SEEDS = range(1, 31)


def test_workers_die_hang_come_and_go_and_every_answer_holds() -> None:
    counted: Counter[str] = Counter()
    for seed in SEEDS:
        counted += run(cluster_run, seed).result()
    assert all(counted[point] for point in POINTS), f"some trouble never came: {counted}"
    assert (
        counted["applied"] > 500 and counted["messages"] > 50 and counted["effects"] > 100 and counted["folded"] > 2000
    ), counted
    assert counted["by bus"] > 1000, counted


def test_a_run_of_a_cluster_is_a_function_of_its_seed() -> None:
    first, again = run(cluster_run, 8), run(cluster_run, 8)
    assert (first.trace_hash, first.steps) == (again.trace_hash, again.steps)


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 3000, 100))
def test_many_more_seeds(first: int) -> None:
    for seed in range(first, first + 100):
        run(cluster_run, seed).result()
