"""A step of a one-file workflow cancels what runs: the app's own effect is told, and so is a function that was given for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import BaseModel

from onex.kernel.intent import ModelIntent
from onex.nodes.given import GivenEffect
from onex.testing.virtual_time import virtual
from tests.authoring.declared import HEAD, app

SLOW = (
    HEAD
    + """

@jobs.effect()
async def make(intent: ModelIntent[Make]) -> Made:
    import asyncio

    await asyncio.sleep(20)
    return Made(where="here")


@jobs.on("new -> busy")
def begin(job: Job, action: Action[Begin]) -> Step[Job]:
    return Step(job, Make(what=action.payload.what))


@jobs.on("busy -> busy")
def stop(job: Job, action: Action[Nothing]) -> Step[Job]:
    return Step(job, make.cancel())


@jobs.on(make.failed, make.unknown, "busy -> lost")
def ended(job: Job, action: Action[Failure]) -> Step[Job]:
    return Step(job.evolve(what=action.payload.code))


jobs.move(make.succeeded, "busy -> done")
"""
)


async def given(intent: ModelIntent[BaseModel]) -> dict[str, str]:
    await asyncio.sleep(20)
    return {"where": "there"}


@pytest.mark.parametrize("executors", [{}, {"make": given}], ids=["own", "given"])
def test_what_runs_is_told_and_says_that_it_was_cancelled(tmp_path: Path, executors: dict[str, GivenEffect]) -> None:
    with virtual(app(tmp_path, SLOW), executors=executors) as run:
        run.submit("jobs:1", "begin", {"what": "a"})
        run.skip(seconds=5)
        run.submit("jobs:1", "stop")
        run.wait("jobs:1", "lost")
        assert getattr(run.state("jobs:1"), "what") == "cancelled"  # noqa: B009 # a class of the app's
