"""EventPublisher: follows the log of one shard and publishes what it tells, at least once and in order per instance.

A turn (``publish_next``) goes like this:

1. Read the watermark in the store (the projection ``event_logs``): the last row whose events are all on the bus.
2. Read the next rows and make their events (``bus_events``). For a change of status the status before is needed: it is remembered
   from the row before, or read from the history of the instance.
3. Publish them. Each answer says what became of one event.
4. Move the watermark behind the last row of which, and before which, every event is published. In the same transaction one row
   per event is written, if ``keeps_log``: what was published where, and how long it took (``onex projection event_logs``).

What may go wrong, and why the end is still right:

- A crash after step 3: the watermark was not moved, so the events are published again, with the same ids and in the same order.
- The bus is away, or takes a part: the turn is tried again after a pause. Nobody waits for it: the engine goes on,
  and the rows stay in the log. The next turn begins at the first row that is not done, so each key keeps its order.
- One event is refused for good: after a failure rows are published one at a time, so the one that is refused is known. It is
  reported (``event_rejected``) and passed over; the version in later events shows the gap.
- A row of the log is damaged: nothing behind it is published, since a reader would not see the gap. The loop fails aloud, and the
  engine goes on.
- Another publisher of the same shard: the one who comes second moves no watermark. Readers see doubles, never a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import orjson

from ...bus import BusError, EnumPublished, Publication
from ...kernel.action import WorkflowKey
from ...kernel.errors import OnexError, StateConsistencyError
from ...ports import Clock, LogEntry, Position, ProjectionRow, Projections, Reader
from ..log_tail import ChangeSignal
from ..metrics import Events
from ..registry import ReducerRegistry
from ..task_supervisor import TaskSupervisor
from .bus_events import events_of, outgoing_of
from .service import EventBusService, Outgoing

EVENT_LOGS = "event_logs"
"""The name of the watermark, and of the projection that lists what was published."""
BATCH = 200
CLOSE_S = 5.0
AGAIN_S = 0.1
_REMEMBERED = 10_000


class _Planned(NamedTuple):
    """An event of the row at position ``n``."""

    n: int
    outgoing: Outgoing


class EventPublisher:
    """Publishes the log of one shard, from ``start`` to ``close``."""

    def __init__(
        self,
        bus: EventBusService,
        reader: Reader,
        tables: Projections,
        commit_signal: ChangeSignal,
        clock: Clock,
        registry: ReducerRegistry,
        events: Events,
        lose: Callable[[OnexError], None],
        *,
        shard: int = 0,
        batch: int = BATCH,
        keeps_log: bool = False,
    ) -> None:
        self.bus, self.reader, self.tables, self.commit_signal, self.clock = bus, reader, tables, commit_signal, clock
        self.registry, self.events, self.shard, self.batch, self.keeps_log = registry, events, shard, batch, keeps_log
        self._supervisor = TaskSupervisor(clock, events, lose)
        self._status: dict[WorkflowKey, tuple[int, str]] = {}
        self._careful = False
        self._batch_runs = asyncio.Lock()

    async def start(self) -> None:
        self._supervisor.keep(self._turn, f"onex-bus-publisher-{self.shard}")

    async def close(self) -> None:
        """Publishes what is committed, for some seconds at most; the next engine publishes the rest."""
        with suppress(TimeoutError):  # a batch that is under way ends in order, or would be published again
            async with asyncio.timeout(CLOSE_S), self._batch_runs:
                await self._supervisor.close()
        await self._supervisor.close()
        with suppress(OnexError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.catch_up()

    async def catch_up(self) -> int:
        """Publish what the log has; the number of rows. Raises BusError, and what the store raises."""
        done = 0
        while rows := await self.publish_next():
            done += rows
        return done

    async def _turn(self) -> None:
        seen = self.commit_signal.count
        try:
            done = await self.publish_next()
        except BusError:  # the service reports a bus that is away
            await self.clock.sleep(max(AGAIN_S, self.bus.retry_after_s))
            return
        if not done:
            await self.commit_signal.wait(seen)

    async def publish_next(self) -> int:
        """One batch; the number of rows done, 0 at the end of the log. Raises BusError when the bus took less than all."""
        async with self._batch_runs:
            return await self._publish_batch()

    async def _publish_batch(self) -> int:
        at = await self.tables.watermark(EVENT_LOGS, self.shard)
        rows = await self.reader.log(Position(self.shard, at), 1 if self._careful else self.batch)
        if not rows:
            return 0
        planned = [one for entry in rows for one in await self._planned(entry)]
        began_s = self.clock.monotonic()
        answers = await self._publish(planned)
        taken_ms = 1000 * (self.clock.monotonic() - began_s)
        failed = next((n for n, one in enumerate(answers) if not _is_over(one)), None)
        to = rows[-1].position.n if failed is None else planned[failed].n - 1
        if to > at:
            done = [pair for pair in zip(planned, answers, strict=True) if pair[0].n <= to]
            logged = [_logged(one, answer, taken_ms) for one, answer in done] if self.keeps_log else []
            await self.tables.project(EVENT_LOGS, self.shard, at, to, logged)
            for one, answer in done:
                if answer.outcome is EnumPublished.REJECTED:
                    self.events(
                        "event_rejected",
                        topic=one.outgoing.topic,
                        key=one.outgoing.key.decode(),
                        error=answer.reason,
                        correlation=one.outgoing.envelope.correlation_id,
                    )
        self._careful = failed is not None
        if failed is not None:
            raise BusError(f"{len(planned) - failed} events are not published: {answers[failed].reason}")
        return to - at

    async def _planned(self, entry: LogEntry) -> list[_Planned]:
        """The events of one row. Raises StateConsistencyError for one that is damaged."""
        before, workflow = await self._status_before(entry), self.registry.find(entry.key.workflow_type)
        try:
            events = events_of(entry, before, workflow)
            return [_Planned(entry.position.n, outgoing_of(entry, event, self.bus.topics)) for event in events]
        except ValueError as error:
            where = f"{entry.position.shard}:{entry.position.n}"
            raise StateConsistencyError(
                f"the log row at {where} ({entry.key}) is damaged, and nothing behind it is published: {error}; "
                "onex replay --strict shows what is wrong"
            ) from error

    async def _publish(self, planned: Sequence[_Planned]) -> Sequence[Publication]:
        if not self._careful:
            return await self.bus.publish([one.outgoing for one in planned])
        answers: list[Publication] = []
        for one in planned:
            answers += await self.bus.publish([one.outgoing])
            if not _is_over(answers[-1]):
                rest = Publication(EnumPublished.FAILED, reason=answers[-1].reason)
                return answers + [rest] * (len(planned) - len(answers))
        return answers

    async def _status_before(self, entry: LogEntry) -> str:
        """The status before this row; '' before the first, or where the history no longer has it."""
        version, status = self._status.pop(entry.key, (-1, ""))
        self._status[entry.key] = entry.version, entry.row.status
        if len(self._status) > _REMEMBERED:
            del self._status[next(iter(self._status))]
        if entry.version == 1 or version == entry.version - 1:
            return status if entry.version > 1 else ""
        found = await self.reader.history(entry.key, entry.version - 2, 1)
        return found[0].row.status if found and found[0].version == entry.version - 1 else ""


def _is_over(answer: Publication) -> bool:
    return answer.outcome in (EnumPublished.PUBLISHED, EnumPublished.REJECTED)


def _logged(one: _Planned, answer: Publication, taken_ms: float) -> ProjectionRow:
    envelope = one.outgoing.envelope
    fields = {
        "topic": one.outgoing.topic,
        "event_type": envelope.event_type,
        "workflow_key": one.outgoing.key.decode(),
        "correlation_id": str(envelope.correlation_id),
        "status": answer.outcome.value,
        "processing_time_ms": round(taken_ms, 3),
        "partition": answer.partition,
        "offset": answer.offset,
    }
    key = WorkflowKey("event", str(envelope.envelope_id))
    return ProjectionRow(key, 1, one.outgoing.topic, envelope.event_type, orjson.dumps(fields))
