"""The job on LangGraph, with its SQLite checkpointer: three nodes beside each other, and two updates of the thread's state.

Modes: ``sync`` stores each super-step before the next one begins; ``exit`` stores when a call returns, and a crash within a call
loses what its nodes did. A command is ``update_state``, the cheapest way in; an ``interrupt`` that a call resumes costs about
half as much again. Four threads on one saver were the fastest of what its pages show; its async twin took more time.
"""

from __future__ import annotations

import asyncio
import operator
import sqlite3
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from bench.peers.driver import COMMENTS, OUTSIDE, TASKS, main, sqlite_settings

THREADS = 4


class Job(TypedDict):
    done: Annotated[int, operator.add]
    comments: Annotated[int, operator.add]
    words: str


def task(job: Job) -> dict[str, int]:
    OUTSIDE.act()
    return {"done": 1}


def comment(job: Job) -> dict[str, int]:
    return {"comments": 1}


def built() -> StateGraph:
    graph = StateGraph(Job)
    for n in range(1, TASKS + 1):
        graph.add_node(f"task_{n}", task)
        graph.add_edge(START, f"task_{n}")
    graph.add_node("comment", comment)
    graph.add_edge("comment", END)
    return graph


class LangGraphPeer:
    def __init__(self, connection: sqlite3.Connection, mode: str) -> None:
        saver = SqliteSaver(connection)
        saver.setup()
        self.settings = sqlite_settings(connection)
        self._graph = built().compile(checkpointer=saver)
        self._connection, self._mode = connection, mode
        self._threads = ThreadPoolExecutor(THREADS)

    async def wave(self, names: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._threads, self._run, name) for name in names))

    def _run(self, name: str) -> None:
        config = {"configurable": {"thread_id": name}}
        self._graph.invoke({"done": 0, "comments": 0, "words": ""}, config, durability=self._mode)
        for text in COMMENTS:
            self._graph.update_state(config, {"words": text, "comments": 1}, as_node="comment")

    async def count_done(self) -> int:
        names = [name for (name,) in self._connection.execute("SELECT DISTINCT thread_id FROM checkpoints")]
        wanted = {"done": TASKS, "comments": len(COMMENTS), "words": COMMENTS[-1]}
        states = [self._graph.get_state({"configurable": {"thread_id": name}}) for name in names]
        return sum(state.values == wanted and not state.next for state in states)


@asynccontextmanager
async def opened(folder: Path, mode: str) -> AsyncIterator[LangGraphPeer]:
    connection = sqlite3.connect(folder / "langgraph.db", check_same_thread=False)
    try:
        yield LangGraphPeer(connection, mode)
    finally:
        connection.close()


if __name__ == "__main__":
    main(opened, ["langgraph", "langgraph-checkpoint-sqlite"])
