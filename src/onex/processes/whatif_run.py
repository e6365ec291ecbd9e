"""Runs a what-if over the processes that fold: hands out pages, adds up what comes back, goes round until no message is new.

What this process holds is bounded: totals, a few examples per class of difference, and what messages are not sent any more.
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
from ..kernel.errors import OnexError
from ..whatif.messages import MessageChanges
from ..whatif.result import WhatIfSummary, merged
from .replay_work import FoldingBroken
from .spawn import SPAWN, started
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
"""Pages that may be done before one that began earlier; their lines wait, so that the output keeps the order of the keys."""
GONE_S: Final = 5.0

W = TypeVar("W", CodeLoaded, EffectsFired)


@dataclass(slots=True)
class WhatIfOutcome:
    """``rounds``: how often the receivers of messages were folded. ``lines`` is JSON, by key."""

    tally: WhatIfSummary
    fired: int
    rounds: int
    lines: Iterator[bytes] = field(default_factory=lambda: iter(()))


class _Folder:
    """One process that folds the other code, and the one beside it that folds the record, once it is asked for."""

    def __init__(self, task: WhatIfTask, record: WhatIfTask | None) -> None:
        self.parent, end = SPAWN.Pipe()
        self._record = record
        line: Connection | None = None
        self._teller_end: Connection | None = None
        if record is not None:
            line, self._teller_end = SPAWN.Pipe()
        self.process = started(fold_pages, end, task, line)
        self._teller: BaseProcess | None = None
        end.close()
        if line is not None:
            line.close()
        self.page: int | None = None  # the number of the one it works on

    def start_teller(self) -> None:
        assert self._record is not None and self._teller_end is not None, "only who has a line asks for it"
        self._teller = started(fold_record, self._teller_end, self._record)
        self._teller_end.close()

    def close(self, grace_s: float) -> None:
        """Ends both. What still folds after ``grace_s`` is killed: it only reads, so there is nothing to break."""
        self.parent.close()
        if self._teller is None and self._teller_end is not None:
            self._teller_end.close()
        for process in (self.process, self._teller):
            if process is not None:
                process.join(grace_s)
                if process.is_alive():
                    process.kill()
                    process.join()
                process.close()


class WhatIfRun:
    """One what-if over the workflow types ``types``. ``went`` hears of every few thousand actions, ``again`` of a new round."""

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
        self._tallies = {name: WhatIfSummary(task.kept) for name in self._types}
        self._lines: dict[str, IO[bytes]] = {}
        self._post, self._fed = MessageChanges(), set[str]()

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
        return WhatIfOutcome(merged(self._tallies.values(), self._task.kept), fired, rounds, self._written())

    def _rounds(self, folders: Sequence[_Folder]) -> int:
        todo, number = self._types, 1
        for folder in folders:
            self._fed |= self._take(folder, CodeLoaded).correspondents
        while todo:
            news = _Round(self, folders, todo).run()
            fresh = self._post.learn(news)
            todo = [name for name in self._types if name in self._fed] if fresh else []
            if todo:
                number += 1
                self._again(number)
                for folder in folders:
                    folder.parent.send(fresh)
        return number

    def _end(self, folder: _Folder) -> int:
        folder.parent.send(None)
        return self._take(folder, EffectsFired).effects

    def _take(self, folder: _Folder, kind: type[W]) -> W:
        word = received(folder)
        assert isinstance(word, kind), f"{kind.__name__} is due, {type(word).__name__} came"
        return word

    # --- what a round changes ---------------------------------------------------------------------------------------------

    def forget(self, name: str) -> None:
        self._tallies[name] = WhatIfSummary(self._task.kept)
        if (file := self._lines.get(name)) is not None:
            file.seek(0)
            file.truncate()

    def add(self, name: str, folded: PageResult) -> None:
        self._tallies[name].merge(folded.tally)
        self._fed |= folded.fed
        if folded.lines:
            if name not in self._lines:
                self._lines[name] = TemporaryFile()  # noqa: SIM115  # it lives until its lines are written
            self._lines[name].write(folded.lines)

    def went(self, actions: int) -> None:
        self._went(actions)

    def _written(self) -> Iterator[bytes]:
        for name in self._types:
            if (file := self._lines.get(name)) is not None:
                with file:
                    file.seek(0)
                    yield from file


class _Round:
    """Every page of some types, once: one process reads while the others fold, so that no page is read twice."""

    def __init__(self, run: WhatIfRun, folders: Sequence[_Folder], types: Sequence[str]) -> None:
        self._run, self._folders = run, folders
        self._next: deque[tuple[str, WorkflowKey | None]] = deque((name, None) for name in types)
        self._done: dict[int, tuple[str, PageResult]] = {}
        self._names: dict[int, str] = {}
        self._given = self._added = 0
        self._reading: _Folder | None = None
        self._news = MessageChanges()
        for name in types:
            run.forget(name)

    def run(self) -> MessageChanges:
        while True:
            self._give()
            busy = {folder.parent: folder for folder in self._folders if folder.page is not None}
            if not busy:
                return self._news
            for ready in wait(list(busy)):
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
                folder.parent.send(Page(name, after))

    def _hear(self, folder: _Folder) -> None:
        word = received(folder)
        assert folder.page is not None, "who has no page says nothing"
        if isinstance(word, PageRead):
            self._reading = None
            if word.last is not None:
                self._next.appendleft((self._names[folder.page], word.last))
        elif isinstance(word, ActionsFolded):
            self._run.went(word.actions)
        elif isinstance(word, RecordedStatesNeeded):
            folder.start_teller()
        elif isinstance(word, PageResult):
            self._done[folder.page] = (self._names.pop(folder.page), word)
            folder.page = None
            self._news.learn(word.news)
            while self._added in self._done:
                self._run.add(*self._done.pop(self._added))
                self._added += 1


def received(folder: _Folder) -> object:
    """Its next word. Raises the OnexError it ended with, FoldingBroken when it ended without one."""
    try:
        word: object = folder.parent.recv()
    except (EOFError, ConnectionResetError) as error:
        folder.process.join(GONE_S)
        code = folder.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        raise FoldingBroken(
            f"a process that folded ended with {how} and did not say why; was the machine out of memory?"
        ) from error
    if isinstance(word, OnexError):
        raise word
    return word
