"""ReducerPatternEngine: the object a program uses. It submits actions, asks for states, waits, follows the log, and closes.

It owns one writer (``ReducerService``), one relay and one inbox over one store. What they hold in memory is a cache: a crash
loses nothing of it that was answered as durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence, Set
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self, cast
from uuid import UUID

from ..kernel.action import ModelAction, WorkflowKey
from ..kernel.errors import EngineClosed, OnexError, ValidationError
from ..kernel.membership import Worker
from ..kernel.step import ROLLBACK, State
from ..kernel.user_code import a_type
from ..ports import (
    Applied,
    Clock,
    Env,
    Ids,
    Interpreter,
    KeyChange,
    LogEntry,
    Pointer,
    Position,
    Reader,
    Sender,
    ShardLeases,
    Store,
    Stored,
    Telemetry,
)
from .arguments import checked, count, log_position, outbox_pointer, seconds, text, workflow_key
from .awaited_status import TERMINAL, AwaitedStatus
from .delivery import Delivery
from .dispatch import ReducerService
from .held_lease import EngineLeases
from .inbox import Inbox
from .intake import Intake
from .limits import Limits
from .log_tail import ChangeSignal, LogTail, ShardSignals
from .messenger import AnswerSignal
from .metrics import Counters
from .operator_requests import request_handlers
from .payload_reading import PayloadInput
from .pending import Committed
from .quotas import count_open
from .refold import state_at
from .registry import ReducerRegistry
from .relay import IntentRelay
from .schema_upgrade import check_schemas, stored_state
from .shard_keeper import ShardKeeper
from .wire_actions import WireActions


class ReducerPatternEngine(EngineLeases):
    """Opened with ``start``; use it as ``async with``. All methods belong to one event loop."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        registry: ReducerRegistry,
        clock: Clock,
        ids: Ids,
        env: Env,
        *,
        limits: Limits | None = None,
        check_all: bool = False,
        telemetry: Telemetry | None = None,
        interpreter: Interpreter | None = None,
    ) -> None:
        self.store, self.reader, self.registry, self.clock = store, reader, registry, clock
        self.service = ReducerService(
            store,
            registry,
            clock,
            env,
            _Listener(self),
            limits=limits,
            check_all=check_all,
            telemetry=telemetry,
            interpreter=interpreter,
        )
        self.intake = Intake(registry, clock, ids, dedup_hours=self.service.limits.dedup_hours)
        self.relay = IntentRelay(self.service, clock, reader)
        self.wire = WireActions(self.intake, reader)
        self.inbox = Inbox(
            self.service, self.wire, request_handlers(self.release, self.relay.dead_letters.redrive, reader)
        )
        self.commit_signal, self.shard_signals, self._interpreter = ChangeSignal(), ShardSignals(), interpreter
        self.keeper: ShardKeeper | None = None
        self._closing: asyncio.Task[None] | None = None
        self._waiters: dict[WorkflowKey, set[asyncio.Future[None]]] = {}

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self, owner: str) -> Self:
        """Take the store and what waits in it.

        Raises OwnershipLost when another process runs on it, MigrationMissing when it holds what this app cannot read.
        """
        check_schemas(self.registry.workflows, tuple((await self.reader.codes()).values()))
        await self.service.start(owner)
        await self.relay.start(self.inbox.start)
        if self._interpreter is not None:
            self._interpreter.start()
        self.service.events("engine_started", owner=owner)
        return self

    async def share(self, worker: Worker, leases: ShardLeases, sender: Sender, changes: AnswerSignal) -> Self:
        """Begin as one of several workers that share the store: the shards come and go (``shard_keeper``).

        ``sender`` and ``changes`` are those of the store: a message to an instance of another worker goes through its inbox.
        Raises OwnershipLost where one engine has the store for itself, MigrationMissing.
        """
        check_schemas(self.registry.workflows, tuple((await self.reader.codes()).values()))
        await self.service.start(None)
        self.relay.share(sender, changes)
        await self.relay.start(self.inbox.start)
        # what follows the log of a shard goes on where the last owner's stopped
        followers = self.shard_signals.notify
        self.keeper = ShardKeeper(leases, worker, self.clock, self.service, self.relay, self.inbox, gained=followers)
        await self.keeper.start()
        if self._interpreter is not None:
            self._interpreter.start()
        self.service.events("engine_started", owner=worker.about or worker.id)
        return self

    async def close(self) -> None:
        """Accepted actions become durable; running effects are left to the next owner. Idempotent.

        A cancelled call only stops waiting. The close itself goes on: an engine that is half closed would still answer.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="onex-close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._interpreter is not None:
            self._interpreter.close()
        if self.keeper is not None:
            await self.keeper.close()
        await self.inbox.close()
        await self.relay.close()
        await self.service.close()
        if self.keeper is not None:
            await self.keeper.leave()
        self._end_waits(EngineClosed("the engine was closed before what was waited for; open it again and wait there"))
        await self.store.close()
        await self.reader.close()
        self.service.events("engine_closed", not_durable=self.counters.not_durable)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def is_closing(self) -> bool:
        """``close`` was called; it may have ended since."""
        return self._closing is not None

    @property
    def counters(self) -> Counters:
        """What this process has done since it started: actions, refusals, effects, retries."""
        return self.service.counters

    # --- in -----------------------------------------------------------------------------------------------------------

    async def submit(
        self,
        key: WorkflowKey | str,
        kind: str,
        payload: PayloadInput = None,
        *,
        action_id: UUID | None = None,
        correlation_id: UUID | None = None,
        issuer: str = "",
        operator: str | None = None,
        cause: UUID | None = None,
        issued_at: datetime | None = None,
        expires_at: datetime | None = None,
        lease_id: UUID | None = None,
        epoch: int | None = None,
        expected_version: int | None = None,
    ) -> Committed:
        """Durable when it returns. Raises the OnexError it was refused with; the state is then as before.

        ``key`` is ``type:id``. ``payload`` is an object of its class, a mapping of its fields, JSON as bytes, or None for none.
        ``expected_version`` is the version the caller decided on: at any other ConcurrentModificationError is raised.
        Send the same ``action_id`` again after a lost answer: it is applied once, and the first answer comes back.
        An argument of a wrong type or out of its range is refused like any other action: InvalidKey, InvalidPayload,
        ValidationError. Ids are ``uuid.UUID``; ``issued_at`` (the engine's clock, when absent) and ``expires_at`` are aware.

        A trigger that the app brings about by itself is refused as InternalTrigger, unless the contract lists it under ``public``
        or ``operator`` names who sends it. The log then says ``operator:NAME`` in place of ``issuer``.
        """
        pending = self.intake.pending(
            key,
            kind,
            payload,
            action_id=action_id,
            correlation_id=correlation_id,
            issuer=issuer,
            operator=operator,
            cause=cause,
            issued_at=issued_at,
            expires_at=expires_at,
            lease_id=lease_id,
            epoch=epoch,
            expected_version=expected_version,
        )
        return await self.service.done(self.service.accept(pending))

    async def perform(self, action: ModelAction) -> Committed:
        """An action as it is on the wire, of any type that is served (``wire_support``). Raises as ``submit``."""
        back = await self.wire.asked_back(action)
        return await self.service.done(self.service.accept(self.wire.pending(action, back, source="caller")))

    async def submit_many(
        self, actions: Sequence[tuple[WorkflowKey | str, str, PayloadInput]]
    ) -> list[Committed | OnexError]:
        """Each on its own, in order, with one wait for all: answers stand where their actions stood.

        Raises Overloaded when there is no room for all of them: then none was accepted. Raises ValidationError for what
        holds no actions at all.
        """
        given = checked(_listed, "actions", actions)
        self.service.room_for(len(given))
        pendings = [self.intake.one_of_many(action) for action in given]
        answers = await self.service.all_done([self.service.accept(pending) for pending in pendings])
        return cast("list[Committed | OnexError]", answers)  # none of them asks for a lease

    # --- out ----------------------------------------------------------------------------------------------------------

    async def stored(self, key: WorkflowKey | str) -> Stored | None:
        """The current row, never older than any Committed this process gave. Raises InvalidKey."""
        at = checked(workflow_key, "key", key)
        return (await self.reader.load([at])).get(at)

    async def state(self, key: WorkflowKey | str) -> State | None:
        """The current state, typed; None for an instance that has not begun."""
        stored, self.counters.states_read = await self.stored(key), self.counters.states_read + 1
        if stored is None or stored.version == 0:
            return None
        return stored_state(self.registry.chosen(stored.key, stored.code_id), stored.state_schema, stored.state)

    async def wait(self, key: WorkflowKey | str, until: str = TERMINAL, timeout_s: float = 30.0) -> Stored:
        """The row once its status is ``until``, or any terminal one. ``timeout_s`` may be ``math.inf``.

        Raises TimeoutError, EngineClosed, OwnershipLost, ValidationError for a status that the workflow does not have, and
        StatusUnreachable as soon as no action can bring it any more. It reads the row after commits of the instance: a
        status that was entered and left between two reads is not seen.
        """
        at = checked(workflow_key, "key", key)
        wanted = checked(text, "until", until)
        awaited = AwaitedStatus(at, wanted, self.registry.find(at.workflow_type))
        limit_s = checked(seconds, "timeout_s", timeout_s)
        limit = asyncio.timeout(limit_s)
        stored: Stored | None = None
        try:
            async with limit:
                while True:
                    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    waiters = self._waiters.setdefault(at, set())
                    waiters.add(future)
                    try:
                        stored = await self.stored(at)
                        if stored is not None and awaited.is_reached(stored):
                            return stored
                        awaited.check(stored)
                        if self.service.closed is not None:
                            raise self.service.closed
                        await future
                    finally:
                        waiters.discard(future)
                        if not waiters:
                            self._waiters.pop(at, None)
        except TimeoutError:
            if not limit.expired():
                raise
            raise awaited.late(stored, limit_s) from None

    def subscribe(self, after: Position = Position(0, 0)) -> AsyncIterator[LogEntry]:
        """Every log row of one shard behind ``after``, those committed here to come included. Raises ValidationError."""
        return LogTail(self.reader, self.commit_signal, checked(log_position, "after", after)).follow()

    async def idle(self) -> None:
        """Returns when nothing is due: no action waits, no effect runs or waits to be tried again."""
        while True:
            seen = self.commit_signal.count
            await self.service.quiet()
            await self.relay.settled()
            if self.service.is_quiet and not self.relay.busy and self.commit_signal.count == seen:
                return

    async def state_at(self, key: WorkflowKey | str, version: int) -> State:
        """Time travel: the state after ``version``, folded from the nearest snapshot. Raises OnexError for a gap."""
        at = checked(workflow_key, "key", key)
        return await state_at(self.reader, self.registry[at.workflow_type], at, checked(count, "version", version))

    async def rollback(self, key: WorkflowKey | str, to_version: int) -> Committed:
        """The state of an earlier version as a new one; a finished instance stays finished.

        Raises what ``submit`` raises, and what ``WireActions.earlier_state`` does.
        """
        at, version = checked(workflow_key, "key", key), checked(count, "to_version", to_version)
        back = await self.wire.earlier_state(at, version)
        return await self.service.done(self.service.accept(self.intake.pending(at, ROLLBACK, back, ours=True)))

    # --- for operators -------------------------------------------------------------------------------------------------

    async def release(self, key: WorkflowKey | str) -> None:
        """End a hold: new actions are taken again, held outcomes are delivered again."""
        at = checked(workflow_key, "key", key)
        await self.service.release(at)
        await self.relay.dead_letters.deliver(at)

    async def redrive(self, pointer: Pointer) -> None:
        """A dead intent runs again from attempt 1 with the same key; a held outcome is delivered again.

        Raises ValidationError, and InstanceFinished for an intent with outcomes whose instance has ended.
        """
        await self.relay.dead_letters.redrive(checked(outbox_pointer, "pointer", pointer))

    def _changed(self, changes: Sequence[tuple[KeyChange, Applied]]) -> None:
        self.commit_signal.notify()
        self.shard_signals.notify({applied.first.shard for _, applied in changes})
        if self._waiters:
            for change, _ in changes:
                for future in self._waiters.get(change.key, ()):
                    if not future.done():
                        future.set_result(None)

    def _end_waits(self, error: OnexError) -> None:
        """Nothing will be committed here any more: whoever waits gets ``error`` at once, and does not wait for the time-out."""
        for waiters in self._waiters.values():
            for future in waiters:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # retrieved: the waiter may have ended by an error of the store already


class _Listener:
    """A ``CommitListener``: intents and outbox rows go to the relay, changes to those who wait for an instance."""

    def __init__(self, engine: ReducerPatternEngine) -> None:
        self._engine = engine
        self.count_open = partial(count_open, engine.reader)

    def rows_ended(self, pointers: Sequence[Pointer]) -> None:
        self._engine.relay.rows_ended(pointers)

    def emitted(self, deliveries: Sequence[Delivery]) -> None:
        self._engine.relay.offer(deliveries)

    async def open_intents(self, key: WorkflowKey) -> Sequence[Delivery]:
        return await self._engine.relay.open_intents(key)

    def withhold(self, pointers: Sequence[Pointer]) -> None:
        self._engine.relay.withhold(pointers)

    def give_back(self) -> None:
        self._engine.relay.give_back()

    def doubt(self, running: Sequence[Pointer]) -> None:
        self._engine.relay.doubt(running)

    def told(self, pointers: Sequence[Pointer]) -> None:
        self._engine.relay.tell(pointers)

    def changed(self, changes: Sequence[tuple[KeyChange, Applied]]) -> None:
        self._engine._changed(changes)

    def answer_was_lost(self) -> None:
        self._engine.relay.cancel_doubts.later_commit_answered()
        self._engine.relay.read_outbox_again()

    def parted(self, shards: Set[int]) -> None:
        self._engine.relay.parted(shards)

    def stopped(self, error: OnexError) -> None:
        self._engine._end_waits(error)


def _listed(name: str, value: object) -> list[object]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    raise ValidationError(f"{name} is {a_type(value)}; give a list of (key, trigger, payload)")
