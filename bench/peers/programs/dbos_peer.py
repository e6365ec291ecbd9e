"""The job on DBOS: one workflow function, three steps beside each other, two messages that it waits for.

Modes: ``async`` starts each workflow on the loop of this process, 32 at a time; ``queue`` gives all to a queue of DBOS, which runs
32 at a time. Both are async functions: threads were slower. The file is put into WAL mode before DBOS opens it, which DBOS does
not do by itself and which makes it two to three times as fast. It looks for messages every 10 ms in place of every second.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy
from dbos import DBOS, SendMessage, SetWorkflowID, WorkflowHandleAsync

from bench.peers.driver import COMMENTS, OUTSIDE, TASKS, main, sqlite_settings

QUEUE = "queue"
AT_ONCE = 32
LOOK_S = 0.01


@DBOS.step()
async def task(n: int) -> None:
    OUTSIDE.act()


@DBOS.workflow()
async def job() -> str:
    await asyncio.gather(*(task(n) for n in range(1, TASKS + 1)))
    words = [await DBOS.recv_async("comment") for _ in COMMENTS]
    return str(words[-1])


class DbosPeer:
    def __init__(self, file: Path, mode: str, settings: Mapping[str, str]) -> None:
        self._file, self._mode, self.settings = file, mode, settings

    async def wave(self, names: Sequence[str]) -> None:
        room = asyncio.Semaphore(AT_ONCE)

        async def started(name: str) -> None:
            async with room:
                with SetWorkflowID(name):
                    handle = await DBOS.start_workflow_async(job)
                await self._send(name)
                await handle.get_result()

        async def enqueued(name: str) -> WorkflowHandleAsync[str]:
            async with room:
                with SetWorkflowID(name):
                    handle = await DBOS.enqueue_workflow_async(QUEUE, job)
                await self._send(name)
                return handle

        if self._mode != QUEUE:
            await asyncio.gather(*map(started, names))
            return
        for handle in await asyncio.gather(*map(enqueued, names)):
            await handle.get_result(polling_interval_sec=LOOK_S)  # one after another: each look is a query

    async def _send(self, name: str) -> None:
        await DBOS.send_bulk_async([SendMessage(name, text, topic="comment") for text in COMMENTS])

    async def count_done(self) -> int:
        with sqlite3.connect(self._file) as reader:
            (done,) = reader.execute("SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'").fetchone()
            steps = dict(reader.execute("SELECT function_name, count(*) FROM operation_outputs GROUP BY function_name"))
        stored = (steps.get(task.__qualname__), steps.get("DBOS.recv"))
        return int(done) if stored == (TASKS * done, len(COMMENTS) * done) else 0


@asynccontextmanager
async def opened(folder: Path, mode: str) -> AsyncIterator[DbosPeer]:
    file = folder / "dbos.db"
    with sqlite3.connect(file) as made:
        made.execute("PRAGMA journal_mode=WAL")
    DBOS(
        config={
            "name": "peers",
            "system_database_url": f"sqlite:///{file}",
            "log_level": "WARNING",
            "run_admin_server": False,
            "notification_listener_polling_interval_sec": LOOK_S,
        }
    )
    settings: dict[str, str] = {}

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
    def read_back(connection: sqlite3.Connection, record: object) -> None:
        settings.update(sqlite_settings(connection))  # of each connection that DBOS opens

    DBOS.launch()
    try:
        if mode == QUEUE:
            await DBOS.register_queue_async(QUEUE, worker_concurrency=AT_ONCE, polling_interval_sec=LOOK_S)
        yield DbosPeer(file, mode, settings)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main(opened, ["dbos"])
