"""What each action does to the total: directories arrive, and when all have, the report is written."""

from __future__ import annotations

from onex import Action, Blob, Failure, Nothing, Step, reducer, send

from ..gather import Gathering
from .payloads import Begin, DirectoryDone, Pack, Packed, Total, WasReported, WriteReport

totals = reducer(Total)


@totals.on("begin")
def begin(total: Total, action: Action[Begin]) -> Step[Total]:
    sent = action.payload
    gathering = Gathering[Blob](expected=sent.directories)
    return _next(total.evolve(title=sent.title, out=sent.out, gathering=gathering), action.key.instance_id)


@totals.on("directory_done")
def directory_done(total: Total, action: Action[DirectoryDone]) -> Step[Total]:
    done = action.payload
    gathering = total.gathering.arrive(done.tally, done.references)
    return _next(total.evolve(gathering=gathering), action.key.instance_id)


@totals.on("packed")
def packed(total: Total, action: Action[Packed]) -> Step[Total]:
    return _next(total.evolve(gathering=total.gathering.packed(action.payload.bundle)), action.key.instance_id)


@totals.on("write")
def write(total: Total, action: Action[Nothing]) -> Step[Total]:
    return Step(total, WriteReport(title=total.title, out=total.out, bundles=total.gathering.bundles))


@totals.on("was_reported")
def was_reported(total: Total, action: Action[WasReported]) -> Step[Total]:
    return Step(total.evolve(markdown=action.payload.markdown, html=action.payload.html))


@totals.on("gave_up")
def gave_up(total: Total, action: Action[Failure]) -> Step[Total]:
    return Step(total.evolve(reason=action.payload.message))


def _next(total: Total, me: str) -> Step[Total]:
    gathering = total.gathering
    if gathering.to_pack:
        gathering = gathering.pack()
        return Step(total.evolve(gathering=gathering), Pack(parts=gathering.packing))
    return Step(total, send("complete", me)) if gathering.complete else Step(total)
