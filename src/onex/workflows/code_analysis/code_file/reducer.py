"""What each action does to a source file."""

from __future__ import annotations

from onex import Action, Failure, Step, reducer, send

from .payloads import Analyse, Discover, FileDone, Read, SourceFile, WasAnalysed, WasRead, WasWritten, Write

files = reducer(SourceFile)


@files.on("discover")
def discover(file: SourceFile, action: Action[Discover]) -> Step[SourceFile]:
    seen = action.payload
    file = file.evolve(root=seen.root, path=seen.path, module=seen.module, directory=seen.directory, out=seen.out)
    return Step(file, Read(root=seen.root, path=seen.path))


@files.on("was_read")
def was_read(file: SourceFile, action: Action[WasRead]) -> Step[SourceFile]:
    return Step(file, Analyse(source=action.payload.source, path=file.path, module=file.module))


@files.on("was_analysed")
def was_analysed(file: SourceFile, action: Action[WasAnalysed]) -> Step[SourceFile]:
    done = action.payload
    file = file.evolve(analysis=done.analysis, tally=done.tally)
    return Step(file, Write(out=file.out, path=file.path, analysis=done.analysis))


@files.on("was_written")
def was_written(file: SourceFile, action: Action[WasWritten]) -> Step[SourceFile]:
    return _over(file.evolve(report=action.payload.report))


@files.on("gave_up")
def gave_up(file: SourceFile, action: Action[Failure]) -> Step[SourceFile]:
    why = action.payload
    return _over(file.evolve(reason=f"{why.message} ({why.code}, {why.attempts} tries)"))


def _over(file: SourceFile) -> Step[SourceFile]:
    """The directory gets a message for every file, also for a failed one: it counts them."""
    references = (file.analysis,) if file.analysis is not None else ()
    return Step(file, send("tell_directory", file.directory, FileDone(tally=file.tally, references=references)))
