"""The floor: pydantic and sqlite3, nothing else. What the job costs where nothing is promised but durable, ordered writes.

Typed actions are folded into typed states in memory. All that has gathered while the last transaction was written goes into the
next one, which has five writes for each action: the log with its duplicates refused by the same index, the version check and the
state, the outbox, and the outbox rows that an outcome settles. Then effects run, and their outcomes are the next actions.
A second start reads states and outbox again, so that nothing that was answered is lost.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from bench.peers.driver import COMMENTS, OUTSIDE, TASKS, by_clients, main, sqlite_settings

TABLES = """
CREATE TABLE state(id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, version INTEGER NOT NULL, state BLOB NOT NULL);
CREATE TABLE log(id INTEGER NOT NULL, action_id BLOB NOT NULL, version INTEGER NOT NULL, action BLOB NOT NULL,
                 PRIMARY KEY (id, action_id)) WITHOUT ROWID;
CREATE TABLE outbox(id INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (id, n)) WITHOUT ROWID;
"""


STATE = """
INSERT INTO state VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (id) DO UPDATE SET version = ?3, state = ?4 WHERE version = ?5
"""


class Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Begin(Value):
    kind: Literal["begin"] = "begin"


class Comment(Value):
    kind: Literal["comment"] = "comment"
    text: str


class TaskDone(Value):
    kind: Literal["task_done"] = "task_done"
    n: int


class Job(Value):
    status: Literal["new", "running", "done"] = "new"
    left: int = TASKS + len(COMMENTS)
    words: str = ""


Some = Begin | Comment | TaskDone
ACTION: TypeAdapter[Some] = TypeAdapter(Annotated[Some, Field(discriminator="kind")])


def step(job: Job, action: Some) -> tuple[Job, range]:
    """The next state, and the tasks that are to be done outside."""
    if isinstance(action, Begin):
        return Job(status="running", left=job.left, words=job.words), range(1, TASKS + 1)
    left = job.left - 1
    words = action.text if isinstance(action, Comment) else job.words
    return Job(status="running" if left else "done", left=left, words=words), range(0)


def to_json(value: Value) -> bytes:
    return value.__pydantic_serializer__.to_json(value)


class Instance:
    __slots__ = ("done", "id", "job", "version", "waiter")

    def __init__(self, id: int, version: int, job: Job) -> None:
        self.id, self.version, self.job = id, version, job
        self.done = job.status == "done"  # and durable
        self.waiter: asyncio.Future[None] | None = None


class Batch(NamedTuple):
    """The rows of one transaction, and what follows it."""

    log: list[tuple[int, bytes, int, bytes]]
    states: list[tuple[int, str, int, bytes, int]]  # the last one is the version before the batch
    outbox: list[tuple[int, int]]
    settled: list[tuple[int, int]]
    effects: list[tuple[str, int]]
    ended: list[Instance]
    answer: asyncio.Future[None]


class FloorEngine:
    """One process, one store file. ``submit`` and ``done`` are called on the loop that opened it."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self.settings = sqlite_settings(self._db)
        if self._db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
            self._db.executescript(TABLES)
        self._thread = ThreadPoolExecutor(1)
        self._loop = asyncio.get_running_loop()
        self._instances: dict[str, Instance] = {}
        self._arrived: list[tuple[str, bytes, bytes]] = []  # name, action id, the action as JSON
        self._answer: asyncio.Future[None] = self._loop.create_future()
        self._work = asyncio.Event()
        self._ids, self._actions = count(1), count(time.time_ns())
        self._recover()
        self.running = self._loop.create_task(self._run())

    def _recover(self) -> None:
        """States into memory; an effect without an outcome runs again."""
        names: dict[int, str] = {}
        for id, name, version, state in self._db.execute("SELECT id, name, version, state FROM state ORDER BY id"):
            self._instances[name] = Instance(id, version, Job.model_validate_json(state))
            names[id] = name
            self._ids = count(id + 1)
        for id, n in self._db.execute("SELECT id, n FROM outbox ORDER BY id, n"):
            self._perform(names[id], n)

    def submit(self, name: str, action: bytes) -> asyncio.Future[None]:
        """A future that all actions of one batch share: done when they are durable."""
        self._accept(name, action)
        return self._answer

    def _accept(self, name: str, action: bytes) -> None:
        self._arrived.append((name, next(self._actions).to_bytes(16, "big"), action))
        self._work.set()

    async def done(self, name: str) -> None:
        """Returns when the job is done, and that is durable."""
        instance = self._instance(name)
        if not instance.done:
            if instance.waiter is None:
                instance.waiter = self._loop.create_future()
            await instance.waiter

    def state(self, name: str) -> Job:
        return self._instance(name).job

    def _instance(self, name: str) -> Instance:
        found = self._instances.get(name)
        if found is None:
            found = self._instances[name] = Instance(next(self._ids), 0, Job())
        return found

    async def _run(self) -> None:
        """One batch is folded while the one before it is written. Ends with the error of a transaction that failed."""
        writing: asyncio.Future[None] = self._loop.create_future()
        writing.set_result(None)
        while True:
            await self._work.wait()
            self._work.clear()
            batch = self._fold() if self._arrived else None
            await writing
            if batch is not None:
                writing = self._loop.create_task(self._commit(batch))

    def _fold(self) -> Batch:
        batch = Batch([], [], [], [], [], [], self._answer)
        arrived, self._arrived = self._arrived, []
        self._answer = self._loop.create_future()
        changed: dict[str, tuple[Instance, int]] = {}
        for name, action_id, payload in arrived:
            action = ACTION.validate_json(payload)
            instance = self._instance(name)
            changed.setdefault(name, (instance, instance.version))
            instance.job, tasks = step(instance.job, action)
            instance.version += 1
            batch.log.append((instance.id, action_id, instance.version, payload))
            for n in tasks:
                batch.outbox.append((instance.id, n))
                batch.effects.append((name, n))
            if isinstance(action, TaskDone):
                batch.settled.append((instance.id, action.n))
        for name, (instance, before) in changed.items():
            batch.states.append((instance.id, name, instance.version, to_json(instance.job), before))
            if instance.job.status == "done":
                batch.ended.append(instance)
        return batch

    async def _commit(self, batch: Batch) -> None:
        try:
            await self._loop.run_in_executor(self._thread, self._write, batch)
        finally:
            self._work.set()  # also when it failed: then _run ends with its error
        batch.answer.set_result(None)
        for name, n in batch.effects:
            self._perform(name, n)
        for instance in batch.ended:
            instance.done = True
            if instance.waiter is not None:
                instance.waiter.set_result(None)

    def _write(self, batch: Batch) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", batch.log)
            written = self._db.executemany(STATE, batch.states).rowcount
            if written != len(batch.states):
                raise RuntimeError("somebody else wrote a state of this store")
            self._db.executemany("INSERT INTO outbox VALUES (?, ?)", batch.outbox)
            self._db.executemany("DELETE FROM outbox WHERE id = ? AND n = ?", batch.settled)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _perform(self, name: str, n: int) -> None:
        OUTSIDE.act()
        self._accept(name, to_json(TaskDone(n=n)))

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self._thread.shutdown()
        self._db.close()


