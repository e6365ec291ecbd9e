"""Takeover: reads waiting outbox rows back into deliveries, and counts the crashes that they tell of.

A new owner takes every row at once. The fence of the owner before is void, so no claim has to time out. The same reads serve
an owner that runs already: what its memory had no room for, and the timers of the minute to come.

For each row, in this order:

1. Reading runs code of the user: validators and migrations. Its pointer is written down first (``CrashCounts.running``), so
   that a process that ends there is counted. At three such crashes the row is dead and is not read any more.
2. A row that this app cannot read is left as it is. The reason is written into it once, and it waits for other code.
3. A row that is not ``started`` did not run when its process ended, or its start was not recorded: the relay records starts
   only in the first minute of an owner (``relay.TAKEOVER_US``), and always for at-most-once. Then ``maybe_done`` is set,
   except where a start would have been recorded (at most once) or nothing can have been done (a compute task).
4. A row that is ``started`` was running when its process ended: one crash more, one try more. From ``CRASHES_ALONE`` on it
   is run alone, so that what it does to the process happens to no neighbour. At ``CRASHES_DEAD`` it is dead. One that must
   run at most once is not run again: its outcome is ``unknown``. That one is ``started`` too when an orderly end cut it off;
   its row says so, and no crash is counted.
5. The new counts are durable before the delivery is given out. Without that, a crash while it runs would be counted from
   the old number, and nobody would ever come to three.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Container
from uuid import UUID

from ..kernel.action import WorkflowKey
from ..kernel.errors import EffectUnknown, KilledItsProcess, OnexError
from ..kernel.intent import EnumDelivery, EnumIntentType
from ..kernel.user_code import caught
from ..ports import Attempt, EnumAttempt, EnumOutboxState, Note, OutboxRow, Pointer, Reader
from .attempt import CUT_OFF
from .crash_counts import row_name
from .delivery import Delivery, stored_delivery
from .dispatch import ReducerService
from .encode import read_intents

CRASHES_ALONE = 2
CRASHES_DEAD = 3
PAGE = 1000


class Takeover:
    """Reads the outbox for a relay, in pages of ``PAGE`` rows."""

    def __init__(self, service: ReducerService, reader: Reader) -> None:
        self.service, self.reader = service, reader

    async def waiting(self, held: Container[Pointer] = ()) -> AsyncIterator[Delivery]:
        """Intents that are no timers, except those ``held`` in memory. Any may have run under an earlier owner.

        ``alone`` and ``ends`` of each say what is to become of it.
        """
        async for row in self._pages(None):
            delivery = None if row.pointer in held else self._delivery(row)
            if delivery is not None:
                await self._judge(row, delivery)
                if row.pointer not in held:  # a step may have cancelled it meanwhile
                    yield delivery

    async def timers(self, before_us: int) -> AsyncIterator[Delivery]:
        """Timers that are due before ``before_us``."""
        async for row in self._pages(before_us):
            delivery = self._delivery(row)
            if delivery is not None:
                yield delivery

    async def held(self) -> AsyncIterator[tuple[OutboxRow, Delivery]]:
        """Every outcome or timer that is held because its reducer failed on it."""
        after: Pointer | None = None
        while rows := await self.reader.outbox((EnumOutboxState.HELD,), None, after, PAGE):
            for row in rows:
                delivery = self._delivery(row) if self.service.has(row.pointer.shard) else None
                if delivery is not None:
                    yield row, delivery
            after = rows[-1].pointer

    async def cancelled(self) -> AsyncIterator[Delivery]:
        """What a step cancelled while it ran under an owner that has ended since: it is not run again."""
        async for delivery in self._in_state(EnumOutboxState.CANCELLED, None):
            delivery.maybe_done = delivery.emitted.spec.kind != EnumIntentType.COMPUTE_TASK
            delivery.cancel()
            yield delivery

    async def open_of(self, key: WorkflowKey) -> AsyncIterator[Delivery]:
        """Intents of one instance that wait in the store, timers aside, as far as this app can read them."""
        async for delivery in self._in_state(EnumOutboxState.WAITING, key):
            if delivery.emitted.spec.kind != EnumIntentType.TIMER:
                yield delivery

    async def _in_state(self, state: EnumOutboxState, key: WorkflowKey | None) -> AsyncIterator[Delivery]:
        after: Pointer | None = None
        while rows := await self.reader.outbox((state,), key, after, PAGE):
            for row in rows:
                delivery = self._delivery(row) if self.service.has(row.pointer.shard) else None
                if delivery is not None:
                    yield delivery
            after = rows[-1].pointer

    async def timer_is_over(self, row: OutboxRow) -> bool:
        """Whether a step after the one that set this timer set it again or cancelled it.

        Names are compared as today's code calls them: a step of an older schema may have used another one.
        """
        after = row.version
        migrations = self.service.registry.chosen(row.key, row.code_id).migrations
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
                if self.service.has(row.pointer.shard):
                    yield row
            after = rows[-1].pointer

    def _delivery(self, row: OutboxRow) -> Delivery | None:
        """None for a row that this app cannot read, and for one whose reading ended the process three times: it is dead."""
        crash_counts, name = self.service.crash_counts, row_name(row.pointer)
        refused = crash_counts.refusal(name)
        if refused is not None:
            self.service.events("dead_after_crashes", **_named(row), error=refused.message)
            self.service.note(Note(row.pointer, EnumOutboxState.DEAD, row.attempt, error=refused.message))
            return None
        with crash_counts.running([name]):
            return self._read(row)

    def _read(self, row: OutboxRow) -> Delivery | None:
        delivery: Delivery | None = None
        # a timer that waits and can be read needs no reason; one in its row was written by code that could not read it
        reason = "" if row.timer and row.state is EnumOutboxState.WAITING else row.error
        try:
            delivery = stored_delivery(row, self.service.registry, self.service.clock.now_us())
        except BaseException as error:  # validators raise anything, and a damaged row may hold anything
            reason = error.message if isinstance(error, OnexError) else caught(error)
            if reason != row.error:
                self.service.events("intent_stranded", **_named(row), error=reason)
        if reason != row.error:  # a row is read again and again: its reason is written once
            note = Note(row.pointer, row.state, row.attempt, row.due_us, row.started, row.crashes, row.result, reason)
            self.service.note(note)
        return delivery

    async def _judge(self, row: OutboxRow, delivery: Delivery) -> None:
        """Sets what the row tells of tries so far; durable when it returns."""
        spec = delivery.emitted.spec
        once = spec.delivery is EnumDelivery.AT_MOST_ONCE
        # after the first minute of an owner starts are not recorded: any of these may have run
        delivery.maybe_done = (row.started or not once) and spec.kind != EnumIntentType.COMPUTE_TASK
        if not row.started:  # its crashes were counted by an owner that ended before it could run it
            due = row.due_us <= self.service.clock.now_us()
            delivery.alone = due and row.crashes >= CRASHES_ALONE
            return
        if once and row.error == CUT_OFF:
            delivery.ends = EffectUnknown(f"{CUT_OFF}, and it must not run twice", code=EnumAttempt.CUT_OFF)
            return  # the row stays as it is until that is durable
        delivery.crashes = row.crashes + 1
        self.service.tried(
            Attempt(
                row.pointer, max(1, row.attempt), 0, self.service.clock.now_us(), EnumAttempt.CRASHED,
                KilledItsProcess.code, "its process ended while it ran",
            )
        )  # fmt: skip
        self.service.counters.effects_retried += 1
        if delivery.crashes >= CRASHES_DEAD:
            delivery.ends = KilledItsProcess(
                f"its process ended while it ran, {delivery.crashes} times; fix it, then: "
                f"onex dead --redrive {':'.join(map(str, row.pointer))}"
            )
        elif once:
            delivery.ends = OnexError("its process ended while it ran, and it must not run twice")
        else:
            delivery.attempt += 1  # one that ends keeps the number of its last try
        # what is to end without running again stays started: we too may crash, before its end is durable
        started = delivery.ends is not None
        note = Note(row.pointer, attempt=delivery.attempt, due_us=row.due_us, started=started, crashes=delivery.crashes)
        await self.service.note_durably(note)
        delivery.alone = delivery.crashes >= CRASHES_ALONE


def _named(row: OutboxRow) -> dict[str, str | UUID]:
    return {"key": str(row.key), "correlation": UUID(bytes=row.correlation)}
