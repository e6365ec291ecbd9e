"""One member of a consumer group, by confluent-kafka. One thread of its own does every call, one after the other.

librdkafka keeps the member alive and fetches ahead in threads of its own. ``read`` takes what has been fetched. Rebalances are
carried out inside ``poll``; the assignment is read after it. Partitions move one by one (``cooperative-sticky``), so what stays
is not read again. The client stores and commits no offset by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPosition

from ...bus import BusRefused, ReceivedMessage, TopicPartition
from .address import KafkaAddress
from .errors import translated

WAIT_S = 1.0
T = TypeVar("T")


class ConfluentSubscription:
    """A member; ``open`` makes one."""

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._thread = ThreadPoolExecutor(1, "onex-kafka-read")
        self._consumer: Consumer | None = None
        self._assigned: AbstractSet[TopicPartition] = frozenset()
        self._kept: deque[ReceivedMessage] = deque()
        self._trouble: KafkaError | None = None
        self._paused = False

    @classmethod
    async def open(
        cls, address: KafkaAddress, group: str, topics: Sequence[str], client: Mapping[str, object]
    ) -> ConfluentSubscription:
        """Raises BusRefused for a group or topic that cannot be."""
        self = cls(str(address))
        session_ms = int(1000 * address.session_timeout_s)
        settings: dict[str, object] = {
            **client,
            "bootstrap.servers": address.servers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": session_ms // 3,
            "max.poll.interval.ms": max(300_000, session_ms),
            "allow.auto.create.topics": True,  # the broker decides
            "error_cb": self._note,
        }
        try:
            await self._run(lambda: self._join(settings, list(topics)))
        except KafkaException as error:
            raise translated(error.args[0], self._shown) from error
        return self

    @property
    def assignment(self) -> AbstractSet[TopicPartition]:
        return self._assigned

    async def read(self, limit: int) -> Sequence[ReceivedMessage]:
        try:
            found = await self._run(lambda: self._read(limit))
        except KafkaException as error:
            raise translated(error.args[0], self._shown) from error
        if self._trouble is not None and not found:
            trouble, self._trouble = self._trouble, None
            raise translated(trouble, self._shown)
        return found

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        if not positions or self._consumer is None:
            return
        try:
            await self._run(lambda: self._commit(positions))
        except KafkaException as error:
            raise translated(error.args[0], self._shown) from error

    async def close(self) -> None:
        if self._consumer is None:
            return
        consumer, self._consumer = self._consumer, None
        self._assigned = frozenset()
        await self._run(consumer.close)
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    # --- in the thread --------------------------------------------------------------------------------------------------

    def _join(self, settings: Mapping[str, object], topics: list[str]) -> None:
        consumer = Consumer(dict(settings))
        consumer.subscribe(topics)
        self._consumer = consumer

    def _open(self) -> Consumer:
        if self._consumer is None:
            raise BusRefused("this member has left its group; subscribe again")
        return self._consumer

    def _note(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN or self._trouble is None:  # it says what, and not why
            self._trouble = error

    def _read(self, limit: int) -> list[ReceivedMessage]:
        consumer = self._open()
        if limit == 0:
            if not self._paused:
                consumer.pause(consumer.assignment())
                self._paused = True
            self._keep(consumer.poll(0))
        else:
            if self._paused:
                consumer.resume(consumer.assignment())
                self._paused = False
            if not self._kept:
                self._keep(consumer.poll(WAIT_S))
            if self._kept and len(self._kept) < limit:
                for message in consumer.consume(limit - len(self._kept), 0):
                    self._keep(message)
        if self._kept:
            self._trouble = None
        self._assigned = frozenset(TopicPartition(one.topic, one.partition) for one in consumer.assignment())
        return [self._kept.popleft() for _ in range(min(limit, len(self._kept)))]

    def _keep(self, message: Message | None) -> None:
        if message is None:
            return
        error = message.error()
        if error is not None:
            self._trouble = error
            return
        given = cast(Sequence[tuple[str, bytes | None]], message.headers() or ())
        headers = tuple((name, _bytes(value)) for name, value in given)
        self._kept.append(
            ReceivedMessage(
                message.topic() or "",
                message.partition() or 0,
                message.offset() or 0,
                _bytes(message.key()),
                _bytes(message.value()),
                headers,
            )
        )

    def _commit(self, positions: Mapping[TopicPartition, int]) -> None:
        consumer = self._open()
        ours = {(one.topic, one.partition) for one in consumer.assignment()}
        offsets = [KafkaPosition(at.topic, at.partition, offset) for at, offset in positions.items() if at in ours]
        if not offsets:
            return
        for one in consumer.commit(offsets=offsets, asynchronous=False) or ():
            if one.error is not None:
                raise KafkaException(one.error)
            assert one.offset != OFFSET_INVALID, "a position that was committed is one"


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
