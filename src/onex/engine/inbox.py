"""Inbox: what other processes left in the store, taken in the order it came. Actions are answered in their own commit.

Beside actions there are controls (``control``): the owner carries them out, each when what came before it for the same key
has been judged, and writes ``{"done": true}`` or the error behind them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from ..kernel.action import ModelAction, WorkflowKey, micros
from ..kernel.errors import ActionExpiredError, OnexError, Overloaded, TemporaryDatabaseError
from ..kernel.user_code import caught
from ..ports import InboxAnswer, InboxRow, Rejection
from .batch import REJECTED_BODY_BYTES, answer_json
from .crash_counts import reading_name
from .dispatch import ReducerService
from .intake import Intake, read_wire, unsupported
from .mailbox import Pending
from .operator_requests import RequestHandler
from .task_supervisor import TaskSupervisor

PAGE = 200
LOOK_S = 5.0  # a sign that was missed costs this long, not for ever: one look in five seconds is no load
DONE = b'{"done":true}'


class Inbox:
    """Reads the store's inbox table whenever the store says somebody wrote into it. ``controls[kind]`` are no actions."""

    def __init__(self, service: ReducerService, intake: Intake, controls: Mapping[str, RequestHandler]) -> None:
        self.service, self.intake, self.controls = service, intake, controls
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
        """A look that failed is taken again: what woke us is gone, and what was sent still waits."""
        if self._looked:
            self._looked = False
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self.service.store.woken()
        await self.drain()
        self._looked = True

    async def drain(self) -> int:
        """Accept what waits; the number taken. A full mailbox leaves the rest where it is until there is room."""
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
        """Whatever is wrong with a row is that row's answer: raises only what the store or our own end brings."""
        name = reading_name(row.ticket)
        try:
            wire = read_wire(row.body)
            control = self.controls.get(wire.kind) if unsupported(wire) is None else None
            refused = self.service.crash_counts.refusal(name)
            if refused is not None:
                self._refuse(":".join(wire.workflow_key), wire, row, refused)
                return
            if control is None:
                with self.service.crash_counts.running([name]):  # reading a payload runs its validators
                    pending = self.intake.from_wire(wire, ticket=row.ticket, source="inbox")
        except OnexError as error:
            pending, control = self._unreadable(row, error), None
        except BaseException as error:  # a fault of ours: who asked is told, and the inbox goes on
            pending, control = self._unreadable(row, OnexError(caught(error))), None
        if control is None:
            await self._accept(pending)
        else:
            await self._carry_out(control, wire, row)

    def _unreadable(self, row: InboxRow, error: OnexError) -> Pending:
        self.service.events("inbox_refused", ticket=row.ticket, code=error.code, error=error.message)
        return self.intake.unreadable(row.body, error, ticket=row.ticket, source="inbox")

    # --- actions --------------------------------------------------------------------------------------------------------

    async def _accept(self, pending: Pending) -> None:
        pending.given_id = True  # it may have been judged before a crash: the log is asked before it is refused
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

    # --- controls -------------------------------------------------------------------------------------------------------

    async def _carry_out(self, control: RequestHandler, wire: ModelAction, row: InboxRow) -> None:
        """Whatever it comes to is its answer; only a store that fails for now, and our own end, leave the row as it is."""
        told = f"inbox:{':'.join(wire.workflow_key)[:200]!a}"
        done: list[int] = []

        def in_commit() -> None:
            """An effect driven again, and no answer to show for it, would be driven again by the next owner too."""
            done.append(row.ticket)
            self._answer(row.ticket, DONE)

        try:
            key = WorkflowKey.of(*wire.workflow_key)
            told = str(key)
            if wire.expires_at is not None and micros(wire.expires_at) < self.service.clock.now_us():
                raise ActionExpiredError(f"{wire.kind} for {key} expired before it was carried out; send it again")
            before = self._last.get(key)
            if before is not None:
                await before.answered()
            await control(key, wire.command_payload, in_commit)
        except TemporaryDatabaseError:
            raise
        except OnexError as error:
            self._refuse(told, wire, row, error)
        except Exception as error:  # a fault of ours: who asked is told, and the inbox goes on
            self._refuse(told, wire, row, OnexError(caught(error)))
        else:
            if not done:
                self._answer(row.ticket, DONE)

    def _refuse(self, key: str, wire: ModelAction, row: InboxRow, error: OnexError) -> None:
        if self.service.closed is not None:
            raise error
        if not error.retryable:
            given = wire.action_id.bytes if wire.action_id is not None else self.intake.ids.new()
            body, now_us = row.body[:REJECTED_BODY_BYTES], self.service.clock.now_us()
            self.service.reject(Rejection(key, given, error.code, error.message, body, now_us))
        self._answer(row.ticket, answer_json(error))
