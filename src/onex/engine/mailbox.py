"""Mailbox: one instance as this process holds it, and the actions that wait for it in order.

An ``Entry`` has two parts. Its queue holds what was accepted and is in no batch: first in, first out, and an instance has at most
one batch at a time, so the order of one sender holds. ``loaded`` is the instance itself, a cache of the store. It is replaced by
each fold, before the commit: while that runs it is ahead of the store. If the commit fails it is forgotten, never repaired.

``Mailboxes`` holds the entries, least recently used first, and the turn in which those with something to do are taken. An
instance that has more actions than a batch has room for goes to the end of the turn with the rest, so no key starves another.

What may go wrong, and why the end is still right:

- A batch is put back: to the front of the queue in its old order, so nothing overtakes it. ``retries`` remembers what is known of
  each action until it is answered: how often it met a conflict, and whether it may be applied already.
- A conflict's instance waits: it is paused, out of the turn, and what comes for it queues behind.
- The same id comes again while the first is in flight: ``inflight`` finds it, and both get one answer.
- Memory is full: entries in which nobody waits are let go. What memory they take is estimated from the bytes of the state.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Container, Mapping, Sequence, Set
from typing import Final, NamedTuple

from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError, StateConsistencyError
from ..kernel.route import shard_of
from ..kernel.step import State
from ..kernel.user_code import caught
from ..ports import Stored
from .pending import Pending
from .quotas import quota_use
from .registry import ReducerRegistry, Workflow
from .schema_upgrade import TimerWait, current_timers, stored_state

# What takes up memory beside the bytes of a state, in CPython 3.11: an entry with its key and what stands in it of an
# instance; an object with its fields' names; a value of a list or field.
ENTRY_BYTES = 1000
OBJECT_BYTES = 450
VALUE_BYTES = 40
BUSY_AT_ONCE = 256
NO_TIMERS: Final[Mapping[str, TimerWait]] = {}


class Loaded(NamedTuple):
    """One instance as this process knows it: its stored row with the state decoded.

    It is replaced as a whole, never changed. While a batch is being written it is ahead of the store by that batch.
    ``unreadable``: why the stored state cannot be used; every action of the instance is refused with it.
    """

    instance: int | None = None
    version: int = 0
    epoch: int = 0
    state: State | None = None
    state_bytes: bytes = b""
    state_schema: int = 0
    state_hash: bytes = b""
    terminal: bool = False
    code_id: int = 0
    last_us: int = 0
    failures: int = 0
    held: str = ""
    lease_id: bytes | None = None
    lease_until_us: int = 0
    timers: Mapping[str, TimerWait] = NO_TIMERS
    unreadable: OnexError | None = None


class Entry:
    """The mailbox of one instance: who waits in it, and the instance as it was last loaded or folded, or None."""

    __slots__ = (
        "inflight", "key", "loaded", "queue", "queued", "release", "shard", "use", "weighed", "weight", "workflow",
    )  # fmt: skip

    def __init__(self, key: WorkflowKey, workflow: Workflow, shard: int = 0) -> None:
        self.key, self.shard, self.workflow = key, shard, workflow
        self.use = quota_use(workflow.limits)
        self.queue: list[Pending] = []  # an empty deque has ten times its bytes, and most instances wait for nothing
        self.weight, self.weighed = ENTRY_BYTES, 0
        self.inflight: dict[bytes, Pending] = {}
        self.queued = self.release = False
        self.loaded: Loaded | None = None

    def forget(self) -> None:
        """The store is asked again before the next fold."""
        self.loaded = None

    def _decoded(
        self, version: int, schema: int, data: bytes, waits: Mapping[str, TimerWait]
    ) -> tuple[State | None, Mapping[str, TimerWait], OnexError | None]:
        """State, timers, and why the state cannot be read. Raises nothing."""
        state, timers = None, NO_TIMERS
        try:
            if waits:
                timers = current_timers(self.workflow, waits)
            state = stored_state(self.workflow, schema, data) if version else self.initial_state()
        except OnexError as error:
            return None, timers, error
        except BaseException as error:  # user code may raise anything: a validator of the state, a migration
            why = f"the stored state of {self.key} cannot be read: {caught(error)}"
            return None, timers, StateConsistencyError(why)
        return state, timers, None

    def run_on(self, workflow: Workflow) -> None:
        """From now on this version judges it: its state, as the last fold left it, is decoded again. Raises nothing."""
        loaded = self.loaded
        assert loaded is not None, "a version is chosen for what was loaded"
        self.workflow, self.use = workflow, quota_use(workflow.limits)
        if self.use is not None:
            self.use.loaded(loaded.version)
        state, timers, unreadable = self._decoded(
            loaded.version, loaded.state_schema, loaded.state_bytes, loaded.timers
        )
        self.loaded = loaded._replace(state=state, timers=timers, unreadable=unreadable)

    def load(self, stored: Stored | None) -> Loaded:
        """Take what the store holds. Raises nothing: what this code cannot read becomes ``unreadable``."""
        version, schema, data = (0, 0, b"") if stored is None else (stored.version, stored.state_schema, stored.state)
        state, timers, unreadable = self._decoded(version, schema, data, NO_TIMERS if stored is None else stored.timers)
        if stored is None:
            self.loaded = Loaded(None, 0, 0, state, unreadable=unreadable)
        else:
            self.loaded = Loaded(
                instance=stored.instance,
                version=version,
                epoch=stored.epoch,
                state=state,
                state_bytes=stored.state,
                state_schema=stored.state_schema,
                state_hash=stored.state_hash,
                terminal=stored.terminal,
                code_id=stored.code_id,
                last_us=stored.last_us,
                failures=stored.failures,
                held=stored.held,
                lease_id=stored.lease_id,
                lease_until_us=stored.lease_until_us,
                timers=timers,
                unreadable=unreadable,
            )
        return self.loaded

    def initial_state(self) -> State:
        """Raises StateConsistencyError, and the OnexError that the reducer raises."""
        try:
            state: State = self.workflow.reducer.initial()
            return state
        except OnexError:
            raise
        except BaseException as error:
            raise StateConsistencyError(f"{self.key} has no state to begin with: {caught(error)}") from error

    def weigh(self) -> int:
        """How many bytes more it takes up than when it was last weighed, which it is again when its state has grown or
        shrunk by an eighth. From the state's canonical bytes: what decodes them makes an object of each brace, a value of
        each comma. Measured on states of many shapes, this is within a third of what they take, or above it."""
        data = self.loaded.state_bytes if self.loaded is not None else b""
        if abs(len(data) - self.weighed) * 8 <= self.weighed:
            return 0
        self.weighed, before = len(data), self.weight
        decoded = len(data) + OBJECT_BYTES * data.count(b"{") + VALUE_BYTES * data.count(b",")
        self.weight = ENTRY_BYTES + len(data) + decoded
        return self.weight - before


class Retry(NamedTuple):
    """What is known of an action that was in a batch before and was put back. Its payload may have been changed in place
    by a handler, so the next fold reads it from its bytes."""

    conflicts: int = 0
    maybe_applied: bool = False


FIRST_RETRY = Retry()


class Mailboxes:
    """Every instance this process holds, least recently used first, and those with something to do, in their turn.

    ``bytes`` is what they take up in memory, as far as it can be told without looking at each.
    """

    def __init__(self, registry: ReducerRegistry, shards: int = 1) -> None:
        self.bytes, self._shards, self._registry = 0, shards, registry
        self.retries: dict[Pending, Retry] = {}
        self._last_taken: Sequence[tuple[Entry, list[Pending]]] = ()
        self.entries: OrderedDict[WorkflowKey, Entry] = OrderedDict()
        self._ready: deque[Entry] = deque()

    def __getitem__(self, key: WorkflowKey) -> Entry:
        """The mailbox of this key, a new one if need be. Raises UnknownWorkflow."""
        entry = self.entries.get(key)
        if entry is None:
            entry = Entry(key, self._registry[key.workflow_type], shard_of(key, self._shards))
            self.entries[key] = entry
            self.bytes += entry.weight
        else:
            self.entries.move_to_end(key)
        return entry

    def find(self, key: WorkflowKey) -> Entry | None:
        return self.entries.get(key)

    @property
    def ready(self) -> bool:
        return bool(self._ready)

    @property
    def is_one_ready(self) -> bool:
        return len(self._ready) == 1

    def enqueue(self, entry: Entry) -> None:
        if not entry.queued:
            entry.queued = True
            self._ready.append(entry)

    def take(self, room: int, busy: Container[Entry] = ()) -> list[tuple[Entry, list[Pending]]]:
        """The next actions: at most ``room``, of as many keys as it takes, none of ``busy``: these keep their turn."""
        self._weigh()
        taken: list[tuple[Entry, list[Pending]]] = []
        skipped: list[Entry] = []
        for _ in range(len(self._ready)):
            entry = self._ready.popleft()
            if entry in busy:
                skipped.append(entry)
                continue
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
        self._ready.extendleft(reversed(skipped))
        self._last_taken = taken
        return taken

    def put_back(self, entry: Entry, pendings: Sequence[Pending], *, maybe_applied: bool = False) -> None:
        """To the front of the mailbox, in order. What may be in the log is looked up before it is refused."""
        entry.forget()
        for pending in pendings:
            before = self.retries.get(pending, FIRST_RETRY)
            self.retries[pending] = before._replace(maybe_applied=before.maybe_applied or maybe_applied)
        entry.queue[:0] = pendings
        if (pendings or entry.release) and not entry.queued:
            entry.queued = True
            self._ready.appendleft(entry)

    def count_conflict(self, pending: Pending) -> None:
        before = self.retries.get(pending, FIRST_RETRY)
        self.retries[pending] = before._replace(conflicts=before.conflicts + 1)

    def withdraw(self, pending: Pending) -> None:
        """It waits no more: it has its answer. Only for one that was put back."""
        self.entries[pending.key].queue.remove(pending)

    def withdraw_all(self, entry: Entry, pendings: list[Pending]) -> list[Pending]:
        """The same for some that wait in one mailbox. Gives them back."""
        entry.queue[:] = [one for one in entry.queue if one not in pendings]
        return pendings

    def pause(self, entry: Entry) -> None:
        """Out of its turn, with whatever comes for it meanwhile, until it is reopened. Only for one that is ready."""
        self._ready.remove(entry)

    def resume(self, entry: Entry) -> None:
        self._ready.append(entry)

    def evict(self, most: int, most_bytes: int, folded: Container[Entry] = ()) -> None:
        """Lets go of the least recently used beyond ``most`` instances or ``most_bytes``, as far as nothing waits for them.
        ``folded`` are in a batch that is not committed.

        Between two batches. One that is in use goes to the back, so that it is not looked at again and again.
        """
        self._weigh()
        entries, busy = self.entries, 0
        while (len(entries) > most or self.bytes > most_bytes) and busy < min(len(entries), BUSY_AT_ONCE):
            key = next(iter(entries))
            entry = entries[key]
            if entry.inflight or entry.queued or entry.release or entry in folded:
                entries.move_to_end(key)
                busy += 1
            else:
                del entries[key]
                self.bytes -= entry.weight

    def waiting(self) -> list[Entry]:
        """Those that are not done: something waits in them, is being written, or is to be released."""
        return [entry for entry in self.entries.values() if entry.inflight or entry.queued or entry.release]

    def of_shards(self, shards: Set[int]) -> Set[Entry]:
        return dict.fromkeys(entry for entry in self.entries.values() if entry.shard in shards).keys()  # in order

    def drop(self, entries: Set[Entry]) -> list[Pending]:
        """Lets go of these, whatever waits in them: it is given back. None of them may be in a batch."""
        self._weigh()
        left = [pending for entry in entries for pending in entry.queue]
        for entry in entries:
            del self.entries[entry.key]
            self.bytes -= entry.weight
        self._ready = deque(entry for entry in self._ready if entry not in entries)
        return left

    def _weigh(self) -> None:
        """What the last batch has made of its instances. None of them was let go since."""
        self.bytes += sum([entry.weigh() for entry, _ in self._last_taken])
        self._last_taken = ()

    def clear(self) -> list[Pending]:
        """Lets go of everything; the actions that waited."""
        left = [pending for entry in self.entries.values() for pending in entry.queue]
        self.entries.clear()
        self._ready.clear()
        self.retries.clear()
        self._last_taken, self.bytes = (), 0
        return left
