"""Adds up; raises on thirteen and on poison."""

from __future__ import annotations

from datetime import timedelta

from onex import Action, Failure, Nothing, Step, intent, reducer, timer

from .payloads import Add, Blow, Job, Work, Worked

jobs = reducer(Job)


@jobs.on("add")
def add(job: Job, action: Action[Add]) -> Step[Job]:
    if action.payload.amount == 13:
        raise ValueError("thirteen is not for adding")
    return Step(job.evolve(total=job.total + action.payload.amount))


@jobs.on("blow")
def blow(job: Job, action: Action[Nothing]) -> Step[Job]:
    return Step(job, Blow(loudness=3))


@jobs.on("later")
def later(job: Job, action: Action[Nothing]) -> Step[Job]:
    return Step(job, timer("wake", action.issued_at + timedelta(hours=2)))


@jobs.on("begin")
def begin(job: Job, action: Action[Work]) -> Step[Job]:
    return Step(job, intent("work", action.payload))


@jobs.on("worked")
def worked(job: Job, action: Action[Worked]) -> Step[Job]:
    if action.payload.text == "poison":
        raise ValueError("cannot digest poison")
    return Step(job.evolve(text=action.payload.text))


@jobs.on("failed")
def failed(job: Job, action: Action[Failure]) -> Step[Job]:
    return Step(job.evolve(text=action.payload.message))
