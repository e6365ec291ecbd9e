"""Ids follow the clock and never each other's steps."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from onex.adapters.clock import SystemClock, UuidV7


def test_ids_rise_strictly_within_and_across_milliseconds() -> None:
    ids = UuidV7()
    made = [ids.new() for _ in range(200_000)]
    assert made == sorted(set(made))
    assert made[0][:6] < made[-1][:6]


def test_an_id_is_a_uuid_of_version_7_that_tells_its_time() -> None:
    before = time.time_ns() // 1_000_000
    one = UUID(bytes=UuidV7().new())
    after = time.time_ns() // 1_000_000
    assert one.variant == "specified in RFC 4122"
    assert one.int >> 76 & 0xF == 7
    assert before <= one.int >> 80 <= after


def test_ids_rise_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = UuidV7()
    first = ids.new()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    assert ids.new() > first


def test_two_makers_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    one, other = UuidV7(), UuidV7()
    assert not {one.new() for _ in range(1_000)} & {other.new() for _ in range(1_000)}


def test_the_clock_counts_microseconds() -> None:
    clock = SystemClock()
    assert abs(clock.now_us() - time.time() * 1_000_000) < 60_000_000
    assert clock.monotonic() <= clock.monotonic()
