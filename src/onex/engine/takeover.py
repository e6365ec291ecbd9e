"""Takeover: what a new owner does with the intents it finds. Claims of the dead are void at once; nobody waits for a time-out.

An effect found started has crashed with its process once more: from two on it runs alone, at three it is dead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Container
from typing import NamedTuple

from ..kernel.errors import KilledItsProcess, OnexError
from ..kernel.intent import EnumDelivery, EnumIntentType
from ..kernel.user_code import caught
from ..ports import EnumOutboxState, Note, OutboxRow, Pointer, Reader
from .crash_counts import row_name
from .delivery import Delivery, stored_delivery
from .dispatch import ReducerService
from .encode import read_intents

CRASHES_ALONE = 2
CRASHES_DEAD = 3
PAGE = 1000


class Found(NamedTuple):
    """A waiting intent and what is to become of it: run, run alone, or end with ``ends``."""

    work: Delivery
    due_us: int
    alone: bool = False
    ends: OnexError | None = None


class Takeover:
    """Reads the outbox for a relay. Rows this app cannot read are left alone; the row says why."""

    def __init__(self, service: ReducerService, reader: Reader) -> None:
        self.service, self.reader = service, reader

    async def waiting(self, held: Container[Pointer] = ()) -> AsyncIterator[Found]:
        """Intents that are no timers, but for those ``held`` in memory. Any of them may have run under an owner before."""
        async for row in self._pages(None):
            work = None if row.pointer in held else self._work(row)
            if work is not None:
                yield await self._judge(row, work)

    async def timers(self, before_us: int) -> AsyncIterator[Found]:
        async for row in self._pages(before_us):
            work = self._work(row)
            if work is not None:
                yield Found(work, row.due_us)

    async def held(self) -> AsyncIterator[tuple[OutboxRow, Delivery]]:
        """Every outcome that waits for its reducer to be mended."""
        after: Pointer | None = None
        while rows := await self.reader.outbox((EnumOutboxState.HELD,), None, after, PAGE):
            for row in rows:
                work = self._work(row)
                if work is not None:
                    yield row, work
            after = rows[-1].pointer

    async def timer_is_over(self, row: OutboxRow) -> bool:
        """Whether a step after the one that set this timer set it again or cancelled it."""
        after = row.version
        migrations = self.service.registry[row.key.workflow_type].migrations
        called = migrations.names.timers.get(row.timer, row.timer)
        while entries := await self.reader.history(row.key, after, PAGE):
            for entry in entries:
                names = [str(item["name"]) for item in read_intents(entry.row.intents)]
                if any(migrations.names.timers.get(name, name) == called for name in names):
                    return True
            after = entries[-1].version
        return False

    async def _pages(self, timers_before_us: int | None) -> AsyncIterator[OutboxRow]:
        after: Pointer | None = None
        while rows := await self.service.store.waiting(after, PAGE, timers_before_us):
            for row in rows:
                yield row
            after = rows[-1].pointer

    def _work(self, row: OutboxRow) -> Delivery | None:
        """Reading a row runs validators and migrations: one that ended the process three times is dead, and says so."""
        crash_counts, name = self.service.crash_counts, row_name(row.pointer)
        refused = crash_counts.refusal(name)
        if refused is not None:
            self.service.events("dead_after_crashes", key=str(row.key), error=refused.message)
            self.service.note(Note(row.pointer, EnumOutboxState.DEAD, row.attempt, error=refused.message))
            return None
        with crash_counts.running([name]):
            return self._read(row)

    def _read(self, row: OutboxRow) -> Delivery | None:
        work: Delivery | None = None
        told = (
            "" if row.timer and row.state is EnumOutboxState.WAITING else row.error
        )  # a timer that is read waits for its time only
        try:
            work = stored_delivery(row, self.service.registry, self.service.clock.now_us())
        except (
            BaseException
        ) as error:  # a row that somebody damaged may hold anything: it is that row's, and told there
            told = error.message if isinstance(error, OnexError) else caught(error)
            if told != row.error:
                self.service.events("intent_stranded", key=str(row.key), error=told)
        if told != row.error:  # a row is read again and again: its reason is written once
            note = Note(row.pointer, row.state, row.attempt, row.due_us, row.started, row.crashes, row.result, told)
            self.service.note(note)
        return work

    async def _judge(self, row: OutboxRow, work: Delivery) -> Found:
        spec = work.fresh.emitted.spec
        once = spec.delivery is EnumDelivery.AT_MOST_ONCE
        # after the first minute of an owner starts are not recorded: any of these may have run
        work.maybe_done = (row.started or not once) and spec.kind != EnumIntentType.COMPUTE_TASK
        if not row.started:  # its crashes were counted by an owner that went before it could run it
            due = row.due_us <= self.service.clock.now_us()
            return Found(work, row.due_us, alone=due and row.crashes >= CRASHES_ALONE)
        work.crashes = row.crashes + 1
        work.attempt += 1
        self.service.counters.effects_retried += 1
        ends: OnexError | None = None
        if work.crashes >= CRASHES_DEAD:
            ends = KilledItsProcess("it was running at three crashes in a row; mend it, then: onex dead --redrive")
        elif once:
            ends = OnexError("its process ended while it ran, and it must not run twice")
        # what is to end without running again stays started: we too may crash, before its end is durable
        started = ends is not None
        note = Note(row.pointer, attempt=work.attempt, due_us=row.due_us, started=started, crashes=work.crashes)
        await self.service.note_durably(note)
        return Found(work, row.due_us, alone=work.crashes >= CRASHES_ALONE, ends=ends)
