"""Minutes of objectives: what is kept is what was told, and whether an objective is met follows from it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onex.contracts.alerts.alerts_model import ModelObjective
from onex.monitoring.alerts.compliance import Compliance, compliance
from onex.testing.virtual_time import virtual
from onex.workflows.alerts.onex_objectives.payloads import Measured, Objectives
from onex.workflows.alerts.onex_objectives.reducer import SLOTS, _with, slot_minutes

HOUR = ModelObjective(metric="p95_ms", at_most=5000, window_s=3600, target=0.95)
UP = ModelObjective(metric="available", at_least=1, window_s=3600, target=0.9)
T0 = 29_000_000


def recorded(minutes: Mapping[int, bool | None], window_s: int = 3600) -> Measured:
    found: Measured | None = None
    for number, good in sorted(minutes.items()):
        found = _with(found, number, good, window_s)
    assert found is not None
    return found


def judged(objective: ModelObjective, minutes: Mapping[int, bool | None], now: int) -> Compliance:
    return compliance("one", objective, recorded(minutes, objective.window_s), now)


@settings(max_examples=60, deadline=None)
@given(
    minutes=st.dictionaries(st.integers(T0, T0 + 4000), st.sampled_from([True, False, None]), min_size=1, max_size=120),
    window_s=st.sampled_from([600, 3600, 6 * 3600, 24 * 3600, 31 * 24 * 3600]),
)
def test_what_is_kept_is_a_count_of_what_was_told(minutes: dict[int, bool | None], window_s: int) -> None:
    found, slot = recorded(minutes, window_s), slot_minutes(window_s)
    edge = max(minutes) - window_s // 60
    kept = {number: good for number, good in minutes.items() if number - number % slot + slot > edge}
    assert sum(one.good for one in found.slots) == sum(good is True for good in kept.values())
    assert sum(one.bad for one in found.slots) == sum(good is False for good in kept.values())
    assert found.since == min(minutes)
    assert len(found.slots) <= SLOTS + 1


def test_a_month_takes_no_more_room_than_an_hour() -> None:
    found = recorded(dict.fromkeys(range(T0, T0 + 44_000, 61), True), 31 * 24 * 3600)
    assert len(found.model_dump_json()) < 16_000


@settings(max_examples=60, deadline=None)
@given(bad=st.sets(st.integers(0, 59)))
def test_met_says_the_same_as_measured_and_budget(bad: set[int]) -> None:
    one = judged(HOUR, {T0 + n: n not in bad for n in range(60)}, T0 + 60)
    assert one.met == (len(bad) <= 3) == (one.budget_left >= -1e-9) == (one.measured >= 0.95 - 1e-9)
    assert (one.good, one.bad, one.absent) == (60 - len(bad), len(bad), 0)


def test_minutes_without_traffic_are_not_bad_and_minutes_without_an_engine_are_down_time() -> None:
    minutes: dict[int, bool | None] = {T0 + n: True for n in range(60) if not 20 <= n < 30}
    assert (judged(HOUR, minutes, T0 + 60).absent, judged(HOUR, minutes, T0 + 60).met) == (0, True)
    down = judged(UP, minutes, T0 + 60)
    assert (down.absent, down.met) == (9, False)
    assert down.budget_left == pytest.approx(1 - 9 / 6)


def test_the_minute_that_has_just_ended_is_not_down_time_yet() -> None:
    assert judged(UP, dict.fromkeys(range(T0, T0 + 10), True), T0 + 11).absent == 0


def test_a_window_that_was_changed_keeps_its_minutes() -> None:
    found = recorded(dict.fromkeys(range(T0, T0 + 50), True), 3600)
    longer = _with(found, T0 + 50, False, 24 * 3600)
    assert (sum(slot.good for slot in longer.slots), longer.slot_min) == (50, 6)


@pytest.mark.parametrize(
    ("told", "good", "bad"),
    [([True, True, True], 1, 0), ([True, False, True], 0, 1), ([False, True], 0, 1), ([None, True], 1, 0)],
)
def test_a_minute_that_several_workers_tell_counts_once_and_bad_wins(
    told: list[bool | None], good: int, bad: int
) -> None:
    found: Measured | None = None
    for one in told:
        found = _with(found, T0, one, 3600)
    assert found is not None
    late = _with(_with(found, T0 + 1, True, 3600), T0, True, 3600)  # it comes too late
    assert (sum(slot.good for slot in late.slots), sum(slot.bad for slot in late.slots)) == (good + 1, bad)


def test_nothing_recorded_is_met_and_observed_for_no_time() -> None:
    one = compliance("one", UP, None, T0)
    assert (one.met, one.observed, one.measured) == (True, 0, 1.0)


def test_a_target_of_all_minutes_has_no_budget() -> None:
    strict = UP.model_copy(update={"target": 1.0})
    one = judged(strict, {T0: True, T0 + 1: False}, T0 + 2)
    assert (one.met, one.budget_left) == (False, -1.0)


def test_an_objective_that_left_the_file_is_forgotten_and_a_new_one_begins() -> None:
    with virtual("onex:alerts") as run:
        key = "onex_objectives:store"
        run.submit(key, "minute", {"number": T0, "good": {"a": True}, "windows_s": {"a": 3600}})
        run.submit(key, "minute", {"number": T0 + 1, "good": {"b": False}, "windows_s": {"b": 3600}})
        assert set(run.state(key, Objectives).measured) == {"b"}
