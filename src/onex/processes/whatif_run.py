"""Runs a what-if over the processes that fold: hands out pages, adds up results, repeats until no message is new.

Order of one run:

1. Each process is started and loads the other code. It answers with the workflow types that messages go to or from.
2. A round folds every page of some types, in the first round of all types. One process at a time reads its page, and says
   where the next one begins; then it folds while another reads. So no page is read twice, and pages come back in any order.
3. Results are added in the order of the pages, so the output has the order of the keys. At most ``AHEAD`` pages wait.
4. What the round found of messages goes to every process. If some was new, the types that receive messages are folded
   again, and their results of the round before are dropped. Messages found only grow, so the rounds end.
5. Each process says how many effects came to its boundary, and ends. The sum is to be 0.

What this process holds is bounded: totals, a few examples per class of difference, and the messages that differ. Lines of
JSON wait in temporary files. What may go wrong in a process is in ``child_process.py``; its error ends the whole run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from tempfile import TemporaryFile
from typing import IO, Final, TypeVar

from ..kernel.action import WorkflowKey
from ..whatif.messages import MessageChanges
from ..whatif.result import WhatIfSummary, merged
from ..wiring.recorded import RunSource
from .child_process import GONE_S, SPAWN, Child, end, started
from .whatif_work import (
    ActionsFolded,
    CodeLoaded,
    EffectsFired,
    Page,
    PageRead,
    PageResult,
    RecordedStatesNeeded,
    WhatIfTask,
    fold_pages,
    fold_record,
)

AHEAD: Final = 64
"""Pages that may be done before one that began earlier."""
LOOK_S: Final = 0.25
"""So often at least ``went`` is called, with 0 actions where none came: it may raise, and so end a run whose code hangs."""

W = TypeVar("W", CodeLoaded, EffectsFired)


@dataclass(slots=True)
class WhatIfOutcome:
    """``rounds``: how often the receivers of messages were page. ``lines`` is JSON, by key."""

    tally: WhatIfSummary
    fired: int
    rounds: int
    lines: Iterator[bytes] = field(default_factory=lambda: iter(()))


async def extent_of(source: RunSource, of_type: str | None) -> tuple[list[str], int]:
    """The workflow types in the source, and how many actions it has."""
    found: list[str] = []
    after = None
    async with source.opened() as run:
        while rows := await run.instances(of_type, None, after, 1):
            found.append(rows[0].key.workflow_type)
            after = WorkflowKey(f"{found[-1]}\x01", "")  # behind all of this type, before any of the next
        return found, run.actions


class _Folder:
    """One process that folds the other code. Beside it one that folds the record, started when the first asks for it."""

    def __init__(self, task: WhatIfTask, record: WhatIfTask | None) -> None:
        self._record = record
        line: Connection | None = None
        self._record_end: Connection | None = None
        if record is not None:
            line, self._record_end = SPAWN.Pipe()
        self.child = Child(fold_pages, task, line)
        self._record_process: BaseProcess | None = None
        if line is not None:
            line.close()
        self.page: int | None = None  # the number of the one it works on

    def start_record(self) -> None:
        assert self._record_end is not None, "only a process with a line to the record asks for it"
        self._record_process = started(fold_record, self._record_end, self._record)
        self._record_end.close()

    def close(self, grace_s: float) -> None:
        """Ends both. What still folds after ``grace_s`` is killed: it only reads, so nothing is left half written."""
        self.child.close(grace_s)
        if self._record_process is not None:
            end(self._record_process, grace_s)
        elif self._record_end is not None:
            self._record_end.close()


class WhatIfRun:
    """One what-if over ``types``, workflow types. ``went`` is called with actions folded, ``again`` with a new round's number."""

    def __init__(
        self,
        task: WhatIfTask,
        record: WhatIfTask | None,
        types: Sequence[str],
        *,
        processes: int = 1,
        went: Callable[[int], None] = lambda actions: None,
        again: Callable[[int], None] = lambda number: None,
    ) -> None:
        self._task, self._record, self._types = task, record, sorted(types)
        self._processes = processes
        self._went, self._again = went, again
        self._summaries = {name: WhatIfSummary(task.kept) for name in self._types}
        self._lines: dict[str, IO[bytes]] = {}
        self._messages, self._receivers = MessageChanges(), set[str]()

    def run(self) -> WhatIfOutcome:
        """Raises OnexError: what a process raised, or FoldingBroken."""
        if not self._types:
            return WhatIfOutcome(WhatIfSummary(self._task.kept), 0, 0)
        folders: list[_Folder] = []
        grace_s = 0.0
        try:
            for _ in range(self._processes):
                folders.append(_Folder(self._task, self._record))
            rounds = self._rounds(folders)
            fired = sum(self._end(folder) for folder in folders)
            grace_s = GONE_S
        finally:
            for folder in folders:
                folder.close(grace_s)
        return WhatIfOutcome(self.tally, fired, rounds, self._written())

    @property
    def tally(self) -> WhatIfSummary:
        """What was added up so far: of a run that ``went`` has ended, too."""
        return merged(self._summaries.values(), self._task.kept)

    def _rounds(self, folders: Sequence[_Folder]) -> int:
        todo, number = self._types, 1
        for folder in folders:
            self._receivers |= self._take(folder, CodeLoaded).correspondents
        while todo:
            found = _Round(self, folders, todo).run()
            fresh = self._messages.learn(found)
            todo = [name for name in self._types if name in self._receivers] if fresh else []
            if todo:
                number += 1
                self._again(number)
                for folder in folders:
                    folder.child.line.send(fresh)
        return number

    def _end(self, folder: _Folder) -> int:
        folder.child.line.send(None)
        return self._take(folder, EffectsFired).effects

    def _take(self, folder: _Folder, kind: type[W]) -> W:
        while not folder.child.line.poll(LOOK_S):
            self._went(0)
        word = folder.child.receive()
        assert isinstance(word, kind), f"{kind.__name__} is due, {type(word).__name__} came"
        return word

    # --- called by a round ---------------------------------------------------------------------------------------------

    def forget(self, name: str) -> None:
        self._summaries[name] = WhatIfSummary(self._task.kept)
        if (file := self._lines.get(name)) is not None:
            file.seek(0)
            file.truncate()

    def add(self, name: str, page: PageResult) -> None:
        self._summaries[name].merge(page.summary)
        self._receivers |= page.receivers
        if page.lines:
            if name not in self._lines:
                self._lines[name] = TemporaryFile()  # noqa: SIM115  # open until its lines are written
            self._lines[name].write(page.lines)

    def went(self, actions: int) -> None:
        self._went(actions)

    def _written(self) -> Iterator[bytes]:
        for name in self._types:
            if (file := self._lines.get(name)) is not None:
                with file:
                    file.seek(0)
                    yield from file


