"""Charge, pack, reckon, tell the tally, wait; notes and a timer meanwhile."""

from __future__ import annotations

from datetime import timedelta

from onex import Action, Failure, Nothing, Step, reducer, send, timer

from .payloads import Begin, Charge, Done, Enter, Errand, Note, Numbers, Pack, Sum

TALLIES = 5
errands = reducer(Errand)


@errands.on("begin")
def begin(errand: Errand, action: Action[Begin]) -> Step[Errand]:
    asked = action.payload
    return Step(errand.evolve(number=asked.number), Charge(number=asked.number, text=asked.text))


@errands.on("charged")
def charged(errand: Errand, action: Action[Done]) -> Step[Errand]:
    alarm = timer("alarm", action.issued_at + timedelta(milliseconds=30))
    return Step(errand, Pack(number=errand.number, notes=errand.notes), alarm)


@errands.on("packed")
def packed(errand: Errand, action: Action[Done]) -> Step[Errand]:
    return Step(errand, Numbers(numbers=tuple(range(errand.number % 50 + 2))))


@errands.on("reckoned")
def reckoned(errand: Errand, action: Action[Sum]) -> Step[Errand]:
    total = action.payload.total
    entered = Enter(errand=action.key.instance_id, amount=total)
    return Step(errand.evolve(total=total), send("tell", str(errand.number % TALLIES), entered))


@errands.on("note")
def note(errand: Errand, action: Action[Note]) -> Step[Errand]:
    return Step(errand.evolve(notes=errand.notes + 1))


@errands.on("ring")
def ring(errand: Errand, action: Action[Nothing]) -> Step[Errand]:
    return Step(errand.evolve(rings=errand.rings + 1))


@errands.on("failed", "unclear")
def troubled(errand: Errand, action: Action[Failure]) -> Step[Errand]:
    return Step(errand.evolve(trouble=f"{action.payload.code}: {action.payload.message}"[:300]))
