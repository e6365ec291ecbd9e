"""The bus, as the engine asks for it: topics of messages, written by many and read by groups. Values and port stand here together.

The words are those of Kafka. A **topic** has **partitions**, numbered from 0. A partition is a sequence of messages, each at
its **offset**. Messages of one key go to one partition. A **group** is a set of readers that share the partitions of its topics
among them, and keeps one **committed position** per partition: the offset that is read next after a crash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import NamedTuple, Protocol

from .kernel.errors import OnexError, ValidationError

Headers = tuple[tuple[str, bytes], ...]


class BusError(OnexError):
    """The bus did not do what was asked. A later call may succeed."""

    code = "bus"
    retryable = True


class BusUnreachable(BusError):
    """No broker of the bus answered in time."""

    code = "bus_unreachable"


class BusRefused(ValidationError):
    """The bus does not do this for us, and asking again changes nothing: a name or a right is missing, or a setting is wrong."""

    code = "bus_refused"


class TopicPartition(NamedTuple):
    """One sequence of messages."""

    topic: str
    partition: int


class BusMessage(NamedTuple):
    """A message to publish. ``key`` decides the partition, and so the order; it may not be empty."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers = ()


class ReceivedMessage(NamedTuple):
    """A message as it was read. ``key`` is empty where its sender gave none."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Headers = ()

    @property
    def source(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class EnumPublished(StrEnum):
    """``published``: durable on the bus. ``rejected``: surely not there, and never will be. ``failed``: surely not there; try
    again. ``unknown``: perhaps there; publish it again, with the same id, so that readers can drop the double."""

    PUBLISHED = "published"
    REJECTED = "rejected"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Publication(NamedTuple):
    """What became of one message. ``partition`` and ``offset`` are -1 unless it is known where it stands."""

    outcome: EnumPublished
    partition: int = -1
    offset: int = -1
    reason: str = ""


class GroupMember(Protocol):
    """One member of a group. Used by one task at a time."""

    @property
    def assignment(self) -> AbstractSet[TopicPartition]:
        """The partitions that are this member's now, as of the last ``read``."""

    async def read(self, limit: int) -> Sequence[ReceivedMessage]:
        """At most ``limit`` messages, each partition's in order. Returns after about a second when none come.

        A new member begins at the committed position of a partition; where there is none, at its beginning. With ``limit`` 0
        nothing is taken: this only says that the member lives. Call ``read`` at least once a minute, or the group gives the
        partitions to others. Raises BusError, after which it goes on, and BusRefused.
        """

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Durable when it returns: whoever gets a partition next begins at ``positions[partition]``.

        Those of partitions that are no longer this member's are left out. Raises BusError: perhaps committed; do it again.
        """

    async def close(self) -> None:
        """Leaves the group; commits nothing. Idempotent."""


class EventBus(Protocol):
    """One connection to a bus. All methods belong to one event loop."""

    async def publish(self, messages: Sequence[BusMessage]) -> Sequence[Publication]:
        """One answer per message, in their order. Raises nothing but BusRefused, for a bus that is closed.

        Within one call, and of calls that follow each other: messages of one topic and key are appended in their order. A
        message that is ``failed`` or ``unknown`` has none behind it, of the same topic and key, that is ``published``. Call it
        again with all that was not published, and readers meet each key's messages in order, some of them twice. Where the bus
        refuses several messages because of one, all are ``failed``: publish them one by one to learn which is ``rejected``.
        """

    async def subscribe(self, group: str, topics: Sequence[str]) -> GroupMember:
        """Become a member of a group. Raises BusRefused."""

    async def close(self) -> None:
        """What is not answered by then is ``unknown``. Idempotent."""


ProtocolEventBus = EventBus
