"""Due times of a schedule: a pure function of its definition and a moment. Nothing here reads a clock.

Theory of operation (promise 45)
    A cron line is read as local times without a zone, by ``cronsim``; it knows nothing of summer time here. Each local time is
    then placed: it is due at the first moment at which the clocks of the zone show it, or have passed it.

    - A local time that clocks skip is due at the first moment after the gap. All of one gap are due then, once.
    - A local time that clocks show twice is due at the first of the two.

    Local times rise, and so do the moments they are placed at. So a moment that is not later than the one before is the same
    due time again, and is left out. An interval counts from 1970-01-01 UTC: no clock change touches it.

    An excepted date is one of the zone, of the local time as the cron line says it. The search goes on at the next day, so many
    excepted dates cost a step each. A line that names no date within YEARS never fires.

    Jitter delays a firing by an amount that follows from its id: the same for every engine that asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import JsonValue

from ..kernel.action import EPOCH
from .model.schedule import ModelSchedule

YEARS: Final = 50
"""A cron line that is not due for so long never fires: 29 February on a Monday comes every 28 years, or 40."""
MOST_OWED: Final = 1_000
COUNTED: Final = 10_000
"""Due times that passed are counted up to here."""
_SCHEDULES = UUID("b3f1c9a2-51f7-5d0e-9c4c-5b8a7d1e4330")
_SECOND = timedelta(seconds=1)


class ScheduleProblem(ValueError):
    """A zone, cron line or date that means nothing. ``field`` is the key of the schedule."""

    def __init__(self, field: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.field, self.message, self.fix = field, message, fix


class DueTime(NamedTuple):
    """``at`` in UTC; ``wanted``: the local time as the cron line says it; ``change`` is ``gap`` or ``twice`` at a clock change."""

    at: datetime
    wanted: datetime
    change: str = ""


class Passed(NamedTuple):
    """Due times that have come: the newest MOST_OWED of them in order, how many there were (COUNTED at most), and the next."""

    newest: tuple[datetime, ...]
    came: int
    next: datetime | None


def schedule_id(workflow_type: str, name: str) -> UUID:
    return uuid5(_SCHEDULES, f"{workflow_type}/{name}")


def firing_id(of: UUID, due: datetime) -> UUID:
    """The action id of a firing (promise 45)."""
    return uuid5(of, utc_text(due))


def utc_text(due: datetime) -> str:
    """``2026-11-30T02:00:00Z``, with milliseconds where it has some."""
    exact = "milliseconds" if due.microsecond else "seconds"
    return due.astimezone(UTC).isoformat(timespec=exact).replace("+00:00", "Z")


def fields_of(schedule: ModelSchedule, due: datetime) -> dict[str, JsonValue]:
    """What ``{name}``, ``{due}``, ``{date}`` and ``{time}`` stand for. Raises ScheduleProblem."""
    local = due.astimezone(zone_of(schedule.zone))
    return {
        "name": schedule.name,
        "due": utc_text(due),
        "date": local.date().isoformat(),
        "time": local.strftime("%H:%M"),
    }


def fires_at(schedule: ModelSchedule, of: UUID, due: datetime) -> datetime:
    """The due time and its jitter."""
    if not schedule.jitter_ms:
        return due
    return due + timedelta(milliseconds=int.from_bytes(firing_id(of, due).bytes[8:]) % (schedule.jitter_ms + 1))


def zone_of(name: str) -> tzinfo:
    """Raises ScheduleProblem."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        fix = "write an IANA name, as Europe/Berlin; where the system has no zones, install the package tzdata"
        raise ScheduleProblem("zone", f"there is no time zone {name!r}", fix) from error


def due_after(schedule: ModelSchedule, after: datetime) -> Iterator[DueTime]:
    """Due times later than ``after``, in order; it ends when none comes within YEARS. Raises ScheduleProblem."""
    zone, skipped = zone_of(schedule.zone), _Dates(schedule.not_on)
    if schedule.every_ms is not None:
        return _intervals(timedelta(milliseconds=schedule.every_ms), zone, skipped, after)
    return _cron(schedule.cron or "", zone, skipped, after)


def first_due(schedule: ModelSchedule, after: datetime) -> datetime | None:
    """Raises ScheduleProblem."""
    found = next(due_after(schedule, after), None)
    return None if found is None else found.at


def passed(schedule: ModelSchedule, of: UUID, first: datetime, now: datetime) -> Passed:
    """What has come since ``first``, itself a due time, by ``now``. Raises ScheduleProblem.

    After a long time without an engine only the newest are looked at: a step has a time limit.
    """
    newest: deque[datetime] = deque(maxlen=MOST_OWED)
    due: datetime | None = first
    later = due_after(schedule, first)
    count = 0
    while due is not None and fires_at(schedule, of, due) <= now:
        newest.append(due)
        count += 1
        if count == COUNTED:
            return _last_ones(schedule, of, first, now)
        found = next(later, None)
        due = None if found is None else found.at
    return Passed(tuple(newest), count, due)


