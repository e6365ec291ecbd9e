"""Small one-file apps written into a test's folder."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

HEAD = """\
from __future__ import annotations

from datetime import timedelta
from typing import Literal

from onex import Action, Failure, ModelIntent, Nothing, Payload, State, Step, workflow


class Job(State):
    status: Literal["new", "busy", "done", "lost"] = "new"
    what: str = ""


class Begin(Payload):
    what: str


class Make(Payload):
    what: str


class Made(Payload):
    where: str


jobs = workflow("jobs", Job)
"""
EFFECT = """

@jobs.effect(succeeded="made", failed="failed", unknown="failed")
def make(intent: ModelIntent[Make]) -> Made:
    return Made(where="here")
"""
HANDLERS = """

@jobs.on("new -> busy")
def begin(job: Job, action: Action[Begin]) -> Step[Job]:
    return Step(job.evolve(what=action.payload.what), Make(what=action.payload.what))


@jobs.on(make.succeeded, "busy -> done")
def made(job: Job, action: Action[Made]) -> Step[Job]:
    return Step(job)


jobs.move(make.failed, "busy -> lost")
"""
WHOLE = HEAD + EFFECT + HANDLERS


def app(folder: Path, text: str = WHOLE, **others: str) -> Path:
    """``app.py`` with this text, and other files by name; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text(text, encoding="utf-8")
    for name, content in others.items():
        (folder / f"{name}.py").write_text(dedent(content), encoding="utf-8")
    return folder


def line_of(text: str, part: str, n: int = 1) -> int:
    """The line, from 1, on which ``part`` stands the n-th time."""
    found = [number for number, line in enumerate(text.splitlines(), 1) if part in line]
    return found[n - 1]
