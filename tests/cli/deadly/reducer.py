from __future__ import annotations

from onex import Action, Nothing, Step, reducer, timer

from .payloads import Did, Job, Start, Work, deadly

jobs = reducer(Job)


@jobs.on("start")
def start(job: Job, action: Action[Start]) -> Step[Job]:
    deadly("reducer", action.payload.what)
    return Step(job.evolve(what=action.payload.what), Work(what=action.payload.what))


@jobs.on("later")
def later(job: Job, action: Action[Start]) -> Step[Job]:
    return Step(job.evolve(what=action.payload.what), timer("alarm", action.issued_at))


@jobs.on("ring")
def ring(job: Job, action: Action[Nothing]) -> Step[Job]:
    deadly("timer", job.what)
    return Step(job)


@jobs.on("did")
def did(job: Job, action: Action[Did]) -> Step[Job]:
    deadly("outcome", action.payload.what)
    return Step(job)
