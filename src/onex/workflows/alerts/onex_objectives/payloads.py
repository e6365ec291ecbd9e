"""One minute of all objectives, and what is kept of the minutes of a window."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from onex import Payload, State

WindowS = Annotated[int, Field(ge=60)]


class Minute(Payload):
    """``number`` counts minutes since 1970. ``good[objective]``; one that was not measured in this minute is not in it.

    ``values[rule]`` are the last ones that were read, for who lists the rules. ``counters[row]`` are those of the whole store: the
    next engine sees by them what happened while none ran.
    """

    number: Annotated[int, Field(ge=0)]
    good: dict[str, bool]
    windows_s: dict[str, WindowS]
    values: dict[str, float] = Field(default_factory=dict)
    counters: dict[str, float] = Field(default_factory=dict)


class Slot(Payload):
    """Some minutes in a row, from the minute ``begins`` on: how many were good and bad."""

    begins: int
    good: int = 0
    bad: int = 0


class Measured(Payload):
    """The slots of a window, the oldest first; slots without a measured minute are left out. ``since`` is its first minute.

    ``last`` and ``was_good``: the last minute that is counted, and as what.
    """

    slot_min: int
    since: int
    last: int = -1
    was_good: bool = True
    slots: tuple[Slot, ...] = ()


class Objectives(State):
    status: Literal["unmeasured", "measured"] = "unmeasured"
    last: int = 0
    values: dict[str, float] = Field(default_factory=dict)
    counters: dict[str, float] = Field(default_factory=dict)
    measured: dict[str, Measured] = Field(default_factory=dict)
