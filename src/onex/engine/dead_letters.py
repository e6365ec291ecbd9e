"""Stopped: what does not go on by itself any more. Outcomes held for a reducer that is to be mended, and dead intents.

Delivering again never repeats an effect; driving a dead one again does, under the same key, because an operator said so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson

from ..kernel.action import NOTHING, WorkflowKey
from ..kernel.errors import ConcurrentModificationError, OnexError, TemporaryDatabaseError, ValidationError
from ..kernel.intent import outcome_id
from ..kernel.user_code import describe
from ..ports import Clock, EnumOutboxState, Note, OutboxRow, Pointer, Reader
from .crash_counts import row_name
from .delivery import Delivery, stored_delivery
from .dispatch import ReducerService
from .schema_upgrade import logged_payload, logged_trigger
from .takeover import Takeover

AGAIN_S = 0.5


class DeadLetters:
    """``run`` puts an intent back to work."""

    def __init__(
        self,
        service: ReducerService,
        clock: Clock,
        reader: Reader,
        takeover: Takeover,
        run: Callable[[Delivery], None],
    ) -> None:
        self.service, self.clock, self.reader = service, clock, reader
        self._takeover, self._run = takeover, run
        self._driving: dict[Pointer, asyncio.Task[None]] = {}
        self._asked: dict[Pointer, list[Callable[[], None]]] = {}

    async def deliver_of_other_code(self) -> None:
        """New code may be the mend: outcomes held under other code are delivered again, once per start."""
        async for row, work in self._takeover.held():
            stored = (await self.reader.load([row.key])).get(row.key)
            if stored is not None and stored.code_id != self.service.code_id(row.key.workflow_type):
                await self._try(row, work)

    async def deliver(self, key: WorkflowKey) -> None:
        """Every held outcome of one instance."""
        async for row, work in self._takeover.held():
            if row.key == key:
                await self._try(row, work)

    async def redrive(self, pointer: Pointer, noting: Callable[[], None] | None = None) -> None:
        """A dead intent from attempt 1 with the same key; a held outcome as it was. Raises ValidationError.

        Two who ask at once have asked once: the second must not act on a row that the first has ended meanwhile. Who
        stops waiting withdraws nothing. ``noting`` is called where a dead row is about to be written back to life: what
        it gives the service then goes into the same commit.
        """
        if noting is not None:
            self._asked.setdefault(pointer, []).append(noting)
        driving = self._driving.get(pointer)
        if driving is None:
            driving = self._driving[pointer] = asyncio.create_task(self._drive(pointer), name="onex-redrive")
            driving.add_done_callback(self._driven)
        await asyncio.shield(driving)

    def _driven(self, task: asyncio.Task[None]) -> None:
        self._driving = {pointer: driving for pointer, driving in self._driving.items() if driving is not task}
        self._asked = {pointer: asked for pointer, asked in self._asked.items() if pointer in self._driving}
        if not task.cancelled():
            task.exception()  # looked at: who asked may not wait any more

    async def _drive(self, pointer: Pointer) -> None:
        after = pointer._replace(ordinal=pointer.ordinal - 1)
        states = (EnumOutboxState.DEAD, EnumOutboxState.HELD)
        rows = await self.reader.outbox(states, None, after, 1)
        if not rows or rows[0].pointer != pointer:
            raise ValidationError(f"no dead or held intent at {':'.join(map(str, pointer))}; onex dead lists them")
        row = rows[0]
        self.service.crash_counts.forget(row_name(pointer))
        work = stored_delivery(row, self.service.registry, self.clock.now_us())
        if row.state is EnumOutboxState.HELD:
            await self._deliver(row, work)
            return
        work.maybe_done = row.crashes > 0 or row.attempt > 1
        work.attempt, work.crashes = 1, 0
        written = self.service.note_durably(Note(pointer, attempt=1))
        for noting in self._asked.pop(pointer, ()):
            noting()
        await written
        self._run(work)

    async def _try(self, row: OutboxRow, work: Delivery) -> None:
        """One of many: what this code cannot read stays held, and its row says why."""
        try:
            await self._deliver(row, work)
        except Exception as error:
            if self.service.closed is not None:
                raise
            told = error.message if isinstance(error, OnexError) else describe(error)
            self.service.events("held_row_unreadable", key=str(row.key), error=told)
            self.service.note(
                Note(row.pointer, row.state, row.attempt, crashes=row.crashes, result=row.result, error=told)
            )

    async def _deliver(self, row: OutboxRow, work: Delivery) -> None:
        """Raises OnexError when this code cannot read what was held."""
        if row.timer:
            await self._ring(row, work)
            return
        told = orjson.loads(row.result)
        kind, schema = told["kind"], told.get("schema", 1)
        workflow = self.service.registry[row.key.workflow_type]
        payload = logged_payload(workflow, kind, schema, orjson.dumps(told["payload"]))
        kind = logged_trigger(workflow, kind, schema)
        pending = work.pending(self.clock, row.key, kind, payload, outcome_id(work.id))
        pending.given_id = True  # it may have been delivered since the row was read
        self.service.accept(pending)

    async def _ring(self, row: OutboxRow, work: Delivery) -> None:
        """A held timer, unless a later step replaced or cancelled it: its row does not say so, but the log does.

        The log is read up to a version, and the timer is judged at that version only, else it is read on.
        """
        while self.service.closed is None:
            try:
                stored = (await self.reader.load([row.key]))[row.key]
                if stored.terminal or await self._takeover.timer_is_over(row):
                    self.service.settle(row.pointer)
                    return
                trigger = work.fresh.emitted.spec.trigger
                pending = work.pending(self.clock, row.key, trigger, NOTHING, outcome_id(work.id))
                pending.issued_us = max(pending.issued_us, work.fresh.emitted.due_us)
                pending.timer, pending.given_id = work.fresh.emitted.name, True
                pending.expected_version = stored.version
                await self.service.done(self.service.accept(pending))
                return
            except ConcurrentModificationError:
                await self.clock.sleep(0)
            except TemporaryDatabaseError:
                await self.clock.sleep(AGAIN_S)
            except OnexError:
                return  # refused, which is its end, or held as before
