"""The two kinds of processes of ``onex whatif``: one folds the other code, one the code that made the record.

They never meet in one interpreter, so what one revision imports is not what the other finds. Neither has an executor that
does anything: what would leave is counted.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import orjson

from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..ports import SnapshotRow, Stored
from ..views.what_if import instance_result_json
from ..whatif.messages import MessageChanges
from ..whatif.recorded_states import RefoldedStates
from ..whatif.result import EnumBranch, WhatIfSummary
from ..whatif.what_if import WhatIf
from ..wiring.folding import InertApp
from ..wiring.recorded import RecordedRun as Record
from ..wiring.recorded import RunSource
from .replay_work import FoldingBroken
from .spawn import sendable

PAGE = 100
"""Instances: what is read at once, and all that a process holds."""
TELL_S = 0.2


class Since(NamedTuple):
    """Only instances that changed at or behind both: microseconds since 1970, a place in the log. 0: all."""

    at_us: int = 0
    n: int = 0

    def includes(self, stored: Stored) -> bool:
        return stored.last_us >= self.at_us and stored.position.n >= self.n


class WhatIfTask(NamedTuple):
    """``app`` is the code to fold. ``kept`` examples per class of difference; ``each``: a line of JSON per instance too."""

    source: RunSource
    app: str
    since: Since = Since()
    kept: int = 3
    each: bool = False


class Page(NamedTuple):
    """The next instances of one type, behind ``after``."""

    workflow_type: str
    after: WorkflowKey | None


class CodeLoaded(NamedTuple):
    """The code is loaded; these workflow types it sends something, or tells what came of it."""

    correspondents: frozenset[str]


class PageRead(NamedTuple):
    """A page was read and is being folded; the next one begins behind ``last``. None: there is no next one."""

    last: WorkflowKey | None


class ActionsFolded(NamedTuple):
    """So many actions more were folded."""

    actions: int


class PageResult(NamedTuple):
    """What came of one page. ``lines`` are JSON, one per instance that is not the same."""

    tally: WhatIfSummary
    lines: bytes
    news: MessageChanges
    fed: frozenset[str]


class EffectsFired(NamedTuple):
    """The last word of a process: what reached the boundary of effects while it folded."""

    effects: int


class RecordedStatesNeeded(NamedTuple):
    """Asks for the process that folds the record, which is started for the first question."""


class RecordProcessFailed(Exception):
    """The process that folds the record could not begin. No error of the house: it is not about one instance."""

    def __init__(self, error: OnexError) -> None:
        super().__init__(error.message)
        self.error = error


class RemoteStates:
    """The recorded states, folded in a process of their own. Raises TellerFailed when its code cannot be loaded."""

    def __init__(self, parent: Connection, line: Connection) -> None:
        self._parent, self._line, self._asked = parent, line, False

    async def states(self, mark: SnapshotRow) -> list[bytes]:
        if not self._asked:
            self._asked = True
            self._parent.send(RecordedStatesNeeded())
        try:
            self._line.send(mark)
            answer: list[bytes] | OnexError = self._line.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise RecordProcessFailed(
                FoldingBroken(
                    "the process that folds the record ended and did not say why; without APP it is not needed"
                )
            ) from error
        if isinstance(answer, OnexError):
            raise RecordProcessFailed(answer)
        return answer


def fold_pages(parent: Connection, task: WhatIfTask, line: Connection | None) -> None:
    """The process that folds the other code, page by page, until it is told that there are no more."""

    async def run() -> None:
        app = InertApp(Path(task.app))
        reader = task.source.open()
        retelling = None if line is None else RemoteStates(parent, line)
        judge = WhatIf(reader, app.registry, retelling, reader.redacted_since)
        parent.send(CodeLoaded(judge.correspondents))
        while (order := parent.recv()) is not None:
            if isinstance(order, MessageChanges):
                judge.messages.learn(order)
            else:
                await _fold_page(parent, task, judge, reader, order)
        parent.send(EffectsFired(app.boundary.fired))
        reader.close()
        app.close()

    _work(parent, run)


async def _fold_page(parent: Connection, task: WhatIfTask, judge: WhatIf, reader: Record, page: Page) -> None:
    rows = await reader.instances(page.workflow_type, None, page.after, PAGE)
    parent.send(PageRead(rows[-1].key if len(rows) == PAGE else None))
    tally, lines, went, told_s = WhatIfSummary(task.kept), list[bytes](), judge.actions, time.monotonic()
    for stored in rows:
        if not task.since.includes(stored):
            continue
        told = await judge.instance(stored)
        tally.add(told)
        if task.each and told.branch is not EnumBranch.SAME:
            lines.append(orjson.dumps(instance_result_json(told), default=str, option=orjson.OPT_APPEND_NEWLINE))
        if time.monotonic() - told_s > TELL_S:
            parent.send(ActionsFolded(judge.actions - went))
            went, told_s = judge.actions, time.monotonic()
    parent.send(ActionsFolded(judge.actions - went))
    parent.send(PageResult(tally, b"".join(lines), judge.new_messages, frozenset(judge.receivers)))
    judge.new_messages = MessageChanges()


def fold_record(line: Connection, task: WhatIfTask) -> None:
    """The process that folds the code of the record: answers each mark with the states behind it."""

    async def run() -> None:
        app = InertApp(Path(task.app))
        reader = task.source.open()
        retold = RefoldedStates(reader, app.registry)
        while True:
            line.send(await retold.states(line.recv()))

    _work(line, run)


def _work(line: Connection, run: Callable[[], object]) -> None:
    """Until the other side is gone. An error of ours is the other side's to tell."""
    # what an app prints when it is imported goes where people read, not between the lines of JSON
    os.dup2(2, 1)
    try:
        asyncio.run(run())  # type: ignore[arg-type]  # both kinds of work are coroutines
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except RecordProcessFailed as failed:
        line.send(sendable(failed.error))
    except OnexError as error:
        line.send(sendable(error))
    except Exception as error:
        line.send(OnexError(f"a process of onex whatif failed: {type(error).__name__}: {error}"))
