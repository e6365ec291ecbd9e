"""Due: when an outbox row is worked on, where the time of its instance has run away from the clock.

The law: what a reducer sees never goes back (promise 8), so one action stamped in 2100 leaves its instance in 2100 for
good. "In an hour", said there, is an hour from now all the same. The log keeps what was said; only the row is moved.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..ports import NewIntent

AHEAD_US = 86_400_000_000  # a clock that is set right moves by less; an hour of it is not worth two times in one row


def by_the_clock(outbox: Iterable[NewIntent], issued_us: int, now_us: int) -> tuple[NewIntent, ...]:
    """Rows of an action whose time is its instance's, not the clock's: due as long after ``now_us`` as they were after it.

    Within a day of the clock nothing is moved; nor is what was due before ``issued_us``, for that was no time from then.
    """
    ahead_us = issued_us - now_us
    if ahead_us <= AHEAD_US:
        return tuple(outbox)
    return tuple(new._replace(due_us=new.due_us - ahead_us) if new.due_us >= issued_us else new for new in outbox)
