"""The work of ``onex replay``: a run folded here, or by several processes of which each takes its share of the instances."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, NamedTuple

from ..engine.registry import ReducerRegistry
from ..kernel.action import WorkflowKey
from ..kernel.errors import NotFound, OnexError
from ..replay.replay import Replay
from ..replay.verdict import ReplayResult
from ..wiring.recorded import RunSource
from .code_versions import code_of
from .spawn import SPAWN, sendable, started

WORTH_IT: Final = 50_000  # actions: below, one process has ended by the time that a second one has started (0.9 s)
TELL_S: Final = 0.2
GONE_S: Final = 5.0

OnActions = Callable[[int], None]


class FoldingBroken(OnexError):
    """A process that folded is gone and did not say why: killed, or out of memory."""

    code = "folding_broken"


class ReplayTask(NamedTuple):
    """``app`` is today's code, ``older`` what was brought beside it; ``part`` (i, k): the i-th of k shares."""

    source: RunSource
    app: str
    older: tuple[str, ...] = ()
    of_type: str | None = None
    key: WorkflowKey | None = None
    part: tuple[int, int] = (0, 1)


def processes_for(actions: int, asked: int | None) -> int:
    """``asked``, or as many as this process may use of the machine where there is enough to do."""
    if asked is not None:
        return asked
    return len(os.sched_getaffinity(0)) if actions >= WORTH_IT else 1


def folded(task: ReplayTask, processes: int, went: OnActions) -> ReplayResult:
    """What the replay came to. ``went`` hears how many actions more were folded.

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
    run = task.source.open()
    try:
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
        told, told_s = 0, time.monotonic()
        async for _ in segments:
            if time.monotonic() - told_s > TELL_S:
                went(replay.result.actions - told)
                told, told_s = replay.result.actions, time.monotonic()
        went(replay.result.actions - told)
        return replay.result
    finally:
        run.close()


def _shared(task: ReplayTask, processes: int, went: OnActions) -> ReplayResult:
    lines: dict[Connection, BaseProcess] = {}
    result = ReplayResult()
    try:
        for number in range(processes):
            line, end = SPAWN.Pipe(duplex=False)
            process = started(_share, end, task._replace(part=(number, processes)))
            end.close()
            lines[line] = process
        waiting = set(lines)
        while waiting:
            for ready in wait(list(waiting)):
                assert isinstance(ready, Connection), "only connections are waited for"
                word = _received(ready, lines[ready])
                if isinstance(word, int):
                    went(word)
                else:
                    result.join(word)
                    waiting.discard(ready)
    finally:
        for one, worker in lines.items():
            one.close()
            worker.kill()  # it only reads, so there is nothing to break
            worker.join()
            worker.close()
    return result


def _received(line: Connection, process: BaseProcess) -> int | ReplayResult:
    try:
        word: int | ReplayResult | OnexError = line.recv()
    except (EOFError, ConnectionResetError) as error:
        process.join(GONE_S)
        raise FoldingBroken(
            f"a process that folded ended with {process.exitcode} and did not say why; was the machine out of memory? "
            "--processes 1 folds with one"
        ) from error
    if isinstance(word, OnexError):
        raise word
    return word


def _share(line: Connection, task: ReplayTask) -> None:
    """A process's whole life."""
    os.dup2(2, 1)  # what an app prints when it is imported is not what the command says
    try:
        line.send(asyncio.run(_fold(task, line.send)))
    except (BrokenPipeError, ConnectionResetError):
        return
    except OnexError as error:
        line.send(sendable(error))
    except Exception as error:
        line.send(OnexError(f"a process of onex replay failed: {type(error).__name__}: {error}"))