class FloorPeer:
    def __init__(self, engine: FloorEngine, file: Path) -> None:
        self.settings = engine.settings
        self._engine, self._file = engine, file

    async def wave(self, names: Sequence[str]) -> None:
        work = asyncio.ensure_future(self._run(names))
        await asyncio.wait([work, self._engine.running], return_when=asyncio.FIRST_COMPLETED)
        await (self._engine.running if self._engine.running.done() else work)

    async def _run(self, names: Sequence[str]) -> None:
        await by_clients(names, self._send)
        for name in names:
            await self._engine.done(name)

    async def _send(self, names: Sequence[str]) -> None:
        """Returns when the start and the commands of these workflows are durable."""
        for name in names:
            answer = self._engine.submit(name, to_json(Begin()))
            for text in COMMENTS:
                answer = self._engine.submit(name, to_json(Comment(text=text)))
        await answer

    async def count_done(self) -> int:
        with sqlite3.connect(self._file) as reader:
            (done,) = reader.execute("SELECT count(*) FROM state WHERE state ->> 'status' = 'done'").fetchone()
            (logged,) = reader.execute("SELECT count(*) FROM log").fetchone()
            (due,) = reader.execute("SELECT count(*) FROM outbox").fetchone()
        return int(done) if (logged, due) == (done * (1 + TASKS + len(COMMENTS)), 0) else 0


@asynccontextmanager
async def opened(folder: Path, mode: str) -> AsyncIterator[FloorPeer]:
    engine = FloorEngine(folder / "floor.db")
    try:
        yield FloorPeer(engine, folder / "floor.db")
    finally:
        await engine.close()


if __name__ == "__main__":
    main(opened, ["pydantic"])
