"""When clocks of a zone first show a local time, found by looking at the clock: what due times are compared with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


def first_shown(local: datetime, zone: tzinfo, step: timedelta = timedelta(minutes=15)) -> datetime:
    """The first moment, in steps, at which a clock shows ``local`` or has passed it. ``step`` divides all offsets."""
    moment = local.replace(tzinfo=zone).astimezone(UTC) - timedelta(hours=3)  # no clock is set by more
    assert moment.astimezone(zone).replace(tzinfo=None) < local, "it has not been shown yet"
    while moment.astimezone(zone).replace(tzinfo=None) < local:
        moment += step
    return moment
