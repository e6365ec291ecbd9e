"""BusIntake: messages of a bus become actions of the engine. An offset is committed after the commit that it caused, never before.

One turn of the loop:

1. ``read`` takes as many messages as there is room for (``WINDOW`` may be open). With no room it takes none, and says that
   this member lives.
2. A message of the topics of actions asks one thing (``message``), an event one of each workflow that reads it
   (``consumed_topics``). Each ask goes into the lane of its key. A lane handles one at a time, so a key keeps its order. Lanes
   go side by side.
3. An ask is an action, which goes the way of any other. When its answer is there, it is durable: applied,
   applied before under the same id, or refused with a row in the rejections.
4. Positions before which everything is finished are committed (``open_messages``).

What becomes of a message that is not applied:

- *Refused by the state* (no such transition, a guard, an ended instance): the rejection is its record, and the lane goes on.
- *No state can accept it* (no JSON, a wrong signature, no such workflow, a wrong payload), or it ended its process three times: it
  is recorded as a rejection, under its source where it has no key, and published to the topic's dead-letter topic with the reason.
- *Refused for now* (overload, a lost store, a lease, a held instance, conflicts): the lane waits and tries again, and what is
  behind it in that lane waits too. An instance's own refusal is tried for ``RETRY_S``. Then the message goes to the dead-letter
  topic, so that one instance which nobody releases does not hold a partition for ever. A store or engine that refuses everything
  is waited for.

A crash leaves its messages uncommitted. They are read again, and are known by their ids: each is applied once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from uuid import UUID

from ...bus import BusError, EnumPublished, GroupMember, ReceivedMessage
from ...kernel.errors import KilledItsProcess, OnexError, Refused, ValidationError
from ..crash_counts import message_name
from ..dispatch import ReducerService
from ..intake import write_wire
from ..log_tail import ChangeSignal
from ..messenger import Messenger
from ..pending import Pending
from ..task_supervisor import TaskSupervisor
from ..wire_actions import WireActions
from .consumed_topics import TopicRoutes
from .message import AskedAction, dead_letter, message_id
from .open_messages import OpenMessages
from .service import EventBusService

WINDOW = 1000
RETRY_S = 600.0
WAIT_S = 1.0
FIRST_S = 0.05
LONGEST_S = 5.0


class BusIntake:
    """One member of ``group``, from ``start`` to ``close``."""

    def __init__(
        self,
        service: ReducerService,
        wire: WireActions,
        bus: EventBusService,
        group: str,
        routes: TopicRoutes,
        *,
        window: int = WINDOW,
        retry_s: float = RETRY_S,
        others: Messenger | None = None,
    ) -> None:
        self.service, self.wire, self.intake, self.bus = service, wire, wire.intake, bus
        self.group, self.routes, self.window, self.retry_s = group, routes, window, retry_s
        self._others = others
        self._member: GroupMember | None = None
        self._open = OpenMessages()
        self._lanes: dict[bytes, deque[AskedAction]] = {}
        self._finished = ChangeSignal()
        self._supervisor = TaskSupervisor(service.clock, service.events, service.lose)

    async def start(self) -> None:
        """Raises BusRefused for a group or topic that cannot be."""
        self._member = await self.bus.subscribe(self.group, self.routes.topics)
        self._supervisor.keep(self._turn, "onex-bus-intake")

    async def close(self) -> None:
        """Commits what is finished and leaves the group; what is not finished is read again by the next member."""
        await self._supervisor.close()
        member, self._member = self._member, None
        if member is None:
            return
        try:
            await self._commit(member)
        except BusError as error:
            self.service.events("positions_not_committed", error=error.message)
        await member.close()

    async def _turn(self) -> None:
        member = self._member
        assert member is not None, "the loop runs between start and close"
        seen, room = self._finished.count, self.window - len(self._open)
        messages = await member.read(max(0, room))
        self._open.keep_only(member.assignment)
        for message in messages:
            asks = self.routes.asks(message, self.bus.keys)
            if self._open.take(message, len(asks)):
                self.bus.consumed[message.topic] = self.bus.consumed.get(message.topic, 0) + 1
                if not asks:
                    self.bus.passed_over[message.topic] = self.bus.passed_over.get(message.topic, 0) + 1
                for ask in asks:
                    self._line_up(ask)
        if room <= 0:
            with suppress(TimeoutError):  # then this member says again that it lives
                async with asyncio.timeout(WAIT_S):
                    await self._finished.wait(seen)
        await self._commit(member)

    async def _commit(self, member: GroupMember) -> None:
        positions = self._open.positions()
        if positions:
            await member.commit(positions)
            self._open.committed(positions)

    # --- one lane per key -----------------------------------------------------------------------------------------------

    def _line_up(self, ask: AskedAction) -> None:
        lane = self._lanes.get(ask.lane)
        if lane is not None:
            lane.append(ask)
            return
        self._lanes[ask.lane] = deque((ask,))
        self._supervisor.start(self._run_lane(ask.lane), "onex-bus-lane")

    async def _run_lane(self, key: bytes) -> None:
        lane = self._lanes[key]
        try:
            while lane:
                if not await self._handle(lane[0]):
                    return  # the engine has ended, and nothing of this lane is finished
                self._open.finish(lane.popleft().message)
                self._finished.notify()
        finally:
            del self._lanes[key]

    async def _handle(self, ask: AskedAction) -> bool:
        """Until it is finished, or the partition is another member's. False when the engine has ended before."""
        clock, message = self.service.clock, ask.message
        began_s, wait_s = clock.monotonic(), FIRST_S
        while self._open.has(message):
            error = await self._judge(ask)
            if error is None:
                return True
            if self.service.closed is not None:
                return False
            tried_s = clock.monotonic() - began_s
            waits = error.retryable and not (isinstance(error, Refused) and tried_s >= self.retry_s)
            if not waits:
                if error.retryable or isinstance(error, ValidationError | KilledItsProcess):
                    await self._quarantine(message, error)
                return True
            if wait_s == FIRST_S:
                self.service.events("message_waits", source=_where(message), code=error.code, error=error.message)
            await clock.sleep(wait_s)
            wait_s = min(LONGEST_S, 2 * wait_s)
        return True

    async def _judge(self, ask: AskedAction) -> OnexError | None:
        """One try: None when it is applied, else the error it was refused with. Both are durable by then."""
        try:
            pending = await self._pending(ask)
            shard = self.service.shard_of(pending)
            action = ask.action
            mine = self._others is None or pending.refusal is not None or self.service.not_here(shard) is None
            if self._others is None or mine or isinstance(action, OnexError):
                await self.service.done(self.service.accept(pending))
            else:  # another worker has the instance: it judges the action, which has the same id there
                named = action.model_copy(update={"action_id": UUID(bytes=pending.id)})
                await self._others.ask(write_wire(named), shard)
        except OnexError as error:
            return error
        return None

    async def _pending(self, ask: AskedAction) -> Pending:
        """Raises what the store raises."""
        message, action = ask.message, ask.action
        source, name = f"bus:{message.topic}", message_name(message_id(message).bytes)
        if isinstance(action, OnexError):
            return self.intake.unreadable(message.value, action, source=source, action_id=message_id(message))
        refusal = self.service.crash_counts.refusal(name)
        if refusal is not None:
            return self.intake.unreadable(message.value, refusal, source=source, action_id=message_id(message))
        back = await self.wire.asked_back(action)
        with self.service.crash_counts.running([name]):  # reading a payload runs its validators
            return self.wire.pending(action, back, source=source, comes_again=True)

    # --- what cannot be used --------------------------------------------------------------------------------------------

    async def _quarantine(self, message: ReceivedMessage, error: OnexError) -> None:
        """Returns when it is on the dead-letter topic, or that topic refuses it: the rejection is kept in any case."""
        letter, wait_s = dead_letter(message, error, self.group), FIRST_S
        while self._open.has(message):
            (answer,) = await self.bus.publish_messages([letter])
            if answer.outcome in (EnumPublished.PUBLISHED, EnumPublished.REJECTED):
                self.service.events(
                    "message_quarantined",
                    source=_where(message),
                    code=error.code,
                    error=error.message,
                    kept=answer.outcome is EnumPublished.PUBLISHED,
                )
                self.service.crash_counts.forget(message_name(message_id(message).bytes))
                return
            await self.service.clock.sleep(wait_s)
            wait_s = min(LONGEST_S, 2 * wait_s)


def _where(message: ReceivedMessage) -> str:
    return f"{message.topic}/{message.partition}/{message.offset}"
