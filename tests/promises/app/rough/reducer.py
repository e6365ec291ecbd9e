from __future__ import annotations

from onex import Action, Failure, Step, intent, reducer

from .payloads import Plain, Rough, Thinks, Waits, What, raises

rough = reducer(Rough)


@rough.on("reduced")
def reduced(one: Rough, action: Action[What]) -> Step[Rough]:
    what = action.payload.what
    raises(what)
    match what:
        case "nothing":
            return None  # type: ignore[return-value]
        case "status":
            return Step(one.evolve(status="done"))
        case "priority":
            return Step(one, intent("sync", Plain(), priority="urgent"))
        case "integer":
            return Step(one.evolve(what=what), Plain.model_construct(what=2**60))  # type: ignore[arg-type]
        case "endless":
            while True:
                pass
    return Step(one.evolve(what=what))


@rough.on("sync")
def sync(one: Rough, action: Action[What]) -> Step[Rough]:
    return Step(one, Plain(what=action.payload.what))


@rough.on("awaited")
def awaited(one: Rough, action: Action[What]) -> Step[Rough]:
    return Step(one, Waits(what=action.payload.what))


@rough.on("computed")
def computed(one: Rough, action: Action[What]) -> Step[Rough]:
    return Step(one, Thinks(what=action.payload.what))


@rough.on("did_not", "who_knows")
def ended(one: Rough, action: Action[Failure]) -> Step[Rough]:
    return Step(one.evolve(why=f"{action.payload.message}, tried {action.payload.attempts} times"))
