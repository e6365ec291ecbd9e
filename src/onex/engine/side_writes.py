"""Side writes: what the next commit writes beside its actions: outbox rows changed or ended, rejections, inbox answers, releases.

What is given here before a commit fails goes along with the next one. So whoever waits for it (``note_durably``, ``release``) is
answered once, when it is durable, or with the error that ended the engine.

What is given for a row of a shard that is not ours (any more) is dropped: its owner finds the row as the last commit left it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError, OwnershipLost
from ..ports import Attempt, InboxAnswer, Note, Pointer, Rejection
from .batch import Extras
from .mailbox import Entry, Mailboxes


class SideWrites(ABC):
    """The part of the writer that takes these in. Its methods may be called at any time, also while a commit runs."""

    closed: OnexError | None
    _mailboxes: Mailboxes
    _task: asyncio.Task[None] | None

    def __init__(self) -> None:
        self._extras = Extras.empty()
        self._fences: dict[int, int] = {}
        self._row_writes: list[tuple[Pointer, asyncio.Future[None]]] = []
        self._released: list[tuple[Entry, asyncio.Future[None]]] = []

    @abstractmethod
    def _wake_writer(self) -> None:
        """There is something to write."""

    @abstractmethod
    def not_here(self, shard: int) -> OwnershipLost | None:
        """Why nothing new is accepted for this shard; None when it is."""

    @property
    def fences(self) -> Mapping[int, int]:
        """The shards that this engine has, each with what it was taken with."""
        return self._fences

    def has(self, shard: int) -> bool:
        """Whether this engine has the shard: it may write there."""
        return shard in self._fences

    def note(self, note: Note) -> None:
        """Change an outbox row with the next commit."""
        if note.pointer.shard in self._fences:
            self._extras.notes.append(note)
            self._wake_writer()

    def forget_notes(self, pointers: Sequence[Pointer], saying: str = "") -> None:
        """Their rows have a state that no note of an earlier try, or none that says so, may change any more."""
        self._extras.notes[:] = [
            note for note in self._extras.notes if note.pointer not in pointers or not note.error.startswith(saying)
        ]

    def note_durably(self, note: Note) -> asyncio.Future[None]:
        """The same; await the future until it is durable. Raises EngineClosed, OwnershipLost."""
        self._check_running()
        if note.pointer.shard not in self._fences:
            raise OwnershipLost("the shard of this row belongs to another worker now", shard=note.pointer.shard)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._row_writes.append((note.pointer, future))
        self.note(note)
        return future

    def tried(self, attempt: Attempt) -> None:
        """Keep what came of a try of an intent, with the next commit."""
        if attempt.pointer.shard in self._fences:
            self._extras.attempts.append(attempt)
            self._wake_writer()

    def reject(self, rejection: Rejection) -> None:
        """Record input that has no readable key."""
        self._extras.rejections.append(rejection)
        self._wake_writer()

    def answer(self, answer: InboxAnswer) -> None:
        """Turn an inbox row into its answer with the next commit."""
        if answer.shard in self._fences:
            self._extras.answers.append(answer)
            self._wake_writer()

    def settle(self, pointer: Pointer) -> None:
        """Delete the row of an intent that has no outcome to deliver, with the next commit."""
        if pointer.shard in self._fences:
            self._extras.settled.append(pointer)
            self._wake_writer()

    async def release(self, key: WorkflowKey) -> None:
        """Let a held instance take actions again; durable when it returns. Raises UnknownWorkflow, EngineClosed, OwnershipLost."""
        self._check_running()
        entry = self._mailboxes[key]
        elsewhere = self.not_here(entry.shard)
        if elsewhere is not None:
            raise elsewhere
        entry.release = True
        self._mailboxes.enqueue(entry)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._released.append((entry, future))
        self._wake_writer()
        await future

    def _check_running(self) -> None:
        """Raises EngineClosed, OwnershipLost when there will be no further commit."""
        if self.closed is not None and (self._task is None or self._task.done()):
            raise self.closed


def finish(waiting: Sequence[asyncio.Future[None]], error: OnexError | None = None) -> None:
    """Answer those who wait for a commit: it is durable, or (``error``) there will be none."""
    for future in waiting:
        if not future.done():
            future.set_result(None) if error is None else future.set_exception(error)
