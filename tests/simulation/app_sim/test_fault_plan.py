"""FaultPlan is drawn once and written down; what is written happens again when its time is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from onex.simulation.app_sim.fault_plan import POINTS, FaultPlan
from onex.simulation.app_sim.schedule import Hit


class Time:
    def __init__(self) -> None:
        self.us = 0
        self.lines: list[tuple[str, str]] = []
        self.counted: Counter[str] = Counter()

    def faults(self, seed: int, script: Sequence[Hit] | None) -> FaultPlan:
        return FaultPlan(seed, self.counted, lambda: self.us, script, lambda who, what: self.lines.append((who, what)))


def storm(faults: FaultPlan, time: Time, calls: int = 2000) -> list[tuple[int, str, float]]:
    """Many calls, several in one microsecond, some faults with a strength."""
    met = []
    for n in range(calls):
        time.us = n // 7 * 10
        point = sorted(POINTS)[n % len(POINTS)]
        if faults.hits(point):
            met.append((n, point, faults.some_s(2.0) if n % 2 else -1.0))
    return met


def test_what_was_drawn_is_met_again_from_the_script() -> None:
    for seed in range(5):
        met, script = drawn(seed)
        time = Time()
        again = time.faults(seed, script)
        assert storm(again, time) == met != []
        assert again.happened == script


def drawn(seed: int) -> tuple[list[tuple[int, str, float]], list[Hit]]:
    time = Time()
    faults = time.faults(seed, None)
    return storm(faults, time), faults.happened


def test_each_seed_hurts_in_its_own_ways() -> None:
    kinds = {frozenset(point for _, point, _ in drawn(seed)[0]) for seed in range(6)}
    assert len(kinds) == 6


def test_a_fault_comes_at_its_call_or_at_the_first_one_later() -> None:
    time = Time()
    faults = time.faults(0, [Hit("commit lost", 50, 1), Hit("commit lost", 60)])
    time.us = 50
    assert [faults.hits("commit lost") for _ in range(3)] == [False, True, False]
    time.us = 90
    assert [faults.hits("commit lost") for _ in range(2)] == [True, False]
    assert faults.happened == [Hit("commit lost", 50, 1), Hit("commit lost", 90)]
    assert time.counted == {"commit lost": 2}
    assert time.lines == [("store", "loses a commit, and the answer to it")] * 2


def test_in_peace_nothing_that_was_planned_happens() -> None:
    time = Time()
    faults = time.faults(0, [Hit("commit lost", 0)])
    faults.stop()
    time.us = 10
    assert not faults.hits("commit lost")
    assert faults.happened == []


def test_how_strong_is_written_down_with_the_fault() -> None:
    time = Time()
    faults = time.faults(0, [Hit("commit is slow", 0, share=0.5)])
    assert faults.hits("commit is slow")
    assert faults.some_s(2.0) == 0.25
    assert 0 <= faults.some_s(2.0) <= 2.0
