"""Due times are those of promise 45, whatever the library for cron lines does: compared with what clocks of the zones show."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onex.contracts.due_times import (
    COUNTED,
    MOST_OWED,
    ScheduleProblem,
    due_after,
    fires_at,
    firing_id,
    first_due,
    passed,
    schedule_id,
)
from onex.contracts.model.schedule import ModelSchedule
from tests.contracts.shown_times import first_shown

ZONES: Final = (
    "Europe/Berlin", "America/New_York", "America/Santiago", "America/Havana", "Africa/Cairo", "Africa/Casablanca",
    "Asia/Beirut", "Asia/Gaza", "Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe", "Australia/Adelaide",
    "Pacific/Auckland", "Pacific/Chatham", "America/St_Johns", "Antarctica/Troll", "Europe/Dublin", "UTC",
)  # fmt: skip
OF: Final = schedule_id("report", "nightly")


def schedule(cron: str | None = None, zone: str = "UTC", **more: object) -> ModelSchedule:
    return ModelSchedule.model_validate({"name": "nightly", "trigger": "begin", "cron": cron, "zone": zone, **more})


def due(one: ModelSchedule, after: str, n: int) -> list[str]:
    return [f"{each.at:%m-%d %H:%M} {each.change}".strip() for each in islice(due_after(one, at(after)), n)]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(0, 4 * 366),
    st.sampled_from((0, 15, 30, 45)),
    st.sets(st.integers(0, 4), min_size=1),
)
def test_a_local_time_is_due_when_clocks_of_the_zone_first_show_it_or_have_passed_it(
    name: str, day: int, minute: int, hours: set[int]
) -> None:
    zone, begin = ZoneInfo(name), at("2024-01-01T05:07") + timedelta(days=day)
    line = f"{minute} {','.join(map(str, sorted(hours)))} * * *"
    end = begin + timedelta(days=190)  # a change of the clocks lies within, where the zone has one
    found = []
    for one in due_after(schedule(line, name), begin):
        if one.at > end:
            break
        found.append(one.at)
    days = (begin.date() + timedelta(days=n) for n in range(-2, 193))
    wanted = {first_shown(datetime.combine(day, time(hour, minute)), zone) for day in days for hour in hours}
    assert found == sorted(moment for moment in wanted if begin < moment <= end)


def test_clocks_that_skip_an_hour_and_clocks_that_repeat_one() -> None:
    daily = schedule("30 2 * * *", "Europe/Berlin")
    assert due(daily, "2026-03-27T12:00", 3) == ["03-28 01:30", "03-29 01:00 gap", "03-30 00:30"]
    assert due(daily, "2026-10-23T12:00", 3) == ["10-24 00:30", "10-25 00:30 twice", "10-26 01:30"]
    assert due(daily, "2026-10-25T00:30", 1) == ["10-26 01:30"], "the second showing of the hour is no due time"
    assert due(schedule("0 0 * * *", "Africa/Cairo"), "2026-04-22T23:00", 2) == ["04-23 22:00 gap", "04-24 21:00"]
    assert due(schedule("45 1 * * *", "Australia/Lord_Howe"), "2026-04-03T20:00", 2) == [
        "04-04 14:45 twice",
        "04-05 15:15",
    ]


def test_all_times_of_one_gap_are_one_due_time() -> None:
    assert due(schedule("*/20 2,3 * * *", "Europe/Berlin"), "2026-03-29T00:00", 3) == [
        "03-29 01:00 gap",
        "03-29 01:20",
        "03-29 01:40",
    ]


def test_an_interval_counts_from_1970_and_does_not_know_summer_time() -> None:
    hourly = schedule(zone="Europe/Berlin", every_ms=3_600_000)
    assert due(hourly, "2026-03-29T00:30", 3) == ["03-29 01:00", "03-29 02:00", "03-29 03:00"]
    assert due(hourly, "2026-03-29T01:00", 1) == ["03-29 02:00"], "later than the moment, not at it"


def test_excepted_dates_are_dates_of_the_zone() -> None:
    late = schedule("30 23 * * *", "America/New_York", not_on=("12-25", "2026-12-30/2027-01-02"))
    assert due(late, "2026-12-24T12:00", 6) == [
        "12-25 04:30", "12-27 04:30", "12-28 04:30", "12-29 04:30", "12-30 04:30", "01-04 04:30",
    ]  # fmt: skip
    seconds = schedule(zone="Asia/Tokyo", every_ms=1000, not_on=("2026-01-01/2028-12-31",))
    assert due(seconds, "2026-01-05T00:00", 1) == ["12-31 15:00"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"zone": "Europe/Berlim"}, "zone"),
        ({"zone": "../etc/passwd"}, "zone"),
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "0 0 * *"}, "cron"),
        ({"cron": "0 0 0 * * *"}, "cron"),
        ({"cron": "0 0 32 * *"}, "cron"),
        ({"not_on": ("02-30",)}, "not_on"),
        ({"not_on": ("2026-02-03/2026-02-01",)}, "not_on"),
    ],
)
def test_what_means_nothing_is_named(more: dict[str, object], field: str) -> None:
    with pytest.raises(ScheduleProblem) as caught:
        first_due(schedule(**{"cron": "0 0 * * *", **more}), at("2026-01-01"))  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.field == field and caught.value.fix


@pytest.mark.parametrize(
    "more",
    [{"cron": "0 0 30 2 *"}, {"cron": "0 0 25 12 *", "not_on": ("12-25",)}, {"not_on": ("2020-01-01/9999-12-31",)}],
)
def test_what_never_fires_has_no_due_time(more: dict[str, object]) -> None:
    assert first_due(schedule(**{"cron": "0 0 * * *", **more}), at("2026-01-01")) is None  # type: ignore[arg-type]  # of any key


def test_a_rare_date_is_found() -> None:
    assert first_due(schedule("0 0 29 2 *"), at("2026-01-01")) == at("2028-02-29")


@given(st.integers(1, 86_400_000), st.integers(0, 2_000_000))
def test_jitter_is_within_its_bound_and_the_same_for_one_due_time(bound_ms: int, minutes: int) -> None:
    one, moment = schedule("* * * * *", jitter_ms=bound_ms), at("2026-01-01") + timedelta(minutes=minutes)
    fired = fires_at(one, OF, moment)
    assert fired == fires_at(one, OF, moment)
    assert timedelta(0) <= fired - moment <= timedelta(milliseconds=bound_ms)


def test_a_firing_has_the_id_of_its_schedule_and_due_time_in_utc() -> None:
    moment = at("2026-03-29T01:00")
    assert firing_id(OF, moment) == firing_id(OF, moment.astimezone(ZoneInfo("Asia/Tokyo")))
    ids = {firing_id(OF, moment + timedelta(minutes=n)) for n in range(100)}
    assert len(ids | {firing_id(schedule_id("report", "other"), moment)}) == 101


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(("0 * * * *", "*/5 * * * *", "* * * * *")), st.integers(0, 60 * 24 * 30))
def test_what_has_passed_is_counted_and_its_newest_are_kept(line: str, minutes: int) -> None:
    one, first = schedule(line), at("2026-01-01")
    now = first + timedelta(minutes=minutes, seconds=1)
    found = passed(one, OF, first, now)
    step = {"0": 60, "*/5": 5, "*": 1}[line.split(maxsplit=1)[0]]
    count = minutes // step + 1
    assert found.came == min(count, COUNTED)
    assert len(found.newest) == min(count, MOST_OWED)
    last = first + timedelta(minutes=(count - 1) * step)
    assert found.newest[-1] == last and found.next == last + timedelta(minutes=step)
