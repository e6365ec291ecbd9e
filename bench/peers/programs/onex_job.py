"""The job as an app of ONEX: what a user writes. ``onex_peer`` gives the effect that counts how often it is called."""

from __future__ import annotations

from typing import Literal

from onex import Action, ModelIntent, Nothing, Payload, State, Step, workflow

LAST = "state.left == 0"


class Job(State):
    status: Literal["new", "running", "done"] = "new"
    left: int = 5  # three outcomes, two commands
    words: str = ""


class JobTask(Payload):
    n: int


class JobComment(Payload):
    text: str


jobs = workflow("job", Job)


@jobs.effect(concurrency=64)
async def task(intent: ModelIntent[JobTask]) -> None:
    """Served by whoever opens the app."""


@jobs.on("new -> running")
def begin(job: Job, action: Action[Nothing]) -> Step[Job]:
    return Step(job, *(JobTask(n=n) for n in range(1, 4)))


@jobs.on("running -> done", when_after=LAST)
@jobs.on("running -> running")
def comment(job: Job, action: Action[JobComment]) -> Step[Job]:
    return Step(job.evolve(left=job.left - 1, words=action.payload.text))


@jobs.on(task.succeeded, "running -> done", when_after=LAST)
@jobs.on(task.succeeded, "running -> running")
def task_done(job: Job, action: Action[Nothing]) -> Step[Job]:
    return Step(job.evolve(left=job.left - 1))


jobs.move("give_up", task.failed, task.unknown, "running -> done")
