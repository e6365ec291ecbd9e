"""The work of ``onex replay``: a run folded in this process, or by several of which each takes its share of the instances.

Each process reads the whole list of keys and folds every k-th instance, so nobody hands out work. Results of different
instances add up in any order. The first process also asks the store what it says against itself as a whole.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Final, NamedTuple

from ..engine.registry import ReducerRegistry
from ..kernel.action import WorkflowKey
from ..kernel.errors import NotFound
from ..replay.replay import Replay
from ..replay.verdict import ReplayResult
from ..wiring.recorded import RunSource
from .child_process import Child, serve
from .code_versions import code_of

WORTH_IT: Final = 50_000
"""Actions. Below, one process has ended by the time that a second one has started (0.9 s)."""
REPORT_S: Final = 0.2

OnActions = Callable[[int], None]


class ReplayTask(NamedTuple):
    """``app`` is today's code, ``older`` what was brought beside it; ``part`` (i, k): the i-th of k shares."""

    source: RunSource
    app: str
    older: tuple[str, ...] = ()
    of_type: str | None = None
    key: WorkflowKey | None = None
    part: tuple[int, int] = (0, 1)


def processes_for(actions: int, asked: int | None) -> int:
    """``asked``, or one for each core that this process may use, where there is enough to do."""
    if asked is not None:
        return asked
    return len(os.sched_getaffinity(0)) if actions >= WORTH_IT else 1


def folded(task: ReplayTask, processes: int, went: OnActions) -> ReplayResult:
    """The result. ``went`` is called with how many actions more were folded.

    Raises NotFound for an instance that is not there, HistoryUnreadable, FoldingBroken, and what loading an app raises.
    """
    if processes == 1 or task.key is not None:
        return asyncio.run(_fold(task, went))
    return _shared(task, processes, went)


async def _fold(task: ReplayTask, went: OnActions) -> ReplayResult:
    workflows = code_of([Path(task.app), *map(Path, task.older)])
    today: dict[str, int] = {}
    for number, one in enumerate(workflows):
        today.setdefault(one.code.workflow_type, number)  # today's app comes first
    registry = ReducerRegistry(tuple(workflows[number] for number in today.values()))
    async with task.source.opened() as run:
        replay = Replay(run, registry, workflows, run.redacted_since, run.damaged)
        if task.key is None:
            segments = replay.all(task.of_type, task.part)
        else:
            stored = (await run.load([task.key])).get(task.key)
            if stored is None:
                missing = (
                    f"is not in {task.source.file}" if task.source.file else "has not begun; onex ls lists what has"
                )
                raise NotFound(f"{task.key} {missing}")
            segments = replay.instance(stored)
        reported, reported_s = 0, time.monotonic()
        async for _ in segments:
            if time.monotonic() - reported_s > REPORT_S:
                went(replay.result.actions - reported)
                reported, reported_s = replay.result.actions, time.monotonic()
        went(replay.result.actions - reported)
        return replay.result


def _shared(task: ReplayTask, processes: int, went: OnActions) -> ReplayResult:
    children: dict[Connection, Child] = {}
    result = ReplayResult()
    try:
        for number in range(processes):
            child = Child(_fold_share, task._replace(part=(number, processes)))
            children[child.line] = child
        waiting = set(children)
        while waiting:
            for line in wait(list(waiting)):
                assert isinstance(line, Connection), "only connections are waited for"
                word = children[line].receive()
                if isinstance(word, ReplayResult):
                    result.join(word)
                    waiting.discard(line)
                else:
                    assert isinstance(word, int), (
                        "a child sends how many actions more it folded, and at last its result"
                    )
                    went(word)
    finally:
        for child in children.values():
            child.close()
    return result


def _fold_share(line: Connection, task: ReplayTask) -> None:
    async def run() -> None:
        line.send(await _fold(task, line.send))

    serve(line, run, "onex replay")
