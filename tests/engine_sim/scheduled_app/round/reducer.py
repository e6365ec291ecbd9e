from __future__ import annotations

from onex import Action, Step, reducer

from .payloads import Begin, Round

rounds = reducer(Round)


@rounds.on("begin")
def begin(now: Round, action: Action[Begin]) -> Step[Round]:
    return Step(now.evolve(due=action.payload.due))
