"""Dispatch: the writer. One loop takes the actions that wait, folds them in memory and writes them as one transaction.

One turn of the loop, ``_write_batch``, in this order:

1. Refusals of a commit whose answer was lost are looked up: those that the store has are answered now.
2. At most ``Limits.batch`` actions are taken from the mailboxes, loaded and folded (``fold_ahead``, ``isolate``, ``fold``).
   Most of that was done while the commit before ran.
3. With all that ``SideWrites`` has collected meanwhile they are made one ``Commit`` (``batch``). Nothing is written yet.
4. The store commits, and the next batch is folded meanwhile. Only after the commit is anybody answered, does an intent run,
   and does an instance count as changed.
5. Changes that met a conflict go back to their mailbox (``conflict_backoff``), behind them what was folded on them; their
   neighbours are done.

The next commit begins when the last is durable, and takes along what came meanwhile: under load batches grow by themselves.

What may go wrong, and why the end is still right:

- Anything raises before the answer: every action goes back to the front of its mailbox in its order, the cached instances are
  forgotten, and the side writes go with the next batch. The store kept nothing, so nothing was promised.
- The store fails for now (TemporaryDatabaseError): the same, and the turn is tried again after 10 ms, then up to 1 s. After five
  failures nothing more is accepted (``room_for``), until a turn succeeds or what waited is another worker's.
- The answer to the commit is lost (CommitUnknown): the same, but the actions may be applied. Each is looked up by its id
  before it is refused, and the store refuses to apply an id twice; refusals are followed up by ``unknown_commits``.
- The store belongs to another process by now (OwnershipLost), or a fault of ours: the loop ends. All who wait get that error.
- The engine is closed: what was accepted is still written, for at most ``CLOSE_S`` seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..kernel.action import WorkflowKey
from ..kernel.errors import CommitUnknown, EngineClosed, FencedError, OnexError, OwnershipLost, TemporaryDatabaseError
from ..kernel.user_code import describe
from ..ports import Clock, Conflict, Env, InboxAnswer, Interpreter, Store, Telemetry
from .action_checks import TimerGone
from .admission import Admission, takes_from_rate
from .batch import Batch, CommitListener, Extras, answer_json
from .batch_report import report
from .conflict_backoff import ConflictBackoff
from .crash_counts import CrashCounts
from .first_answers import FirstAnswers
from .fold import Folded
from .fold_ahead import FoldAhead
from .isolate import FaultIsolation
from .limits import Limits
from .log_tail import ChangeSignal
from .mailbox import Mailboxes
from .metrics import Counters, Events
from .pending import Answer, Committed, Pending
from .registry import ReducerRegistry, Workflow
from .search_fields import SearchFields
from .side_writes import finish
from .unknown_commits import UnknownCommits
from .version_counts import VersionCounts

CLOSE_S = 10.0  # how long an engine that is closed tries to make durable what it has accepted


class ReducerService(Admission):
    """The one writer of a store. ``check_all`` reloads every state it writes (tests)."""

    def __init__(
        self,
        store: Store,
        registry: ReducerRegistry,
        clock: Clock,
        env: Env,
        listener: CommitListener,
        *,
        limits: Limits | None = None,
        check_all: bool = False,
        telemetry: Telemetry | None = None,
        interpreter: Interpreter | None = None,
    ) -> None:
        super().__init__()
        self.store, self.registry, self.clock, self.env = store, registry, clock, env
        self.listener, self.limits = listener, limits or Limits()
        self.counters, self.events = Counters(), Events(telemetry)
        self.judged: VersionCounts | None = None
        self.crash_counts = CrashCounts(store)
        self.closed: OnexError | None = None
        self.search: SearchFields | None = None
        self._check_all, self._interpreter = check_all, interpreter
        self._shards, self.shares = store.shards, False
        self._mailboxes = Mailboxes(registry, store.shards)
        parts = store, registry, self._mailboxes, self.crash_counts, self.events, listener.count_open, self.counters
        self._isolation = FaultIsolation(*parts)
        self._ahead = FoldAhead(self._isolation, self._mailboxes, clock, self.limits.batch, interpreter)
        self._first_answer = FirstAnswers(store, self.counters)
        self._backoff = ConflictBackoff(
            self.limits.conflicts, clock, self._mailboxes, self._first_answer, self._wake_writer, self.counters.backoff
        )
        self._waiting, self._failures, self._unknown = 0, 0, UnknownCommits(store, self._mailboxes)
        self._answered, self._wake, self._quiet = ChangeSignal(), asyncio.Event(), asyncio.Event()
        self._quiet.set()
        self._reason: OnexError | None = None
        self._task: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self, owner: str | None) -> None:
        """Take the store's shards and begin. None: others share the store, and ``gain_shards`` tells of each shard that is ours.
        Raises OwnershipLost when another process has them."""
        self.shares, self._fences = owner is None, {} if owner is None else dict(await self.store.own(owner))
        if not self._fences and not self.shares:
            raise OwnershipLost("another process runs on this store; stop it, or submit to it from here")
        await self.read_last_run()
        self._isolation.plans = {} if self.search is None else await self.search.declare()
        for workflow in self.registry.every:
            await self.judge_by(workflow)
        self._task = asyncio.create_task(self._run(), name="onex-dispatch")

    async def judge_by(self, workflow: Workflow) -> None:
        """This version may judge from now on. Raises what the store raises."""
        await self._isolation.number(workflow, self.env, check_all=self._check_all)

    async def read_last_run(self) -> None:
        """What the process before was judging when it died is counted (``crash_counts``)."""
        if crashed := await self.crash_counts.read_last_run():
            self.events("process_died_judging", suspects=crashed)
        if self.crash_counts.stuck_at:
            self.events("step_was_stuck", where=self.crash_counts.stuck_at)

    async def close(self) -> None:
        """What was accepted becomes durable or is answered, and nothing more is accepted. A store that refuses commits is tried
        for ``CLOSE_S`` seconds; what is not durable by then is answered so, and counted."""
        if self.closed is None:
            self.closed = EngineClosed("the engine is closed; open it again")
        self._wake.set()
        if (task := self._task) is None:
            return
        # a cancelled ``close`` must not cancel the writer in the middle of a commit
        await asyncio.wait((task,), timeout=CLOSE_S)
        if not task.done():
            left = self.counters.not_durable = self._waiting
            self.events("closed_with_work_left", actions=left, after_s=CLOSE_S)
            self._end(
                EngineClosed(
                    f"the store took no commit for {CLOSE_S:g} s while the engine closed: {left} actions that were not "
                    "answered may not be durable. Send them again with the same ids"
                )
            )
            await asyncio.wait((task,), timeout=CLOSE_S)
        self._task = None

    def lose(self, error: OnexError) -> None:
        """End the engine because a task of its own cannot go on. Does nothing to one that is closed or lost."""
        if self.closed is None:
            self.closed = error
            self._end(error)

    def _end(self, reason: OnexError) -> None:
        """The writer stops where it waits, puts back what it took, and answers everybody with ``reason``."""
        self._reason = reason
        if self._task is not None:
            self._task.cancel()

    # --- in ------------------------------------------------------------------------------------------------------------

    def accept(self, pending: Pending) -> Pending:
        """Queue an action; gives it back, or the one in flight under the same id. One beyond its share has its answer already.

        Raises Overloaded, EngineClosed. Outcomes, timers and messages are the engine's own: never refused for load.
        """
        if self.closed is not None:
            raise self.closed
        if self.shares:
            self._check_here(pending)
        crowded = self._failures or self._waiting >= self.limits.waiting
        if crowded and pending.settles is None and not pending.sent:
            self.room_for(1, self.limits.batch if pending.ticket else 0)
        if pending.refusal is not None:
            self._extras.refused.append((pending, pending.refusal))
        else:
            entry = self._mailboxes[pending.key]
            twin = entry.inflight.get(pending.id)
            if twin is not None and twin.body_hash == pending.body_hash:
                return twin
            if twin is not None:
                self._extras.refused.append((pending, pending.reused()))
            elif (over := self._over_share(entry, pending)) is not None:
                return self._turn_away(pending, over)
            else:
                entry.inflight[pending.id] = pending
                entry.queue.append(pending)
                self._mailboxes.enqueue(entry)
        self._waiting += 1
        self._wake_writer()
        return pending

    async def done(self, pending: Pending) -> Committed:
        """Wait until the action is durable. Raises the OnexError it was refused with; a cancelled wait withdraws nothing."""
        answer = pending.answer or await pending.answered()
        if isinstance(answer, OnexError):
            raise answer
        assert isinstance(answer, Committed), "a lease is asked for by take_lease"
        return answer

    async def all_done(self, pendings: Sequence[Pending]) -> list[Answer]:
        """Wait until all are durable or refused; answers stand where their actions stood."""
        for pending in reversed(pendings):  # the last of a key is answered last, so most waits are over at once
            if pending.answer is None:
                await pending.answered()
        return [pending.answer or await pending.answered() for pending in pendings]

    def code_id(self, workflow_type: str) -> int:
        """The store's number for the code this engine runs: the base, where it knows several."""
        return self._isolation.rules[self.registry[workflow_type].rules].code_id

    def waiting_of(self, key: WorkflowKey) -> int:
        """How many actions of this instance are accepted and have no answer yet."""
        entry = self._mailboxes.find(key)
        return 0 if entry is None else len(entry.inflight)

    @property
    def is_quiet(self) -> bool:
        return self._quiet.is_set()

    async def quiet(self) -> None:
        """Returns when nothing accepted waits to become durable."""
        await self._quiet.wait()

    def _wake_writer(self) -> None:
        self._quiet.clear()
        self._wake.set()

    # --- the loop ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """The only writer. Whatever ends it, everybody who waits gets an error, and no wait is left open."""
        try:
            await self._write_until_closed()
        except OnexError as error:
            self._lose(error)
        except Exception as error:  # a fault of ours or of an adapter's
            self._lose(OnexError(describe(error)), error)
        except BaseException as error:  # a real Ctrl-C, or our loop is being torn down
            if self._reason is None:
                self._lose(EngineClosed(f"the engine was interrupted by {type(error).__name__}"))
                raise
            self._lose(self._reason)

    async def _write_until_closed(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._mailboxes.ready or self._ahead or any(self._extras):
                # one turn of the event loop for callers just answered: what they send now goes along in this batch
                await asyncio.sleep(0)
                self.part()
                try:
                    await self._write_batch()
                    self._mailboxes.evict(self.limits.cached, self.limits.cached_bytes, self._ahead)
                    self._failures = 0
                except FencedError as error:
                    fenced = self._fences.keys() & (error.shards or self._fences.keys())
                    if not self.shares or not fenced:  # of one that it does not have there is nothing to part with
                        raise
                    self.part(fenced)
                except (TemporaryDatabaseError, CommitUnknown) as error:
                    self._failures += 1
                    self.counters.store_failures += 1
                    self.events("store_refused", failures=self._failures, error=error.message)
                    await self.clock.sleep(min(0.005 * 2 ** min(self._failures, 8), 1.0))
            self.part()
            if self._failures:  # what failed was parted with: with nothing to write nobody finds that the store is back
                self._failures = 0
                self._answered.notify()
            if self._backoff.busy:
                continue
            self._quiet.set()
            if self.closed is not None:
                return
            if self._interpreter is not None:
                self._interpreter.idle()

    async def _write_batch(self) -> None:
        """One batch: written and answered; or everything is put back where it was, and the error raised."""
        written = await self._unknown.written_refusals()
        self._extras.settled.extend(one.settles for one, _ in written if one.settles is not None and not one.sent)
        self._resolve(written)
        await self._ahead.fill(self._waiting)
        taken, folds, releasing, at_us = self._ahead.hand_over()
        extras, self._extras = self._extras, Extras.empty()
        row_writes, self._row_writes = self._row_writes, []
        try:
            batch = Batch(folds, extras, self._mailboxes.retries, at_us)
            commit = await batch.build(self._fences, self._first_answer, self.listener)
            try:
                committing = None if commit.is_empty else asyncio.ensure_future(self.store.commit(commit))
                if committing is not None and self.labelled is not None:
                    self.labelled.time_commit(committing, self.clock)
                outcomes = () if committing is None else await self._ahead.fill_behind(batch, committing, self._wake)
            except CommitUnknown:
                self._unknown.add(batch, self.listener)
                raise
        except BaseException as error:
            self.listener.give_back()
            self._row_writes[:0] = row_writes
            self._extras = extras.followed_by(self._extras)
            for entry in releasing:
                entry.release = True
            self._ahead.drop({entry for entry, _ in taken})
            for entry, pendings in reversed(taken):  # each goes to the front, so the last comes first
                self._mailboxes.put_back(entry, pendings, maybe_applied=isinstance(error, CommitUnknown))
            raise
        done = batch.settle(outcomes)
        report(self.events, batch, done, self.judged)
        self.counters.batches += 1
        if done.settled:
            self.listener.rows_ended(done.settled)
        self.listener.told(done.told)
        if done.deliveries:
            self.listener.emitted(done.deliveries)
        self._resolve(done.results)
        if done.applied:
            self.listener.changed(done.applied)
        if unnoticed := self._unknown.perhaps_applied():
            self.listener.answer_was_lost()
            self.listener.changed(unnoticed)
        self._ahead.drop({folded.entry for folded, _ in done.again})
        for folded, _ in done.again:  # the fold has taken the release, and its change was not applied
            folded.entry.release = folded.entry.release or folded.entry in releasing
        finish([future for _, future in row_writes])
        released = [one for one in self._released if one[0] in releasing and not one[0].release]
        self._released = [one for one in self._released if one not in released]
        finish([future for _, future in released])
        for at, (folded, conflict) in enumerate(done.again):
            try:
                await self._fold_again(folded, conflict)
            except Exception:
                for later, _ in reversed(done.again[at:]):
                    self._mailboxes.put_back(later.entry, later.pendings)
                raise

    async def _fold_again(self, folded: Folded, conflict: Conflict) -> None:
        """A change that met a conflict: what the log already holds is answered from it, the rest is folded anew."""
        self.counters.conflicts += 1
        other_version = not conflict.duplicates  # or another lease
        answered, refused, left = await self._backoff.resolve(folded.pendings, conflict.duplicates)
        self._extras.refused.extend(refused)
        for pending, _ in (*answered, *refused):
            if pending.settles is not None:
                self.counters.outcomes_dropped += 1
                self._extras.settled.append(pending.settles)
        for pending, answer in answered:
            if pending.ticket:
                self.answer(InboxAnswer(pending.ticket, answer_json(answer), self.clock.now_us(), pending.shard))
        self._resolve(answered)
        (self._backoff if other_version else self._mailboxes).put_back(folded.entry, left)

    @property
    def in_memory(self) -> tuple[int, int, int]:
        """Instances that are held here, about how many bytes they take, and actions that wait to become durable."""
        return len(self._mailboxes.entries), self._mailboxes.bytes, self._waiting

    # --- out -----------------------------------------------------------------------------------------------------------

    def _resolve(self, results: Sequence[tuple[Pending, Answer]]) -> None:
        now_s = self.clock.monotonic()
        counters, labelled, find = self.counters, self.labelled, self._mailboxes.find
        for pending, answer in results:
            pending.resolve(answer)
            if self.crash_counts.crashes:
                self.crash_counts.answered(pending, answer)
            entry = find(pending.key)
            if entry is not None and entry.inflight.get(pending.id) is pending:
                del entry.inflight[pending.id]
            if labelled is not None:
                labelled.answered(pending, answer)
            if isinstance(answer, OnexError):
                counters.refused += 1
                counters.timers_dropped += isinstance(answer, TimerGone)
            elif isinstance(answer, Committed):
                counters.committed += not answer.duplicate
                if answer.duplicate and entry is not None and entry.use is not None and takes_from_rate(pending):
                    entry.use.give_back()
                counters.latency.add(now_s - pending.accepted_s)
        if self._mailboxes.retries:
            for pending, _ in results:
                self._mailboxes.retries.pop(pending, None)
        self._waiting -= len(results)
        self._answered.notify()

    def _lose(self, error: OnexError, cause: Exception | None = None) -> None:
        """This process owns the store no more: answer all who wait with the error, forget everything."""
        self.events("engine_lost", error=error.message, code=error.code)
        lost = error if isinstance(error, OwnershipLost) else EngineClosed(f"the engine stopped: {error.message}")
        lost.__cause__ = cause
        self.closed = lost
        self._backoff.close()
        self.listener.stopped(lost)
        refused = [pending for pending, _ in self._extras.refused]
        self._ahead.drop_all()
        finish([future for _, future in (*self._row_writes, *self._released)], lost)
        finish([*self._leaving.values(), *self._lost.values()])
        self._resolve([(pending, lost) for pending in (*self._mailboxes.clear(), *refused)])
        self._quiet.set()
