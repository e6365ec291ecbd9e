"""Inbox: takes what other processes wrote into the store, in the order of its tickets.

A row is an action, or a request of an operator (``operator_requests``). An action is judged like any other, and the commit
that applies or refuses it turns its row into the answer. A request is carried out when the last action taken before it for
the same key has its answer. Its row becomes ``{"done": true}`` or the error.

1. ``_look`` waits until the store says that another process may have written. A store whose signal can be lost says so every
   few seconds anyway. If the read after it fails, the next turn reads at once: the signal is used up, and the row is still there.
2. ``drain`` reads rows behind ``_taken``, the ticket taken last. It moves only when its row has been taken, so that a row on
   which the store failed is read again, and none behind it is judged before it.
3. ``_take`` reads one row. That runs validators of the user, so the row is written down first (``crash_counts``): at three
   crashes it is refused. Whatever is wrong with a row becomes its answer, and the inbox goes on.
4. ``_accept`` puts an action into its mailbox. If that is full it waits for room; the rows behind wait in the store. The same
   action twice in the inbox is judged once, and both rows get that answer.
5. Where workers share the store, rows of shards that are not ours are left. A shard that becomes ours may have older rows than
   ``_taken``: the inbox is read again from the first, and of rows up to ``_known`` only those of gained shards are taken.
6. A crash leaves every row that has no answer, and the next owner takes them again from the first. A request may so be
   carried out twice. Where twice is not as good as once, its answer goes into the commit that does it (``in_commit``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from dataclasses import replace

from ..kernel.action import EnumActionType, ModelAction, WorkflowKey, micros
from ..kernel.errors import (
    ActionExpiredError,
    OnexError,
    Overloaded,
    OwnershipLost,
    TemporaryDatabaseError,
    ValidationError,
)
from ..kernel.lease import LEASE_KINDS
from ..kernel.route import shard_of
from ..kernel.step import Rollback
from ..kernel.user_code import caught
from ..ports import InboxAnswer, InboxRow, Rejection
from ..records import REJECTED_BODY_BYTES
from .batch import answer_json
from .crash_counts import reading_name
from .dispatch import ReducerService
from .intake import read_wire
from .lease_requests import lease_from_wire
from .messenger import read_message
from .operator_requests import SUBMIT, RequestHandler
from .pending import Pending
from .task_supervisor import TaskSupervisor
from .wire_actions import WireActions
from .wire_support import MESSAGE, unsupported

PAGE = 200
DONE = b'{"done":true}'


class Inbox:
    """The reader of one store's inbox. A row whose kind is in ``handlers`` is a request; any other is an action."""

    def __init__(self, service: ReducerService, wire: WireActions, handlers: Mapping[str, RequestHandler]) -> None:
        self.service, self.wire, self.intake, self.handlers = service, wire, wire.intake, handlers
        self._taken = 0
        self._known, self._current, self._gained = 0, 0, set[int]()
        self._gain, self._read_gained = asyncio.Event(), asyncio.Event()
        self._last: dict[WorkflowKey, Pending] = {}
        self._looked = True
        self._supervisor = TaskSupervisor(service.clock, service.events, service.lose)

    async def start(self) -> None:
        await self.drain()
        self._supervisor.keep(self._look, "onex-inbox")

    async def close(self) -> None:
        await self._supervisor.close()

    async def _look(self) -> None:
        """One turn. A look that failed is taken again at once: the signal is gone, and what was sent still waits."""
        if self._looked:
            self._looked = False
            await self._woken()
        if self._current:  # on it the store failed: it was not taken
            self._known, self._current = min(self._known, self._current - 1), 0
        await self.drain()
        self._looked = True

    async def _woken(self) -> None:
        if not self.service.shares:
            await self.service.store.woken()
            return
        waits = [asyncio.ensure_future(self.service.store.woken()), asyncio.ensure_future(self._gain.wait())]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in waits:
                one.cancel()

    def gain_shards(self, shards: Set[int]) -> None:
        """Rows of these are ours to judge since a moment, those with an older ticket too."""
        self._known, self._taken = max(self._known, self._taken, self._current), 0
        self._gained |= shards
        self._gain.set()
        self._read_gained.clear()

    async def gained_shards_read(self) -> None:
        """Returns when every row that waited in a shard gained until now was accepted or answered."""
        await self._read_gained.wait()

    async def drain(self) -> int:
        """Takes what waits; returns the number of rows. While a mailbox is full it waits, and the rest stays in the store."""
        taken = 0
        while True:
            self._last = {key: pending for key, pending in self._last.items() if pending.answer is None}
            self._gain.clear()
            rows = await self.service.store.inbox(self._taken, PAGE)
            for row in rows:
                if self._gain.is_set():
                    break  # it is read again from the first
                self._current = row.ticket
                if self._is_next(row):
                    await self._take(row)
                    taken += 1
                self._current = 0
                if not self._gain.is_set():
                    self._taken = row.ticket
            if len(rows) < PAGE and not self._gain.is_set():
                self._gained.clear()
                self._read_gained.set()
                return taken

    def _is_next(self, row: InboxRow) -> bool:
        """Whether it is ours, and was not taken before."""
        here = self.service.not_here(row.shard) is None
        return here and (row.ticket > self._known or row.shard in self._gained)

    async def _take(self, row: InboxRow) -> None:
        """Raises only what the store raises, and what this engine's end brings: any other error is the row's answer."""
        name = reading_name(row.ticket)
        try:
            wire = read_wire(row.body)
            handler = self.handlers.get(wire.kind) if unsupported(wire) is None else None
            refused = self.service.crash_counts.refusal(name)
            if refused is not None:
                self._refuse(":".join(wire.workflow_key), wire, row, refused)
                return
            self._check_shard(wire, row)
            if handler is None:
                back = await self._asked_back(wire)
                with self.service.crash_counts.running([name]):  # reading a payload runs its validators
                    pending = self._read(wire, row, back)
        except TemporaryDatabaseError:
            raise
        except OnexError as error:
            pending, handler = self._unreadable(row, error), None
        except (
            BaseException
        ) as error:  # a fault of this engine: the sender gets it as the answer, and the inbox goes on
            pending, handler = self._unreadable(row, OnexError(caught(error))), None
        if handler is None:
            await self._accept(pending)
        else:
            await self._carry_out(handler, wire, row)

    async def _asked_back(self, wire: ModelAction) -> Rollback | OnexError | None:
        """What a rollback carries, with the versions in it that come of earlier rows. Raises as ``WireActions.asked_back``."""
        before = self._last.get(WorkflowKey(*wire.workflow_key))
        if before is not None and wire.action_type is EnumActionType.ROLLBACK_STATE:
            await before.answered()
        return await self.wire.asked_back(wire)

    def _read(self, wire: ModelAction, row: InboxRow, back: Rollback | OnexError | None) -> Pending:
        """Raises InvalidPayload, ValidationError for a request for a lease that is none."""
        supported = unsupported(wire) is None
        if wire.kind == MESSAGE and supported:
            return read_message(self.intake, wire, row)
        if wire.kind in LEASE_KINDS and supported:
            return lease_from_wire(self.intake, wire, row)
        if wire.kind == SUBMIT and supported:
            return self.intake.from_operator(wire, ticket=row.ticket, shard=row.shard, source="inbox")
        return self.wire.pending(wire, back, ticket=row.ticket, shard=row.shard, source="inbox")

    def _check_shard(self, wire: ModelAction, row: InboxRow) -> None:
        shards = self.service.store.shards
        shard = shard_of(WorkflowKey(*wire.workflow_key), shards) if shards > 1 else row.shard
        if shard != row.shard:
            raise ValidationError(
                f"the row of ticket {row.ticket} was written for shard {row.shard}, and its instance is in shard {shard} of "
                f"{shards}: write it with shard_of(key, {shards})"
            )

    def _unreadable(self, row: InboxRow, error: OnexError) -> Pending:
        self.service.events("inbox_refused", ticket=row.ticket, code=error.code, error=error.message)
        pending = self.intake.unreadable(row.body, error, ticket=row.ticket, source="inbox")
        return replace(pending, shard=row.shard)

    # --- actions --------------------------------------------------------------------------------------------------------

    async def _accept(self, pending: Pending) -> None:
        while True:
            try:
                twin = self.service.accept(pending)
                break
            except Overloaded:
                await self.service.room()
            except OnexError as error:
                if self.service.closed is not None:
                    raise
                self._tell(pending, error)
                return
        if twin is pending:
            self._last[pending.key] = pending
            return
        answer = await twin.answered()  # the same action twice in the inbox: both get the one answer
        if isinstance(answer, OnexError):
            self._tell(pending, answer)
        else:
            self._answer(pending, answer_json(answer))

    def _tell(self, to: Pending | InboxRow, error: OnexError) -> None:
        """A row of a shard that another worker has by now is left to that one: it is judged there."""
        if not isinstance(error, OwnershipLost):
            self._answer(to, answer_json(error))

    def _answer(self, to: Pending | InboxRow, answer: bytes) -> None:
        self.service.answer(InboxAnswer(to.ticket, answer, self.service.clock.now_us(), to.shard))

    # --- requests -------------------------------------------------------------------------------------------------------

    async def _carry_out(self, handler: RequestHandler, wire: ModelAction, row: InboxRow) -> None:
        """The answer is what the handler raises, or "done". A store that fails for now, and this engine's end, give none."""
        key_text = f"inbox:{':'.join(wire.workflow_key)[:200]!a}"
        done: list[int] = []

        def in_commit() -> None:
            """Without it a crash between the two commits would let the next owner drive the same effect once more."""
            done.append(row.ticket)
            self._answer(row, DONE)

        try:
            key = WorkflowKey.of(*wire.workflow_key)
            key_text = str(key)
            if wire.expires_at is not None and micros(wire.expires_at) < self.service.clock.now_us():
                raise ActionExpiredError(f"{wire.kind} for {key} expired before it was carried out; send it again")
            before = self._last.get(key)
            if before is not None:
                await before.answered()
            await handler(key, wire.command_payload, in_commit)
        except TemporaryDatabaseError:
            raise
        except OnexError as error:
            self._refuse(key_text, wire, row, error)
        except Exception as error:  # a fault of this engine: the sender gets it as the answer, and the inbox goes on
            self._refuse(key_text, wire, row, OnexError(caught(error)))
        else:
            if not done:
                self._answer(row, DONE)

    def _refuse(self, key: str, wire: ModelAction, row: InboxRow, error: OnexError) -> None:
        """Answers the row; keeps a rejection too, unless another try may succeed. Raises ``error`` when the engine has ended."""
        if self.service.closed is not None:
            raise error
        if not error.retryable:
            given = wire.action_id.bytes if wire.action_id is not None else self.intake.ids.new()
            body, now_us = row.body[:REJECTED_BODY_BYTES], self.service.clock.now_us()
            self.service.reject(Rejection(key, given, error.code, error.message, body, now_us))
        self._tell(row, error)
