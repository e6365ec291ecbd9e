"""What each action does to a directory: files arrive, sets of them are packed, and the whole is handed over."""

from __future__ import annotations

from onex import Action, Blob, Failure, Nothing, Step, reducer, send

from ..gather import Gathering
from .payloads import Begin, Directory, DirectoryDone, FileDone, Pack, Packed

directories = reducer(Directory)


@directories.on("begin")
def begin(directory: Directory, action: Action[Begin]) -> Step[Directory]:
    gathering = Gathering[Blob](expected=action.payload.files)
    return _next(directory.evolve(total=action.payload.total, gathering=gathering), action.key.instance_id)


@directories.on("file_done")
def file_done(directory: Directory, action: Action[FileDone]) -> Step[Directory]:
    done = action.payload
    gathering = directory.gathering.arrive(done.tally, done.references)
    return _next(directory.evolve(gathering=gathering), action.key.instance_id)


@directories.on("packed")
def packed(directory: Directory, action: Action[Packed]) -> Step[Directory]:
    gathering = directory.gathering.packed(action.payload.bundle)
    return _next(directory.evolve(gathering=gathering), action.key.instance_id)


@directories.on("hand_over")
def hand_over(directory: Directory, action: Action[Nothing]) -> Step[Directory]:
    gathering = directory.gathering
    done = DirectoryDone(tally=gathering.tally, references=gathering.bundles)
    return Step(directory, send("tell_total", directory.total, done))


@directories.on("gave_up")
def gave_up(directory: Directory, action: Action[Failure]) -> Step[Directory]:
    """The total still gets a message, with the sums and without the files' results."""
    directory = directory.evolve(reason=action.payload.message)
    done = DirectoryDone(tally=directory.gathering.tally)
    return Step(directory, send("tell_total", directory.total, done))


def _next(directory: Directory, me: str) -> Step[Directory]:
    gathering = directory.gathering
    if gathering.to_pack:
        gathering = gathering.pack()
        return Step(directory.evolve(gathering=gathering), Pack(parts=gathering.packing))
    return Step(directory, send("complete", me)) if gathering.complete else Step(directory)