def _last_ones(schedule: ModelSchedule, of: UUID, first: datetime, now: datetime) -> Passed:
    window = timedelta(hours=1)
    while True:
        begin = max(first - _SECOND, now - window)
        newest: deque[datetime] = deque(maxlen=MOST_OWED)
        following: datetime | None = None
        for due in due_after(schedule, begin):
            if fires_at(schedule, of, due.at) > now:
                following = due.at
                break
            newest.append(due.at)
        if len(newest) == MOST_OWED or begin < first:
            return Passed(tuple(newest), COUNTED, following)
        window *= 4


def first_moment(local: datetime, zone: tzinfo) -> DueTime:
    """The first moment at which clocks of the zone show ``local``, which has no zone, or have passed it."""
    early, late = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early == late:
        return DueTime(early, local)
    if early < late:
        return DueTime(early, local, "twice")
    # skipped: with the offset before the change it lies behind it (early), with the offset after it lies before it (late)
    before, behind = late, early
    offset = before.astimezone(zone).utcoffset()
    while behind - before > _SECOND:
        middle = (before + (behind - before) // 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            behind = middle
    return DueTime(behind, local, "gap")


def _cron(line: str, zone: tzinfo, skipped: _Dates, after: datetime) -> Iterator[DueTime]:
    from cronsim import CronSim, CronSimError

    at = after.astimezone(zone).replace(tzinfo=None, fold=0)
    try:
        times = CronSim(line, at)
    except CronSimError as error:
        if "day-of-month" in str(error) and _has_days(line):
            return
        raise ScheduleProblem("cron", f"{line!r} is no cron line: {str(error).lower()}", _CRON) from error
    if len(times.parts) != len(line.split()) + 1:
        raise ScheduleProblem("cron", f"{line!r} has seconds, and a cron line has five fields", _CRON)
    last, until = after, at.year + YEARS
    try:
        while True:
            local = next(times)
            if local.year > until:
                return
            if skipped.has(local.date()):
                times = CronSim(line, datetime.combine(local.date(), time(23, 59, 59)))
                continue
            due = first_moment(local, zone)
            if due.at > last:
                last, until = due.at, local.year + YEARS
                yield due
    except (StopIteration, OverflowError):
        return


_CRON = "write minute, hour, day, month and weekday, as 30 2 * * MON-FRI"


def _has_days(line: str) -> bool:
    """Whether its day-of-month can be read: then no month of the line has so many days."""
    from cronsim import CronSim, CronSimError

    fields = line.split()
    if len(fields) != 5:
        return False
    try:
        CronSim(" ".join(("0", "0", fields[2], "*", "*")), datetime(2000, 1, 1))  # noqa: DTZ001  # a local time, not a moment
    except CronSimError:
        return False
    return True


def _intervals(every: timedelta, zone: tzinfo, skipped: _Dates, after: datetime) -> Iterator[DueTime]:
    n = (after - EPOCH) // every + 1
    until = after.year + YEARS
    while True:
        try:
            at = EPOCH + n * every
            local = at.astimezone(zone).replace(tzinfo=None, fold=0)
            if not skipped.has(local.date()):
                until = at.year + YEARS
                yield DueTime(at, local)
                n += 1
                continue
            tomorrow = first_moment(datetime.combine(local.date() + timedelta(days=1), time()), zone).at
        except OverflowError:
            return
        if tomorrow.year > until:
            return
        n = max(n + 1, -((EPOCH - tomorrow) // every))


class _Dates:
    """``not_on``: whether a date is one of them."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        """Raises ScheduleProblem for a date that no calendar has."""
        self._yearly: set[tuple[int, int]] = set()
        self._ranges: list[tuple[date, date]] = []
        for text in texts:
            try:
                if len(text) == len("12-25"):
                    day = date.fromisoformat(f"2000-{text}")
                    self._yearly.add((day.month, day.day))
                else:
                    begin, _, end = text.partition("/")
                    self._ranges.append((date.fromisoformat(begin), date.fromisoformat(end or begin)))
            except ValueError as error:
                fix = "write 2026-12-24, 12-25 for each year, or 2026-12-24/2027-01-02"
                raise ScheduleProblem("not_on", f"{text!r} is no date: {error}", fix) from error
            if self._ranges and self._ranges[-1][0] > self._ranges[-1][1]:
                raise ScheduleProblem("not_on", f"{text!r} ends before it begins", "write the earlier date first")

    def has(self, day: date) -> bool:
        return (day.month, day.day) in self._yearly or any(begin <= day <= end for begin, end in self._ranges)
