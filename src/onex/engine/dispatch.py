"""Dispatch: actions in, commits out. One loop gathers what has come, folds it in memory and writes it as one transaction.

The batch clocks itself: the next begins when the last is durable, and takes along whatever gathered meanwhile. Nobody is
answered before that. A conflict or refusal of one key never fails its neighbours.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..kernel.action import WorkflowKey
from ..kernel.errors import (
    CommitUnknown,
    DuplicateActionError,
    EngineClosed,
    OnexError,
    Overloaded,
    OwnershipLost,
    StateUpdateConflictError,
    TemporaryDatabaseError,
)
from ..ports import Applied, Clock, Conflict, Env, InboxAnswer, KeyChange, Note, Pointer, Rejection, Store
from .batch import Answer, Batch, Extras, answer_json, committed_of
from .fold import Folded, Rules, TimerGone, fill, fold
from .mailbox import Committed, Entry, Fresh, Pending
from .observe import Counters
from .registry import ReducerRegistry

CONFLICT_TRIES = 5
STALLED_AFTER = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one engine. ``batch`` actions per transaction, ``waiting`` accepted and not yet durable, ``cached`` instances."""

    batch: int = 1000
    waiting: int = 20_000
    cached: int = 50_000


class ReducerService:
    """The one writer of a store. ``check_all`` reloads every state it writes (tests, simulation)."""

    def __init__(
        self,
        store: Store,
        registry: ReducerRegistry,
        clock: Clock,
        env: Env,
        *,
        limits: Limits | None = None,
        check_all: bool = False,
    ) -> None:
        self.store, self.registry, self.clock, self.env = store, registry, clock, env
        self.limits = limits or Limits()
        self.counters = Counters()
        self.closed: OnexError | None = None
        self.on_fresh: Callable[[Sequence[Fresh]], None] = lambda fresh: None
        self.on_settled: Callable[[Sequence[Pointer]], None] = lambda settled: None
        self.on_change: Callable[[Sequence[tuple[KeyChange, Applied]]], None] = lambda changes: None
        self._check_all = check_all
        self._fences: dict[int, int] = {}
        self._rules: dict[str, Rules] = {}
        self._entries: OrderedDict[WorkflowKey, Entry] = OrderedDict()
        self._ready: deque[Entry] = deque()
        self._waiting = 0
        self._failures = 0
        self._extras = Extras.empty()
        self._noted: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._task: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self, owner: str) -> None:
        """Take the store's shards and begin. Raises OwnershipLost when another process has them."""
        self._fences = dict(await self.store.own(owner))
        if not self._fences:
            raise OwnershipLost("another process runs on this store; stop it, or submit to it from here")
        for workflow in self.registry.workflows:
            code_id, env_id = await self.store.intern(workflow.code, self.env)
            self._rules[workflow.reducer.workflow_type] = Rules(code_id, env_id, 0, self._check_all)
        self._task = asyncio.create_task(self._run(), name="onex-dispatch")

    async def close(self) -> None:
        """What was accepted becomes durable or is answered; then nothing more is accepted."""
        if self.closed is None:
            self.closed = EngineClosed("the engine is closed; open it again")
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None

    # --- in ------------------------------------------------------------------------------------------------------------

    def accept(self, pending: Pending) -> Pending:
        """Queue an action; gives it back, or the one in flight under the same id.

        Raises Overloaded, EngineClosed, DuplicateActionError. Outcomes and timers are ours: never turned away for load.
        """
        if self.closed is not None:
            raise self.closed
        if pending.settles is None and (self._waiting >= self.limits.waiting or self._failures >= STALLED_AFTER):
            self.counters.overloaded += 1
            why = "the store takes no commits" if self._failures >= STALLED_AFTER else "too many wait to become durable"
            raise Overloaded(f"{self._waiting} actions wait: {why}. Nothing of this call was accepted; try again")
        if pending.refusal is not None:
            self._extras.refused.append(pending)
        else:
            entry = self._entries.get(pending.key)
            if entry is None:
                entry = self._entries[pending.key] = Entry(pending.key, self.registry[pending.key.workflow_type])
            else:
                self._entries.move_to_end(pending.key)
            twin = entry.inflight.get(pending.id)
            if twin is not None:
                if twin.body_hash != pending.body_hash:
                    raise _reused(pending)
                return twin
            entry.inflight[pending.id] = pending
            entry.queue.append(pending)
            if not entry.queued:
                entry.queued = True
                self._ready.append(entry)
        self._waiting += 1
        self._stir()
        return pending

    async def done(self, pending: Pending) -> Committed:
        """Wait until the action is durable. Raises the OnexError it was refused with; a cancelled wait withdraws nothing."""
        if pending.result is None:
            if pending.future is None:
                pending.future = asyncio.get_running_loop().create_future()
            # a twin may wait on the same future, and cancelling one caller must not answer the other
            await asyncio.shield(pending.future)
        result = pending.result
        if isinstance(result, OnexError):
            raise result
        assert result is not None, "a resolved action has a result"
        return result

    def note(self, note: Note) -> None:
        """Change an outbox row with the next commit."""
        self._extras.notes.append(note)
        self._stir()

    async def noted(self, note: Note) -> None:
        """The same, and wait until it is durable. Raises EngineClosed, OwnershipLost."""
        if self.closed is not None and self._task is None:
            raise self.closed
        self.note(note)
        await self._durable()

    def reject(self, rejection: Rejection) -> None:
        """Record input that has no readable key."""
        self._extras.rejections.append(rejection)
        self._stir()

    def answer(self, answer: InboxAnswer) -> None:
        """Turn an inbox row into its answer with the next commit."""
        self._extras.answers.append(answer)
        self._stir()

    def settle(self, pointer: Pointer) -> None:
        """End an intent that nobody waits for, with the next commit."""
        self._extras.settled.append(pointer)
        self._stir()

    async def release(self, key: WorkflowKey) -> None:
        """Let a held instance take actions again; durable when it returns. Raises UnknownWorkflow."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(key, self.registry[key.workflow_type])
        entry.release = True
        if not entry.queued:
            entry.queued = True
            self._ready.append(entry)
        await self._durable()

    async def _durable(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._noted.append(future)
        self._stir()
        await future

    def code_id(self, workflow_type: str) -> int:
        """The store's number for the code this engine runs."""
        return self._rules[workflow_type].code_id

    @property
    def is_quiet(self) -> bool:
        return self._quiet.is_set()

    async def quiet(self) -> None:
        """Returns when nothing accepted waits to become durable."""
        await self._quiet.wait()

    def forget(self, key: WorkflowKey) -> None:
        """Drop the cached state; the next action of the key loads it again. Only between batches."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.forget()

    def _stir(self) -> None:
        self._quiet.clear()
        self._wake.set()

    # --- the loop ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._ready or any(self._extras):
                # one turn for those just answered: what they send now goes along in this batch
                await asyncio.sleep(0)
                try:
                    await self._turn()
                    self._failures = 0
                except (TemporaryDatabaseError, CommitUnknown):
                    self._failures += 1
                    self.counters.store_failures += 1
                    await self.clock.sleep(min(0.005 * 2 ** min(self._failures, 8), 1.0))
                except OnexError as error:
                    self._lose(error)
                    return
            self._evict()
            self._quiet.set()
            if self.closed is not None:
                return

    async def _turn(self) -> None:
        """One batch, whole: written and answered, or everything back where it was and the error raised."""
        taken = self._gather()
        extras, self._extras = self._extras, Extras.empty()
        noted, self._noted = self._noted, []
        try:
            cold = [entry.key for entry, _ in taken if not entry.loaded]
            if cold:
                stored = await self.store.load(cold)
                for key in cold:
                    fill(self._entries[key], stored.get(key))
            now_us = self.clock.now_us()
            folds = [
                fold(entry, pendings, self._rules[entry.key.workflow_type]._replace(now_us=now_us))
                for entry, pendings in taken
            ]
            batch = Batch(folds, extras, now_us)
            commit = await batch.build(self._fences, self._first_answer)
            outcomes = await self.store.commit(commit) if any(commit[1:7]) else ()
        except OnexError as error:
            self._noted[:0] = noted
            self._extras = extras.followed_by(self._extras)
            for entry, pendings in reversed(taken):
                self._put_back(entry, pendings, maybe_applied=isinstance(error, CommitUnknown))
            raise
        done = batch.settle(outcomes)
        self.counters.batches += 1
        if done.settled:
            self.on_settled(done.settled)
        if done.fresh:
            self.on_fresh(done.fresh)
        self._resolve(done.results)
        if done.applied:
            self.on_change(done.applied)
        for future in noted:
            if not future.done():
                future.set_result(None)
        for folded, conflict in done.again:
            await self._judge_again(folded, conflict)

    def _gather(self) -> list[tuple[Entry, list[Pending]]]:
        room = self.limits.batch
        taken: list[tuple[Entry, list[Pending]]] = []
        for _ in range(len(self._ready)):
            entry = self._ready.popleft()
            queue = entry.queue
            if len(queue) <= room:
                pendings = list(queue)
                queue.clear()
                entry.queued = False
            else:
                pendings = [queue.popleft() for _ in range(room)]
                self._ready.append(entry)
            room -= len(pendings)
            taken.append((entry, pendings))
            if room <= 0:
                break
        return taken

    def _put_back(self, entry: Entry, pendings: Sequence[Pending], *, maybe_applied: bool = False) -> None:
        """To the front of the mailbox, in order. What may be in the log is looked up before it is refused."""
        entry.forget()
        for pending in reversed(pendings):
            pending.given_id = pending.given_id or maybe_applied
            entry.queue.appendleft(pending)
        if pendings and not entry.queued:
            entry.queued = True
            self._ready.appendleft(entry)

    async def _first_answer(self, pending: Pending) -> Answer | None:
        """Dedup: what this id was answered before, or DuplicateActionError when its body was another."""
        entry = await self.store.applied(pending.key, pending.id)
        if entry is None:
            return None
        if entry.row.body_hash != pending.body_hash:
            return _reused(pending)
        self.counters.duplicates += 1
        return committed_of(entry, duplicate=True)

    async def _judge_again(self, folded: Folded, conflict: Conflict) -> None:
        """A change that met a conflict: what the log already holds is answered from it, the rest is folded anew."""
        self.counters.conflicts += 1
        left: list[Pending] = []
        results: list[tuple[Pending, Answer]] = []
        for pending in folded.pendings:
            pending.tries += 1
            first = await self._first_answer(pending) if pending.id in conflict.duplicates else None
            if first is not None:
                results.append((pending, first))
            elif pending.settles is None and pending.tries > CONFLICT_TRIES:
                results.append((pending, StateUpdateConflictError(f"{pending.key} kept moving; send it again")))
            else:
                left.append(pending)
        settled = [pending.settles for pending, _ in results if pending.settles is not None]
        if settled:
            self.counters.outcomes_dropped += len(settled)
            self._extras.settled.extend(settled)
        for pending, answer in results:
            if pending.ticket:
                self.answer(InboxAnswer(pending.ticket, answer_json(answer), self.clock.now_us()))
        self._resolve(results)
        self._put_back(folded.entry, left)

    # --- out -----------------------------------------------------------------------------------------------------------

    def _resolve(self, results: Sequence[tuple[Pending, Answer]]) -> None:
        now_s = self.clock.monotonic()
        counters = self.counters
        for pending, result in results:
            pending.result = result
            entry = self._entries.get(pending.key)
            if entry is not None:
                entry.inflight.pop(pending.id, None)
            if isinstance(result, OnexError):
                counters.refused += 1
                counters.timers_dropped += isinstance(result, TimerGone)
            else:
                counters.committed += not result.duplicate
                counters.latency.add(now_s - pending.accepted_s)
            if pending.future is not None and not pending.future.done():
                pending.future.set_result(None)
        self._waiting -= len(results)

    def _lose(self, error: OnexError) -> None:
        """This process owns nothing any more: answer everyone, drop everything."""
        lost = error if isinstance(error, OwnershipLost) else EngineClosed(f"the engine stopped: {error.message}")
        self.closed = lost
        for future in self._noted:
            if not future.done():
                future.set_exception(lost)
        for entry in list(self._entries.values()):
            self._resolve([(pending, lost) for pending in entry.queue])
            entry.queue.clear()
        self._resolve([(pending, lost) for pending in self._extras.refused])
        self._entries.clear()
        self._ready.clear()
        self._quiet.set()

    def _evict(self) -> None:
        while len(self._entries) > self.limits.cached:
            oldest = next((key for key, entry in self._entries.items() if not entry.inflight), None)
            if oldest is None:
                return
            del self._entries[oldest]


def _reused(pending: Pending) -> DuplicateActionError:
    return DuplicateActionError(
        f"action id {pending.id.hex()} was used before for {pending.key} with another body; send a new id",
        action_id=pending.id.hex(),
    )
