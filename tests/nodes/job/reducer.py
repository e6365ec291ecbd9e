from __future__ import annotations

from onex import Action, Failure, Step, intent, reducer

from .payloads import Did, Job, Start, Work

jobs = reducer(Job)


INTENTS = {
    "plain": "work",
    "waits": "awork",
    "twice": "again",
    "quiet": "shout",
    "hasty": "hurry",
    "waits_hasty": "ahurry",
}


@jobs.on(*INTENTS)
def start(job: Job, action: Action[Start]) -> Step[Job]:
    return Step(job, intent(INTENTS[action.kind], Work(what=action.payload.what)))


@jobs.on("did")
def did(job: Job, action: Action[Did]) -> Step[Job]:
    return Step(job)


@jobs.on("did_not", "who_knows")
def trouble(job: Job, action: Action[Failure]) -> Step[Job]:
    failure = action.payload
    return Step(job.evolve(why=f"{failure.code}: {failure.message}", tries=failure.attempts))
