"""A bus in this process: what ``bus.EventBus`` promises, done with lists. For programs without a broker, and for tests.

Read this first to write a bus of your own: it is the shortest one that passes ``testing.conformance.BusConformance``. Several
``MemoryBus`` share one ``MemoryBroker``, as several processes share a broker; it ends with its process.

``publish`` appends to the partition that the key's hash names, and wakes who reads. A group spreads the partitions of its topics
over its members in the order in which they joined, anew whenever one joins or leaves: a member keeps its place in a partition
that stays with it, and begins at the committed position of one that it gets. A partition holds ``kept`` messages. When it is
full, the oldest goes if each group of the topic has committed it. If one has not, ``publish`` answers ``failed``: nothing that
somebody is to read is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import blake2b

from ...bus import BusMessage, BusRefused, EnumPublished, Publication, ReceivedMessage, TopicPartition

PARTITIONS = 4
KEPT = 10_000
MESSAGE_BYTES = 1_000_000
WAIT_S = 1.0


@dataclass
class _Partition:
    first: int = 0
    messages: list[ReceivedMessage] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.messages)


@dataclass
class _Group:
    members: list[MemorySubscription] = field(default_factory=list)
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    topics: set[str] = field(default_factory=set)


class MemoryBroker:
    """Topics and groups. A topic that nobody made has ``partitions`` partitions."""

    def __init__(self, *, partitions: int = PARTITIONS, kept: int = KEPT) -> None:
        self.partitions, self.kept = partitions, kept
        self.topics: dict[str, list[_Partition]] = {}
        self.groups: dict[str, _Group] = {}
        self._readers: dict[asyncio.Event, None] = {}  # woken in the order in which they came, as a simulation needs

    def topic(self, name: str, partitions: int | None = None) -> list[_Partition]:
        """The partitions of a topic, which is made where there is none."""
        if name not in self.topics:
            self.topics[name] = [_Partition() for _ in range(partitions or self.partitions)]
        return self.topics[name]

    def append(self, message: BusMessage) -> Publication:
        if not message.key:
            return Publication(EnumPublished.REJECTED, reason="the message has no key")
        if len(message.key) + len(message.value) > MESSAGE_BYTES:
            return Publication(EnumPublished.REJECTED, reason=f"a message has at most {MESSAGE_BYTES} bytes")
        partitions = self.topic(message.topic)
        at = int.from_bytes(blake2b(message.key, digest_size=8).digest()) % len(partitions)
        partition = partitions[at]
        if len(partition.messages) >= self.kept:
            if partition.first >= self._needed(TopicPartition(message.topic, at)):
                reason = f"partition {at} of {message.topic} is full, and a group has not read it"
                return Publication(EnumPublished.FAILED, reason=reason)
            del partition.messages[0]
            partition.first += 1
        offset = partition.end
        partition.messages.append(ReceivedMessage(message.topic, at, offset, *message[1:]))
        self.wake()
        return Publication(EnumPublished.PUBLISHED, at, offset)

    def _needed(self, at: TopicPartition) -> int:
        """The first offset that some group has still to read; a topic without readers needs nothing."""
        asking = [group for group in self.groups.values() if at.topic in group.topics]
        return min((group.committed.get(at, 0) for group in asking), default=1 << 62)

    def spread(self, group: _Group) -> None:
        """Give each partition of the group's topics to one member."""
        for topic in group.topics:
            willing = [member for member in group.members if topic in member.topics]
            for number in range(len(self.topic(topic))):
                at = TopicPartition(topic, number)
                owner = willing[number % len(willing)] if willing else None
                for member in group.members:
                    if member is not owner:
                        member.positions.pop(at, None)
                    elif at not in member.positions:
                        member.positions[at] = group.committed.get(at, 0)
        self.wake()

    def wake(self) -> None:
        for reader in self._readers:
            reader.set()

    async def changed(self) -> None:
        """Returns when something was published or spread anew, or after a second."""
        event = asyncio.Event()
        self._readers[event] = None
        try:
            async with asyncio.timeout(WAIT_S):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            del self._readers[event]


class MemorySubscription:
    """One member of a group in this process."""

    def __init__(self, broker: MemoryBroker, group: _Group, topics: frozenset[str]) -> None:
        self._broker, self._group, self.topics = broker, group, topics
        self.positions: dict[TopicPartition, int] = {}
        self._assigned: AbstractSet[TopicPartition] = frozenset()
        group.topics |= topics
        group.members.append(self)
        broker.spread(group)

    @property
    def assignment(self) -> AbstractSet[TopicPartition]:
        return self._assigned

    async def read(self, limit: int) -> Sequence[ReceivedMessage]:
        found = self._take(limit)
        if limit and not found:
            await self._broker.changed()
            found = self._take(limit)
        await asyncio.sleep(0)
        return found

    def _take(self, limit: int) -> list[ReceivedMessage]:
        self._assigned = frozenset(self.positions)
        found: list[ReceivedMessage] = []
        for at, position in self.positions.items():
            partition = self._broker.topic(at.topic)[at.partition]
            begin = max(position, partition.first)
            taken = partition.messages[begin - partition.first :][: limit - len(found)]
            if taken:
                found += taken
                self.positions[at] = taken[-1].offset + 1
        return found

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        for at, position in positions.items():
            if at in self.positions:
                self._group.committed[at] = position

    async def close(self) -> None:
        if self in self._group.members:
            self._group.members.remove(self)
            self.positions.clear()
            self._broker.spread(self._group)


class MemoryBus:
    """One connection to a broker of this process."""

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.broker = MemoryBroker() if broker is None else broker
        self._subscriptions: list[MemorySubscription] = []
        self._closed = False

    async def publish(self, messages: Sequence[BusMessage]) -> Sequence[Publication]:
        self._check_open()
        blocked: dict[tuple[str, bytes], Publication] = {}
        answers: list[Publication] = []
        for message in messages:
            of = message.topic, message.key
            answer = blocked.get(of) or self.broker.append(message)
            if answer.outcome is EnumPublished.FAILED:
                blocked[of] = answer  # what is behind it waits for it
            answers.append(answer)
        await asyncio.sleep(0)
        return answers

    async def subscribe(self, group: str, topics: Sequence[str]) -> MemorySubscription:
        self._check_open()
        if not group or not topics:
            raise BusRefused("a subscription needs the name of a group and at least one topic")
        its = self.broker.groups.setdefault(group, _Group())
        subscription = MemorySubscription(self.broker, its, frozenset(topics))
        self._subscriptions.append(subscription)
        return subscription

    async def close(self) -> None:
        self._closed = True
        for subscription in self._subscriptions:
            await subscription.close()

    def _check_open(self) -> None:
        if self._closed:
            raise BusRefused("this connection to the bus is closed; open another one")
