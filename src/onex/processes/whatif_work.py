"""The two kinds of processes of ``onex whatif``: one folds the other code, one the code that made the record.

They are two, so that no module of one revision is imported where the other runs. Neither has an executor that does
anything: an effect that would leave is counted at the boundary, and never runs.

``fold_pages`` folds the other code. It sends CodeLoaded, then for each Page: PageRead, ActionsFolded now and then, and
PageResult. A MessageChanges in between tells it what other processes found. None ends it: it sends EffectsFired.
``fold_record`` answers each recorded state with the states behind it. It is started when the first state is asked for, since
most runs need none: its code is loaded only then.
"""

from __future__ import annotations

import time
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
from ..wiring.recorded import RecordedRun, RunSource
from .child_process import FoldingBroken, serve

PAGE = 100
"""Instances: what is read at once, and all that a process holds."""
REPORT_S = 0.2


class Since(NamedTuple):
    """Only instances changed at or after both: microseconds since 1970, a position in the log. 0: all."""

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
    """The code is loaded. ``correspondents``: workflow types that get messages from it, or outcomes of their messages."""

    correspondents: frozenset[str]


class PageRead(NamedTuple):
    """A page was read and is being folded. The next one begins behind ``last``; None: there is no next one."""

    last: WorkflowKey | None


class ActionsFolded(NamedTuple):
    """So many actions more were folded."""

    actions: int


class PageResult(NamedTuple):
    """The result of one page. ``lines`` are JSON, one for each instance that is not the same."""

    summary: WhatIfSummary
    lines: bytes
    messages: MessageChanges
    receivers: frozenset[str]


class EffectsFired(NamedTuple):
    """The last word of a process: how many effects came to the boundary while it folded."""

    effects: int


class RecordedStatesNeeded(NamedTuple):
    """Asks for the process that folds the record."""


class RecordProcessFailed(Exception):
    """The process that folds the record ended. No OnexError: that would be a result of the instance at hand."""

    def __init__(self, error: OnexError) -> None:
        super().__init__(error.message)
        self.error = error


class RemoteStates:
    """The recorded states, folded in a process of their own. Raises TellerFailed when its code cannot be loaded."""

    def __init__(self, parent: Connection, line: Connection) -> None:
        self._parent, self._line, self._asked = parent, line, False

    async def states(self, known: SnapshotRow) -> list[bytes]:
        if not self._asked:
            self._asked = True
            self._parent.send(RecordedStatesNeeded())
        try:
            self._line.send(known)
            answer: list[bytes] | OnexError = self._line.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise RecordProcessFailed(
                FoldingBroken(
                    "the process that folds the record ended and gave no reason; without APP it is not needed"
                )
            ) from error
        if isinstance(answer, OnexError):
            raise RecordProcessFailed(answer)
        return answer


def fold_pages(parent: Connection, task: WhatIfTask, line: Connection | None) -> None:
    """The process that folds the other code. ``line`` leads to the process that folds the record; None: there is none."""

    async def run() -> None:
        app = InertApp(Path(task.app))
        recorded = None if line is None else RemoteStates(parent, line)
        async with task.source.opened() as reader:
            what_if = WhatIf(reader, app.registry, recorded, reader.redacted_since)
            parent.send(CodeLoaded(what_if.correspondents))
            while (order := parent.recv()) is not None:
                if isinstance(order, MessageChanges):
                    what_if.messages.learn(order)
                    continue
                try:
                    await _fold_page(parent, task, what_if, reader, order)
                except RecordProcessFailed as failed:
                    raise failed.error from failed
            parent.send(EffectsFired(app.boundary.fired))
        app.close()

    serve(parent, run, "onex whatif")


async def _fold_page(parent: Connection, task: WhatIfTask, what_if: WhatIf, reader: RecordedRun, page: Page) -> None:
    rows = await reader.instances(page.workflow_type, None, page.after, PAGE)
    parent.send(PageRead(rows[-1].key if len(rows) == PAGE else None))
    summary, lines, went, reported_s = WhatIfSummary(task.kept), list[bytes](), what_if.actions, time.monotonic()
    for stored in rows:
        if not task.since.includes(stored):
            continue
        result = await what_if.instance(stored)
        summary.add(result)
        if task.each and result.branch is not EnumBranch.SAME:
            lines.append(orjson.dumps(instance_result_json(result), default=str, option=orjson.OPT_APPEND_NEWLINE))
        if time.monotonic() - reported_s > REPORT_S:
            parent.send(ActionsFolded(what_if.actions - went))
            went, reported_s = what_if.actions, time.monotonic()
    parent.send(ActionsFolded(what_if.actions - went))
    parent.send(PageResult(summary, b"".join(lines), what_if.new_messages, frozenset(what_if.receivers)))
    what_if.new_messages = MessageChanges()


def fold_record(line: Connection, task: WhatIfTask) -> None:
    """The process that folds the code of the record, until the process that asks is gone."""

    async def run() -> None:
        app = InertApp(Path(task.app))
        async with task.source.opened() as reader:
            recorded = RefoldedStates(reader, app.registry)
            while True:
                line.send(await recorded.states(line.recv()))

    serve(line, run, "onex whatif")
