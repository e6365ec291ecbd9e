"""Minutes are counted in slots, so that a window of a month takes no more room than one of an hour: SLOTS slots at most.

The counts are exact; only the far end of the window is rounded to a slot. A window that was changed keeps its minutes: each slot of
before is added to the one that its first minute lies in.

Several workers may tell the same minute. It counts once, as bad when one of them says so. One that comes when a later minute is
counted already comes too late.
"""

from __future__ import annotations

from typing import Final

from onex import Action, Step, reducer

from .payloads import Measured, Minute, Objectives, Slot

objectives = reducer(Objectives)

SLOTS: Final = 240


@objectives.on("minute")
def minute(now: Objectives, action: Action[Minute]) -> Step[Objectives]:
    told = action.payload
    measured = {
        name: _with(now.measured.get(name), told.number, told.good.get(name), window_s)
        for name, window_s in told.windows_s.items()
    }
    last = max(now.last, told.number)
    return Step(now.evolve(last=last, values=told.values, counters=told.counters, measured=measured))


def slot_minutes(window_s: int) -> int:
    """How many minutes a slot of such a window has."""
    return max(1, -(-window_s // (60 * SLOTS)))


def _with(before: Measured | None, number: int, good: bool | None, window_s: int) -> Measured:
    slot_min = slot_minutes(window_s)
    counts: dict[int, tuple[int, int]] = {}

    def add(at: int, good_min: int, bad_min: int) -> None:
        begins = at - at % slot_min
        kept_good, kept_bad = counts.get(begins, (0, 0))
        counts[begins] = kept_good + good_min, kept_bad + bad_min

    for slot in () if before is None else before.slots:
        add(slot.begins, slot.good, slot.bad)
    last, was_good = (-1, True) if before is None else (before.last, before.was_good)
    if good is not None and number > last:
        add(number, int(good), int(not good))
        last, was_good = number, good
    elif good is False and number == last and was_good:
        add(number, -1, 1)
        was_good = False
    oldest = number - window_s // 60
    slots = tuple(
        Slot(begins=begins, good=counts[begins][0], bad=counts[begins][1])
        for begins in sorted(counts)
        if begins + slot_min > oldest
    )
    since = number if before is None else before.since
    return Measured(slot_min=slot_min, since=since, last=last, was_good=was_good, slots=slots)
