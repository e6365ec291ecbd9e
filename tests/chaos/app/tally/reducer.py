"""Counts and adds."""

from __future__ import annotations

from onex import Action, Step, reducer

from .payloads import Enter, Tally

tallies = reducer(Tally)


@tallies.on("enter")
def enter(tally: Tally, action: Action[Enter]) -> Step[Tally]:
    return Step(tally.evolve(entries=tally.entries + 1, total=tally.total + action.payload.amount))
