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
5. A crash leaves every row that has no answer, and the next owner takes them again from the first. A request may so be
   carried out twice. Where twice is not as good as once, its answer goes into the commit that does it (``in_commit``).
"""

from __future__ import annotations

from collections.abc import Mapping

from ..kernel.action import ModelAction, WorkflowKey, micros
from ..kernel.errors import ActionExpiredError, OnexError, Overloaded, TemporaryDatabaseError
from ..kernel.user_code import caught
from ..ports import InboxAnswer, InboxRow, Rejection
from ..records import REJECTED_BODY_BYTES
from .batch import answer_json
from .crash_counts import reading_name
from .dispatch import ReducerService
from .intake import Intake, read_wire, unsupported
from .mailbox import Pending
from .operator_requests import SUBMIT, RequestHandler
from .task_supervisor import TaskSupervisor

PAGE = 200
DONE = b'{"done":true}'


class Inbox:
    """The reader of one store's inbox. A row whose kind is in ``handlers`` is a request; any other is an action."""

    def __init__(self, service: ReducerService, intake: Intake, handlers: Mapping[str, RequestHandler]) -> None:
        self.service, self.intake, self.handlers = service, intake, handlers
        self._taken = 0
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
            await self.service.store.woken()
        await self.drain()
        self._looked = True

    async def drain(self) -> int:
        """Takes what waits; returns the number of rows. While a mailbox is full it waits, and the rest stays in the store."""
        taken = 0
        while True:
            self._last = {key: pending for key, pending in self._last.items() if pending.answer is None}
            rows = await self.service.store.inbox(self._taken, PAGE)
            for row in rows:
                await self._take(row)
                self._taken = row.ticket
                taken += 1
            if len(rows) < PAGE:
                return taken

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
            if handler is None:
                by_operator = wire.kind == SUBMIT and unsupported(wire) is None
                read = self.intake.from_operator if by_operator else self.intake.from_wire
                with self.service.crash_counts.running([name]):  # reading a payload runs its validators
                    pending = read(wire, ticket=row.ticket, source="inbox")
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

    def _unreadable(self, row: InboxRow, error: OnexError) -> Pending:
        self.service.events("inbox_refused", ticket=row.ticket, code=error.code, error=error.message)
        return self.intake.unreadable(row.body, error, ticket=row.ticket, source="inbox")

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
                self._answer(pending.ticket, answer_json(error))
                return
        if twin is pending:
            self._last[pending.key] = pending
            return
        try:  # the same action twice in the inbox: both get the one answer
            answer = answer_json(await self.service.done(twin))
        except OnexError as error:
            answer = answer_json(error)
        self._answer(pending.ticket, answer)

    def _answer(self, ticket: int, answer: bytes) -> None:
        self.service.answer(InboxAnswer(ticket, answer, self.service.clock.now_us()))

    # --- requests -------------------------------------------------------------------------------------------------------

    async def _carry_out(self, handler: RequestHandler, wire: ModelAction, row: InboxRow) -> None:
        """The answer is what the handler raises, or "done". A store that fails for now, and this engine's end, give none."""
        key_text = f"inbox:{':'.join(wire.workflow_key)[:200]!a}"
        done: list[int] = []

        def in_commit() -> None:
            """Without it a crash between the two commits would let the next owner drive the same effect once more."""
            done.append(row.ticket)
            self._answer(row.ticket, DONE)

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
                self._answer(row.ticket, DONE)

    def _refuse(self, key: str, wire: ModelAction, row: InboxRow, error: OnexError) -> None:
        """Answers the row; keeps a rejection too, unless another try may succeed. Raises ``error`` when the engine has ended."""
        if self.service.closed is not None:
            raise error
        if not error.retryable:
            given = wire.action_id.bytes if wire.action_id is not None else self.intake.ids.new()
            body, now_us = row.body[:REJECTED_BODY_BYTES], self.service.clock.now_us()
            self.service.reject(Rejection(key, given, error.code, error.message, body, now_us))
        self._answer(row.ticket, answer_json(error))