class _Round:
    """Every page of some types, once."""

    def __init__(self, run: WhatIfRun, folders: Sequence[_Folder], types: Sequence[str]) -> None:
        self._run, self._folders = run, folders
        self._next: deque[tuple[str, WorkflowKey | None]] = deque((name, None) for name in types)
        self._done: dict[int, tuple[str, PageResult]] = {}
        self._names: dict[int, str] = {}
        self._given = self._added = 0
        self._reading: _Folder | None = None
        self._found = MessageChanges()
        for name in types:
            run.forget(name)

    def run(self) -> MessageChanges:
        while True:
            self._give()
            busy = {folder.child.line: folder for folder in self._folders if folder.page is not None}
            if not busy:
                return self._found
            heard = wait(list(busy), LOOK_S)
            if not heard:
                self._run.went(0)
            for ready in heard:
                assert isinstance(ready, Connection), "only connections are waited for"
                self._hear(busy[ready])

    def _give(self) -> None:
        for folder in self._folders:
            ahead = self._given - self._added >= AHEAD
            if folder.page is None and self._next and self._reading is None and not ahead:
                name, after = self._next.popleft()
                folder.page, self._reading = self._given, folder
                self._names[self._given] = name
                self._given += 1
                folder.child.line.send(Page(name, after))

    def _hear(self, folder: _Folder) -> None:
        word = folder.child.receive()
        assert folder.page is not None, "a process without a page sends nothing"
        if isinstance(word, PageRead):
            self._reading = None
            if word.last is not None:
                self._next.appendleft((self._names[folder.page], word.last))
        elif isinstance(word, ActionsFolded):
            self._run.went(word.actions)
        elif isinstance(word, RecordedStatesNeeded):
            folder.start_record()
        elif isinstance(word, PageResult):
            self._done[folder.page] = (self._names.pop(folder.page), word)
            folder.page = None
            self._found.learn(word.messages)
            while self._added in self._done:
                self._run.add(*self._done.pop(self._added))
                self._added += 1
