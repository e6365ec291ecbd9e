"""The job on eventsourcing: an aggregate whose events are the six actions, in one SQLite file, in one thread.

Modes: ``each`` saves every event in a transaction of its own; ``100`` works on 100 aggregates at once, and saves them twice, all
together. The library stores events. To run an effect again after a crash is left to its user; so here it is simply called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.sqlite import SQLiteApplicationRecorder

from bench.peers.driver import COMMENTS, OUTSIDE, SYNCHRONOUS, TASKS, main


class Job(Aggregate):
    @event("Begun")
    def __init__(self, name: str) -> None:
        self.name = name
        self.done = 0
        self.comments = 0
        self.words = ""

    @staticmethod
    def create_id(name: str) -> UUID:
        return uuid5(NAMESPACE_URL, name)

    @event("Commented")
    def comment(self, text: str) -> None:
        self.words = text
        self.comments += 1

    @event("TaskDone")
    def task_done(self, n: int) -> None:
        self.done += 1


class Jobs(Application[UUID]):
    def begin(self, name: str) -> None:
        self.save(Job(name))

    def comment(self, name: str, text: str) -> None:
        job: Job = self.repository.get(Job.create_id(name))
        job.comment(text)
        self.save(job)

    def task_done(self, name: str, n: int) -> None:
        job: Job = self.repository.get(Job.create_id(name))
        job.task_done(n)
        self.save(job)

    def run_together(self, names: Sequence[str]) -> None:
        jobs = [Job(name) for name in names]
        for job in jobs:
            for text in COMMENTS:
                job.comment(text)
        self.save(*jobs)
        for job in jobs:
            for n in range(1, TASKS + 1):
                OUTSIDE.act()
                job.task_done(n)
        self.save(*jobs)


class EventSourcingPeer:
    def __init__(self, folder: Path, mode: str) -> None:
        self._env = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(folder / "events.db")}
        # aggregates stay in memory: one process writes, and nobody else looks at them
        kept = {
            "AGGREGATE_CACHE_MAXSIZE": "1000",
            "AGGREGATE_CACHE_FASTFORWARD": "n",
            "DEEPCOPY_FROM_AGGREGATE_CACHE": "n",
        }
        self.app, self._mode = Jobs(env=self._env | kept), mode
        self._names: list[str] = []
        self.settings = self._durability()

    def _durability(self) -> Mapping[str, str]:
        recorder = self.app.recorder
        if not isinstance(recorder, SQLiteApplicationRecorder):
            raise TypeError(f"{recorder!r} writes no SQLite file")
        with recorder.datastore.transaction(commit=False) as cursor:
            cursor.execute("PRAGMA journal_mode")
            (journal,) = cursor.fetchone()
            cursor.execute("PRAGMA synchronous")
            (level,) = cursor.fetchone()
        return {"journal_mode": journal, "synchronous": SYNCHRONOUS[level]}

    async def wave(self, names: Sequence[str]) -> None:
        self._names += names
        if self._mode == "100":
            for first in range(0, len(names), 100):
                self.app.run_together(names[first : first + 100])
            return
        for name in names:
            self.app.begin(name)
            for text in COMMENTS:
                self.app.comment(name, text)
            for n in range(1, TASKS + 1):
                OUTSIDE.act()
                self.app.task_done(name, n)

    async def count_done(self) -> int:
        with Jobs(env=self._env) as fresh:
            jobs: list[Job] = [fresh.repository.get(Job.create_id(name)) for name in self._names]
        wanted = (TASKS, len(COMMENTS), COMMENTS[-1])
        return sum((job.done, job.comments, job.words) == wanted for job in jobs)


@asynccontextmanager
async def opened(folder: Path, mode: str) -> AsyncIterator[EventSourcingPeer]:
    peer = EventSourcingPeer(folder, mode)
    with peer.app:
        yield peer


if __name__ == "__main__":
    main(opened, ["eventsourcing"])
