"""A circuit opens after failures in a row, lets one call through after a while, and closes when that succeeds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onex.kernel.retry import Breaker, BreakerPolicy, EnumBreakerState, allow, record, retry_after_s, withdraw

POLICY = BreakerPolicy(failures=2, open_s=1.0, longest_open_s=3.0)


def called(breaker: Breaker, now_us: int, *, succeeded: bool) -> Breaker:
    breaker, allowed = allow(breaker, POLICY, now_us)
    return record(breaker, POLICY, now_us, succeeded=succeeded) if allowed else breaker


def test_it_opens_tries_again_and_closes() -> None:
    breaker, now_us = called(Breaker(), 0, succeeded=False), 10_000_000
    assert (breaker.state, retry_after_s(breaker, POLICY, 0)) == (EnumBreakerState.CLOSED, 0.0)
    waits = []
    for _ in range(4):
        breaker = called(breaker, now_us, succeeded=False)
        waits.append(retry_after_s(breaker, POLICY, now_us))
        assert breaker.state is EnumBreakerState.OPEN
        assert not allow(breaker, POLICY, now_us)[1]
        now_us += int(waits[-1] * 1e6)
        assert allow(breaker, POLICY, now_us)[0].state is EnumBreakerState.HALF_OPEN
    assert waits == [1.0, 2.0, 3.0, 3.0]
    closed = called(breaker, now_us, succeeded=True)
    assert (closed.state, called(closed, now_us, succeeded=False).state) == (EnumBreakerState.CLOSED,) * 2


def test_a_probe_without_an_answer_leaves_room_for_another() -> None:
    breaker = called(called(Breaker(), 0, succeeded=False), 0, succeeded=False)
    probing, allowed = allow(breaker, POLICY, 1_000_000)
    assert allowed and not allow(probing, POLICY, 1_000_000)[1]
    assert allow(withdraw(probing), POLICY, 1_000_000)[1]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100_000_000)), max_size=40))
def test_it_never_waits_longer_than_it_may(calls: list[tuple[bool, int]]) -> None:
    breaker, now_us = Breaker(), 0
    for succeeded, after_us in calls:
        now_us += after_us
        breaker = called(breaker, now_us, succeeded=succeeded)
        wait_s = retry_after_s(breaker, POLICY, now_us)
        assert wait_s <= POLICY.longest_open_s
        assert allow(breaker, POLICY, now_us + round(wait_s * 1e6))[1]
