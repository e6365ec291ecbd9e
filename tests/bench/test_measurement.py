"""What is made of many measurements, and how a target missed is told."""

from __future__ import annotations

from pathlib import Path

from onex.bench.measurement import Goal, Measurement, quantile, ratio_of_pairs, rounded
from onex.bench.memory import slope


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile(values, 0.0)) == (3.0, 5.0, 1.0)
    assert quantile([], 0.99) == 0.0


def test_a_minute_that_is_slow_for_both_changes_no_ratio() -> None:
    assert ratio_of_pairs([50.0, 5.0, 40.0], [100.0, 10.0, 100.0]) == 0.5


def test_numbers_keep_what_they_mean() -> None:
    assert [rounded(value) for value in (0.123456, 12.3456, 98_765.4)] == [0.1235, 12.35, 98_765.0]


def test_a_target_missed_is_told_as_missed(tmp_path: Path) -> None:
    targets = [Goal("rate", 90.0, 100.0, 200.0), Goal("wait in ms", 9.0, 10.0, 1.0, at_most=True)]
    detail = Measurement("actions/s", 90.0, targets=targets).result(tmp_path)["detail"]
    assert isinstance(detail, dict)
    assert detail["targets"] == [
        {"what": "rate", "value": 90.0, "at least": 100.0, "aim": 200.0, "met": False},
        {"what": "wait in ms", "value": 9.0, "at most": 10.0, "aim": 1.0, "met": True},
    ]


def test_a_line_that_fits_has_its_slope_and_noise_around_a_level_has_none() -> None:
    assert slope([1, 2, 3], [10, 30, 50]) == 20 and slope([5], [7]) == 0
    assert slope([1, 2, 3, 4], [8, 9, 9, 8]) == 0
