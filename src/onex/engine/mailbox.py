"""Mailbox: one instance as this process holds it, and the actions that wait for it in order.

Mutable on purpose and never shared: an ``Entry`` is a cache of the stored state, dropped whenever the store says otherwise.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel

from ..kernel.action import WorkflowKey
from ..kernel.errors import DuplicateActionError, OnexError
from ..kernel.step import State
from ..ports import LogRow, NewBlob, Pointer, Position
from .registry import ReducerRegistry, Workflow


class Committed(NamedTuple):
    """An action is durable. ``duplicate``: it was so before this call, and this is the first answer again."""

    key: WorkflowKey
    version: int
    position: Position
    status: str
    duplicate: bool = False


Answer = Committed | OnexError


class Pending:
    """An accepted action on its way to a commit. ``settles`` is the outbox row that an outcome or timer ends."""

    __slots__ = (
        "_waiters",
        "accepted_s",
        "answer",
        "blobs",
        "body",
        "body_hash",
        "cause",
        "correlation",
        "epoch",
        "expected_version",
        "expires_us",
        "given_id",
        "id",
        "issued_us",
        "issuer",
        "judged",
        "key",
        "kind",
        "lease_id",
        "payload",
        "refusal",
        "sent",
        "settles",
        "ticket",
        "timer",
        "tries",
    )

    def __init__(
        self,
        key: WorkflowKey,
        kind: str,
        payload: BaseModel,
        *,
        id: bytes,
        given_id: bool,
        issued_us: int,
        correlation: bytes,
        body: bytes,
        body_hash: bytes,
        accepted_s: float,
        issuer: str = "",
        cause: bytes | None = None,
        expires_us: int = 0,
        lease_id: bytes | None = None,
        epoch: int | None = None,
        expected_version: int | None = None,
        settles: Pointer | None = None,
        timer: str = "",
        blobs: tuple[NewBlob, ...] = (),
        ticket: int = 0,
    ) -> None:
        self.key = key
        self.kind = kind
        self.payload = payload
        self.id = id
        self.given_id = given_id
        self.issued_us = issued_us
        self.correlation = correlation
        self.body = body
        self.body_hash = body_hash
        self.accepted_s = accepted_s
        self.issuer = issuer
        self.cause = cause
        self.expires_us = expires_us
        self.lease_id = lease_id
        self.epoch = epoch
        self.expected_version = expected_version
        self.settles = settles
        self.timer = timer
        self.blobs = blobs
        self.ticket = ticket
        self.sent = False  # an action_send: judged like anybody's action, though it settles a row
        self.tries = 0
        self.judged = False
        """A handler has seen the payload, and may have changed it: whoever is asked again gets it from its bytes."""
        self.refusal: OnexError | None = None
        self.answer: Answer | None = None
        self._waiters: tuple[asyncio.Future[None], ...] = ()

    async def answered(self) -> Answer:
        """Wait for the answer; a cancelled wait withdraws nothing."""
        while self.answer is None:
            # a future of its own: others may wait for the same action, and cancelling one must not answer them
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters += (future,)
            await future
        return self.answer

    def is_of(self, row: LogRow) -> bool:
        """Whether ``row``, applied under the same id, is this action: the same body, or the same message of the same intent.

        A message of ours that is sent again after a release may be called otherwise, or carry what a migration made of it.
        """
        again = self.sent and self.cause is not None and (row.cause, row.issuer) == (self.cause, self.issuer)
        return row.body_hash == self.body_hash or again

    def reused(self) -> DuplicateActionError:
        """Its refusal, when its id stands for another body."""
        return DuplicateActionError(
            f"action id {self.id.hex()} was used before for {self.key} with another body; send a new id",
            action_id=self.id.hex(),
        )

    def resolve(self, answer: Answer) -> None:
        self.answer = answer
        for future in self._waiters:
            if not future.done():
                future.set_result(None)


# What takes up memory beside the bytes of a state, in CPython 3.11: an entry with its key and what stands in it of an
# instance; an object with its fields' names; a value of a list or field.
ENTRY_BYTES = 1000
OBJECT_BYTES = 450
VALUE_BYTES = 40
BUSY_AT_ONCE = 256


class Entry:
    """The current state of one instance, decoded, ahead of the store only while its batch is being written."""

    __slots__ = (
        "code_id",
        "epoch",
        "failures",
        "held",
        "inflight",
        "instance",
        "key",
        "last_us",
        "lease_id",
        "lease_until_us",
        "loaded",
        "queue",
        "queued",
        "release",
        "state",
        "state_bytes",
        "state_hash",
        "state_schema",
        "terminal",
        "timers",
        "unreadable",
        "version",
        "weighed",
        "weight",
        "workflow",
    )

    def __init__(self, key: WorkflowKey, workflow: Workflow) -> None:
        self.key = key
        self.workflow = workflow
        self.queue: list[Pending] = []  # an empty deque has ten times its bytes, and most instances wait for nothing
        self.weight, self.weighed = ENTRY_BYTES, 0
        self.inflight: dict[bytes, Pending] = {}
        self.queued = False
        self.release = False
        self.forget()

    def forget(self) -> None:
        """Back to "not loaded": what the store says is asked again before the next fold."""
        self.loaded = False
        self.instance: int | None = None
        self.version = 0
        self.epoch = 0
        self.state: State | None = None
        self.state_bytes = b""
        self.state_schema = 0
        self.state_hash = b""
        self.terminal = False
        self.code_id = 0
        self.last_us = 0
        self.failures = 0
        self.held = ""
        self.lease_id: bytes | None = None
        self.lease_until_us = 0
        self.timers: dict[str, tuple[Pointer, int]] = {}
        self.unreadable: OnexError | None = None

    def weigh(self) -> int:
        """How many bytes more it takes up than when it was last weighed, which it is again when its state has grown or
        shrunk by an eighth. From the state's canonical bytes: what decodes them makes an object of each brace, a value of
        each comma. Measured on states of many shapes, this is within a third of what they take, or above it."""
        data = self.state_bytes
        if abs(len(data) - self.weighed) * 8 <= self.weighed:
            return 0
        self.weighed, before = len(data), self.weight
        decoded = len(data) + OBJECT_BYTES * data.count(b"{") + VALUE_BYTES * data.count(b",")
        self.weight = ENTRY_BYTES + len(data) + decoded
        return self.weight - before


class Mailboxes:
    """Every instance this process holds, least recently used first, and those with something to do, in their turn.

    ``bytes`` is what they take up in memory, as far as it can be told without looking at each.
    """

    def __init__(self, registry: ReducerRegistry) -> None:
        self.bytes = 0
        self._registry = registry
        self._last_taken: Sequence[tuple[Entry, list[Pending]]] = ()
        self._entries: OrderedDict[WorkflowKey, Entry] = OrderedDict()
        self._ready: deque[Entry] = deque()

    def __getitem__(self, key: WorkflowKey) -> Entry:
        """The mailbox of this key, a new one if need be. Raises UnknownWorkflow."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(key, self._registry[key.workflow_type])
            self.bytes += entry.weight
        else:
            self._entries.move_to_end(key)
        return entry

    def find(self, key: WorkflowKey) -> Entry | None:
        return self._entries.get(key)

    @property
    def ready(self) -> bool:
        return bool(self._ready)

    def enqueue(self, entry: Entry) -> None:
        if not entry.queued:
            entry.queued = True
            self._ready.append(entry)

    def take(self, room: int) -> list[tuple[Entry, list[Pending]]]:
        """The next batch: at most ``room`` actions of as many keys as it takes."""
        self._weigh()
        taken: list[tuple[Entry, list[Pending]]] = []
        for _ in range(len(self._ready)):
            entry = self._ready.popleft()
            queue = entry.queue
            if len(queue) <= room:
                pendings = list(queue)
                queue.clear()
                entry.queued = False
            else:
                pendings = queue[:room]
                del queue[:room]
                self._ready.append(entry)
            room -= len(pendings)
            taken.append((entry, pendings))
            if room <= 0:
                break
        self._last_taken = taken
        return taken

    def put_back(self, entry: Entry, pendings: Sequence[Pending], *, maybe_applied: bool = False) -> None:
        """To the front of the mailbox, in order. What may be in the log is looked up before it is refused."""
        entry.forget()
        for pending in pendings:
            pending.given_id = pending.given_id or maybe_applied
        entry.queue[:0] = pendings
        if (pendings or entry.release) and not entry.queued:
            entry.queued = True
            self._ready.appendleft(entry)

    def withdraw(self, pending: Pending) -> None:
        """It waits no more: it has its answer. Only for one that was put back."""
        self._entries[pending.key].queue.remove(pending)

    def pause(self, entry: Entry) -> None:
        """Out of its turn, with whatever comes for it meanwhile, until it is reopened. Only for one that is ready."""
        self._ready.remove(entry)

    def resume(self, entry: Entry) -> None:
        self._ready.append(entry)

    def evict(self, most: int, most_bytes: int) -> None:
        """Lets go of the least recently used beyond ``most`` instances or ``most_bytes``, as far as nothing waits for them.

        Between two batches. One that is in use goes to the back, so that it is not looked at again and again.
        """
        self._weigh()
        entries, busy = self._entries, 0
        while (len(entries) > most or self.bytes > most_bytes) and busy < min(len(entries), BUSY_AT_ONCE):
            key = next(iter(entries))
            entry = entries[key]
            if entry.inflight or entry.queued or entry.release:
                entries.move_to_end(key)
                busy += 1
            else:
                del entries[key]
                self.bytes -= entry.weight

    def _weigh(self) -> None:
        """What the last batch has made of its instances. None of them was let go since."""
        self.bytes += sum([entry.weigh() for entry, _ in self._last_taken])
        self._last_taken = ()

    def clear(self) -> list[Pending]:
        """Lets go of everything; the actions that waited."""
        left = [pending for entry in self._entries.values() for pending in entry.queue]
        self._entries.clear()
        self._ready.clear()
        self._last_taken, self.bytes = (), 0
        return left
