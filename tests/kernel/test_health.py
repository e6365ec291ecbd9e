"""Facts become a status: the worst check decides, worse is told at once, and better after some in a row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.kernel.health import (
    EnumHealthStatus,
    HealthCheck,
    HealthMemory,
    error_check,
    judged,
    remembered,
    use_check,
)

HEALTHY, DEGRADED, UNHEALTHY = EnumHealthStatus.HEALTHY, EnumHealthStatus.DEGRADED, EnumHealthStatus.UNHEALTHY
CHECKS = st.dictionaries(
    st.sampled_from(["store", "bus", "disk", "loop"]),
    st.builds(HealthCheck, st.booleans(), st.booleans(), st.just("why")),
)
STATUSES = st.sampled_from(list(EnumHealthStatus))


@given(CHECKS)
def test_the_worst_check_decides_and_each_that_fails_is_a_reason(checks: dict[str, HealthCheck]) -> None:
    found = judged(checks)
    failed = {name: check for name, check in checks.items() if not check.passing}
    assert (found.status is HEALTHY) == (not failed)
    assert (found.status is UNHEALTHY) == any(check.critical for check in failed.values())
    assert found.reasons == tuple(f"{name}: {check.message}" for name, check in failed.items())


@pytest.mark.parametrize(("used", "passing"), [(0.0, True), (0.899, True), (0.9, False), (1.0, False)])
def test_a_resource_is_used_below_nine_tenths(used: float, passing: bool) -> None:
    assert use_check("the disk", used).passing is passing
    assert not use_check("the disk", used).critical


@pytest.mark.parametrize(("failed", "of", "passing"), [(0, 0, True), (0, 10, True), (9, 100, True), (1, 10, False)])
def test_fewer_than_a_tenth_of_calls_fail(failed: int, of: int, passing: bool) -> None:
    assert error_check("calls failed", failed, of).passing is passing


@given(st.lists(STATUSES), st.integers(1, 5))
def test_worse_is_told_at_once_and_better_after_so_many_in_a_row(told: list[EnumHealthStatus], needed: int) -> None:
    memory = HealthMemory()
    for at, status in enumerate(told):
        before = memory.shown
        memory = remembered(memory, status, needed)
        if status.badness >= before.badness:
            assert memory == HealthMemory(status)
        elif memory.shown is not before:
            last = told[at + 1 - needed : at + 1]
            assert len(last) == needed
            assert memory.shown is max(last, key=lambda one: one.badness)
        assert memory.better < needed


def test_of_better_judgements_the_worst_is_told() -> None:
    memory = HealthMemory(UNHEALTHY)
    for status in (HEALTHY, DEGRADED, HEALTHY):
        memory = remembered(memory, status)
    assert memory.shown is DEGRADED


def test_one_that_goes_up_and_down_is_never_called_healthy() -> None:
    memory, shown = HealthMemory(), set()
    for _ in range(20):
        memory = remembered(remembered(memory, DEGRADED), HEALTHY)
        shown.add(memory.shown)
    assert shown == {DEGRADED}
