"""Inbox: actions that other processes left in the store, judged in the order they came and answered in the same commit."""

from __future__ import annotations

import asyncio

from ..kernel.errors import OnexError, Overloaded
from ..ports import InboxAnswer, InboxRow
from .batch import answer_json
from .dispatch import ReducerService
from .submission import Door

PAGE = 200
AGAIN_S = 0.2


class Inbox:
    """Reads the store's inbox table whenever the store says somebody wrote into it."""

    def __init__(self, service: ReducerService, door: Door) -> None:
        self.service, self.door = service, door
        self._taken = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.drain()
        self._task = asyncio.create_task(self._run(), name="onex-inbox")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        """A look that failed is taken again: what woke us is gone, and what was sent still waits."""
        looked = True
        while self.service.closed is None:
            try:
                if looked:
                    looked = False
                    await self.service.store.woken()
                await self.drain()
                looked = True
            except OnexError:
                if self.service.closed is None:
                    await self.service.clock.sleep(AGAIN_S)

    async def drain(self) -> int:
        """Accept what waits; the number taken. A full mailbox leaves the rest where it is until there is room."""
        taken = 0
        while True:
            rows = await self.service.store.inbox(self._taken, PAGE)
            for row in rows:
                await self._take(row)
                self._taken = row.ticket
                taken += 1
            if len(rows) < PAGE:
                return taken

    async def _take(self, row: InboxRow) -> None:
        pending = self.door.from_wire(row.body, ticket=row.ticket, source="inbox")
        pending.given_id = True  # it may have been judged before a crash: the log is asked before it is refused
        while True:
            try:
                twin = self.service.accept(pending)
                break
            except Overloaded:
                await self.service.quiet()
            except OnexError as error:
                if self.service.closed is not None:
                    raise
                self.service.answer(InboxAnswer(row.ticket, answer_json(error), self.service.clock.now_us()))
                return
        if twin is not pending:  # the same action twice in the inbox: both get the one answer
            try:
                answer = answer_json(await self.service.done(twin))
            except OnexError as error:
                answer = answer_json(error)
            self.service.answer(InboxAnswer(row.ticket, answer, self.service.clock.now_us()))
