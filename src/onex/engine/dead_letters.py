"""DeadLetters: intents that do not go on by themselves. An operator, new code or ``onex release`` starts them again.

Two kinds of outbox row wait here. A *held* row keeps an outcome or a timer on which the reducer failed. To deliver it again
never repeats the effect: the result stands in the row. A *dead* row is an intent that has no way to an outcome. To re-drive
it runs the effect again under the same key, because an operator said so (promise 24).

What may go wrong, and why the end is still one:

- Two ask for the same row at once. Both wait for one task (``_driving``). A second read of the row could see it as dead after
  the first had run it to its end, and would write it back to life.
- Who asks is cancelled. The task is shielded and goes on: the row may be half written to life already.
- The engine crashes after a dead row was written back and before the request was answered. The next owner would carry the
  request out again and run the effect once more. So ``in_commit`` puts the answer into the commit that writes the row.
- A held outcome was delivered already when this reads its row. Its action id follows from the intent's, and ``given_id`` makes
  the writer look it up in the log before it is judged.
- A held timer was set again or cancelled by a later step. Only the log says so. It is read up to a version, and
  ``expected_version`` makes the writer refuse the timer at any other; then the log is read again.
- One of many rows cannot be read by this code. It stays held with that reason in its row, and the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import orjson

from ..kernel.action import NOTHING, WorkflowKey
from ..kernel.data_key import check_readable
from ..kernel.errors import (
    ConcurrentModificationError,
    InstanceFinished,
    OnexError,
    TemporaryDatabaseError,
    ValidationError,
)
from ..kernel.intent import outcome_id
from ..kernel.user_code import describe
from ..ports import Clock, EnumOutboxState, Note, OutboxRow, Pointer, Reader
from .crash_counts import row_name
from .delivery import Delivery, stored_delivery
from .delivery_queue import DeliveryQueue
from .dispatch import ReducerService
from .operator_requests import stopped_at
from .schema_upgrade import held_schema, logged_payload, logged_trigger
from .takeover import Takeover

AGAIN_S = 0.5


class DeadLetters:
    """The held and dead rows of one engine. What is driven again is put into ``queue``."""

    def __init__(
        self, service: ReducerService, clock: Clock, reader: Reader, takeover: Takeover, queue: DeliveryQueue
    ) -> None:
        self.service, self.clock, self.reader = service, clock, reader
        self._takeover, self._queue = takeover, queue
        self._driving: dict[Pointer, asyncio.Task[None]] = {}
        self._in_commit: dict[Pointer, list[Callable[[], None]]] = {}

    async def deliver_of_other_code(self) -> None:
        """New code may be the fix: what was held under other code is delivered again, once per start.

        Other code is that of the instance's last commit, or, where an older process held the row because it could not read the
        instance, that of an older schema.
        """
        async for row, delivery in self._takeover.held():
            stored = (await self.reader.load([row.key])).get(row.key)
            code = delivery.workflow.code
            other = stored is not None and stored.code_id != self.service.code_id(row.key.workflow_type)
            if other or held_schema(row.result) < code.state_schema:
                await self._try(row, delivery)

    async def deliver(self, key: WorkflowKey) -> None:
        """Everything that is held of one instance."""
        async for row, delivery in self._takeover.held():
            if row.key == key:
                await self._try(row, delivery)

    async def redrive(self, pointer: Pointer, in_commit: Callable[[], None] | None = None) -> None:
        """Runs a dead intent from attempt 1 with the same key; delivers a held outcome as it was. Raises ValidationError,
        InstanceFinished where nobody would take the outcome any more, and InstanceErased.

        Durable when it returns. Two calls at once are one; a cancelled call withdraws nothing. ``in_commit`` is called
        just before a dead row is written back to life: what it gives the service goes into the same commit.
        """
        if in_commit is not None:
            self._in_commit.setdefault(pointer, []).append(in_commit)
        driving = self._driving.get(pointer)
        if driving is None:
            driving = self._driving[pointer] = asyncio.create_task(self._drive(pointer), name="onex-redrive")
            driving.add_done_callback(self._driven)
        await asyncio.shield(driving)

    def _driven(self, task: asyncio.Task[None]) -> None:
        self._driving = {pointer: driving for pointer, driving in self._driving.items() if driving is not task}
        self._in_commit = {pointer: calls for pointer, calls in self._in_commit.items() if pointer in self._driving}
        if not task.cancelled():
            task.exception()  # retrieved: if nobody waits any more, asyncio would report it as lost

    async def _drive(self, pointer: Pointer) -> None:
        row = await stopped_at(self.reader, pointer)
        if row is None:
            raise ValidationError(f"no dead or held intent at {':'.join(map(str, pointer))}; onex dead lists them")
        stored = (await self.reader.load([row.key])).get(row.key)
        if stored is not None:
            check_readable(stored.state, str(row.key))
        delivery = stored_delivery(row, self.service.registry, self.clock.now_us())
        if row.state is EnumOutboxState.DEAD and delivery.emitted.spec.outcomes:
            await self._check_wanted(row, delivery.emitted.name)
        self.service.crash_counts.forget(row_name(pointer))
        if row.state is EnumOutboxState.HELD:
            await self._deliver(row, delivery)
            return
        delivery.maybe_done = row.crashes > 0 or row.attempt > 1
        delivery.attempt, delivery.crashes, delivery.due_us, delivery.redriven = 1, 0, 0, True
        written = self.service.note_durably(Note(pointer, attempt=1))
        for in_commit in self._in_commit.pop(pointer, ()):
            in_commit()
        await written
        self._queue.add(delivery)

    async def _check_wanted(self, row: OutboxRow, name: str) -> None:
        """Its instance still takes the outcome. Raises InstanceFinished."""
        stored = (await self.reader.load([row.key])).get(row.key)
        if stored is not None and stored.terminal:
            raise InstanceFinished(
                f"{name!r} of {row.key} is not run again: {row.key} is {stored.status!r} and takes no outcome of it any more. "
                "What is still to be done outside is for you to do, or for a new instance",
                status=stored.status,
            )

    async def _try(self, row: OutboxRow, delivery: Delivery) -> None:
        """One of many: what this code cannot read stays held, and its row says why."""
        try:
            await self._deliver(row, delivery)
        except Exception as error:
            if self.service.closed is not None:
                raise
            reason = error.message if isinstance(error, OnexError) else describe(error)
            self.service.events(
                "held_row_unreadable", key=str(row.key), error=reason, correlation=UUID(bytes=row.correlation)
            )
            self.service.note(
                Note(row.pointer, row.state, row.attempt, crashes=row.crashes, result=row.result, error=reason)
            )

    async def _deliver(self, row: OutboxRow, delivery: Delivery) -> None:
        """Raises OnexError when this code cannot read what was held."""
        if row.timer:
            await self._fire(row, delivery)
            return
        held, schema = orjson.loads(row.result), held_schema(row.result)
        kind = held["kind"]
        workflow = delivery.workflow
        payload = logged_payload(workflow, kind, schema, orjson.dumps(held["payload"]))
        kind = logged_trigger(workflow, kind, schema)
        # ``given_id``: it may have been delivered since the row was read
        action_id = outcome_id(delivery.id)
        self.service.accept(delivery.pending(self.clock, row.key, kind, payload, action_id, given_id=True))

    async def _fire(self, row: OutboxRow, delivery: Delivery) -> None:
        """A held timer, unless a later step set it again or cancelled it."""
        emitted = delivery.emitted
        while self.service.closed is None:
            try:
                stored = (await self.reader.load([row.key]))[row.key]
                if stored.terminal or await self._takeover.timer_is_over(row):
                    self.service.settle(row.pointer)
                    return
                trigger = emitted.spec.trigger
                action_id, version = outcome_id(delivery.id), stored.version
                pending = delivery.pending(
                    self.clock, row.key, trigger, NOTHING, action_id, given_id=True, expected_version=version
                )
                await self.service.done(self.service.accept(pending))
                return
            except ConcurrentModificationError:
                await self.clock.sleep(0)
            except TemporaryDatabaseError:
                await self.clock.sleep(AGAIN_S)
            except OnexError:
                return  # refused, which is its end, or held as before
