"""A circuit opens after failures in a row, lets one call through after a while, and closes when that succeeds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onex.kernel.circuit_breaker import CircuitBreaker, EnumCircuit


def test_it_opens_tries_again_and_closes() -> None:
    breaker = CircuitBreaker(threshold=2, first_s=1.0, longest_s=3.0)
    breaker = breaker.after_failure(0.0)
    assert (breaker.state(0.0), breaker.retry_after_s(0.0)) == (EnumCircuit.CLOSED, 0.0)
    waits = []
    for _ in range(4):
        breaker = breaker.after_failure(10.0)
        waits.append(breaker.retry_after_s(10.0))
        assert breaker.state(10.0) is EnumCircuit.OPEN
        assert breaker.state(10.0 + waits[-1]) is EnumCircuit.HALF_OPEN
    assert waits == [1.0, 2.0, 3.0, 3.0]
    closed = breaker.after_success()
    assert (closed.state(10.0), closed.after_failure(10.0).state(10.0)) == (EnumCircuit.CLOSED, EnumCircuit.CLOSED)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=40))
def test_it_never_waits_longer_than_it_may(calls: list[tuple[bool, float]]) -> None:
    breaker, now_s = CircuitBreaker(), 0.0
    for succeeded, after_s in calls:
        now_s += after_s
        breaker = breaker.after_success() if succeeded else breaker.after_failure(now_s)
        assert breaker.retry_after_s(now_s) <= breaker.longest_s
        assert breaker.state(now_s + breaker.retry_after_s(now_s)) is not EnumCircuit.OPEN
