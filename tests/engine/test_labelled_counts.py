"""Counts by label are bounded, and a histogram of Prometheus is made from what an engine keeps anyway."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.engine.labelled_counts import LABELS_MOST, OTHER, LabelledCounts, count, fault_of
from onex.engine.metrics import Latency
from onex.kernel.errors import (
    GuardFailed,
    InstanceHeld,
    InvalidPayload,
    OnexError,
    Overloaded,
    ReducerFailed,
)

BOUNDS_S = (0.001, 0.01, 0.1, 1.0)


@given(st.lists(st.floats(1e-5, 10.0)))
def test_a_histogram_counts_every_value_within_two_percent_of_its_bound(values: list[float]) -> None:
    latency = Latency()
    for value in values:
        latency.add(value)
    counts, total_s = latency.cumulative(BOUNDS_S)
    for bound, found in zip(BOUNDS_S, counts, strict=True):
        surely = sum(value <= bound / 1.02 for value in values)
        assert surely <= found <= sum(value <= bound * 1.02 for value in values)
    assert total_s == pytest.approx(sum(values), rel=0.02)


def test_a_table_grows_to_its_bound_and_what_comes_later_is_other() -> None:
    table: dict[tuple[str], int] = {}
    for at in range(LABELS_MOST + 50):
        count(table, (f"code {at}",))
    count(table, ("code 1",))
    assert len(table) == LABELS_MOST + 1
    assert table[OTHER,] == 50
    assert table["code 1",] == 2


def test_run_times_by_an_error_of_any_name_are_bounded() -> None:
    labelled = LabelledCounts()
    for at in range(2 * LABELS_MOST):
        labelled.tried("bank", "effect", "failed", f"refused {at}", 0.1, again=True)
    assert len(labelled.times) <= LABELS_MOST + 1
    assert sum(one.count for one in labelled.times.values()) == 2 * LABELS_MOST
    assert labelled.tries == {("bank", "failed"): 2 * LABELS_MOST}


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (GuardFailed("no"), "sender"),
        (InvalidPayload("no"), "sender"),
        (ReducerFailed("no"), "workflow"),
        (InstanceHeld("no"), "workflow"),
        (Overloaded("no", retry_after_s=1.0), "engine"),
        (OnexError("no"), "engine"),
    ],
)
def test_a_refusal_says_whose_fault_it_is(error: OnexError, fault: str) -> None:
    assert fault_of(error) == fault


def test_a_node_of_ones_own_is_timed_without_its_correlation_id() -> None:
    labelled = LabelledCounts()
    tags = {"node_type": "Charge", "status": "error", "error_type": "ValueError", "correlation_id": "c-1"}
    asyncio.run(labelled.record_metric("node_execution_time", 0.5, tags))
    assert list(labelled.times) == [("Charge", "error", "ValueError")]
