"""What a target's policy lets through, and which policies are refused by name."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError as PydanticError

from onex.contracts.model.target_policy import ModelTargetBreaker, ModelTargetPolicy
from onex.kernel.errors import ValidationError
from onex.kernel.quota import admit
from onex.kernel.retry import BreakerPolicy
from onex.kernel.target_policy import NO_POLICY, TargetPolicy

EARLY_S = 1e-6  # rounding of one bucket over a whole run


@given(
    per_s=st.floats(0.01, 10_000),
    burst=st.integers(1, 500),
    pauses=st.lists(st.one_of(st.just(0.0), st.floats(0, 30)), min_size=1, max_size=200),
)
def test_in_any_span_of_time_no_more_begins_than_a_burst_and_the_rate(
    per_s: float, burst: int, pauses: list[float]
) -> None:
    rate = TargetPolicy(rate_per_s=per_s, burst=burst).rate
    assert rate is not None
    full_at_s, begun = 0.0, []
    for now_s in accumulate(pauses):
        full_at_s, wait_s = admit(full_at_s, now_s, rate)
        if not wait_s:
            begun.append(now_s)
    for first, begin_s in enumerate(begun):
        for count, end_s in enumerate(begun[first:], 1):
            assert count <= burst + per_s * (end_s - begin_s + EARLY_S)


@given(per_s=st.floats(0.01, 10_000), burst=st.integers(1, 500), calls=st.integers(1, 100))
def test_who_waits_as_long_as_it_is_told_is_let_through(per_s: float, burst: int, calls: int) -> None:
    rate = TargetPolicy(rate_per_s=per_s, burst=burst).rate
    assert rate is not None
    full_at_s, now_s, waited_s = 0.0, 0.0, 0.0
    for _ in range(calls):
        full_at_s, wait_s = admit(full_at_s, now_s, rate)
        if wait_s:
            now_s, waited_s = now_s + wait_s, waited_s + wait_s
            full_at_s, again_s = admit(full_at_s, now_s + EARLY_S / per_s, rate)
            assert again_s == 0.0
    assert waited_s <= max(0, calls - burst) / per_s + EARLY_S


def test_a_burst_that_is_not_given_is_a_tenth_of_a_second() -> None:
    assert [TargetPolicy(rate_per_s=rate).rate for rate in (0.5, 5, 50, 1000)] == [
        (2.0, 2.0),
        (0.2, 0.2),
        (0.02, 0.1),
        (0.001, 0.1),
    ]
    assert NO_POLICY.rate is None
    assert not NO_POLICY.holds_back
    assert not TargetPolicy(concurrency=3).holds_back


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"concurrency": 0}, "concurrency is 0; give a whole number from 1 to 10000"),
        ({"concurrency": True}, "concurrency is True"),
        ({"rate_per_s": 0}, "rate_per_s is 0; give a number above 0"),
        ({"rate_per_s": float("nan")}, "rate_per_s is nan"),
        ({"rate_per_s": "5"}, "rate_per_s is '5'"),
        ({"burst": 5}, "give rate_per_s too"),
        ({"rate_per_s": 1.0, "burst": 0}, "burst is 0"),
        ({"circuit_breaker": {"failures": 3}}, "give BreakerPolicy("),
        ({"circuit_breaker": BreakerPolicy(failures=0)}, "failures of circuit_breaker is 0"),
        ({"circuit_breaker": BreakerPolicy(open_s=0.0)}, "open_s of circuit_breaker is 0.0"),
        ({"circuit_breaker": BreakerPolicy(open_s=float("inf"))}, "open_s of circuit_breaker is inf"),
        ({"circuit_breaker": BreakerPolicy(probes=-1)}, "probes of circuit_breaker is -1"),
    ],
)
def test_a_policy_that_is_none_is_refused_by_name(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TargetPolicy(**wrong)  # type: ignore[arg-type]
    assert named in refused.value.message


def test_a_contract_says_it_in_its_own_units() -> None:
    said = ModelTargetPolicy(
        concurrency=3, rate_per_s=50.0, circuit_breaker=ModelTargetBreaker(failures=2, open_ms=1500)
    )
    assert said.policy == TargetPolicy(3, 50.0, None, BreakerPolicy(2, 1.5, 1))
    assert ModelTargetPolicy().policy == NO_POLICY
    with pytest.raises(PydanticError, match="write rate_per_s too"):
        ModelTargetPolicy(burst=3)
