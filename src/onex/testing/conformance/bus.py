"""The suite of buses: what every bus does, wherever it keeps its messages."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from unittest import SkipTest
from uuid import uuid4

from ...bus import (
    BusError,
    BusMessage,
    BusRefused,
    EnumPublished,
    EventBus,
    GroupMember,
    ReceivedMessage,
    TopicPartition,
)
from .suite import behaviour, refused

READ_S = 40.0
PAGE = 100


class BusPlace:
    """The topics of one behaviour, under names that no other behaviour has."""

    def __init__(self, suite: BusBehaviours) -> None:
        self._suite = suite
        self._opened: list[EventBus] = []
        self.name = f"onex-{uuid4().hex[:12]}"

    async def open(self) -> EventBus:
        """Another connection to the bus."""
        bus = await self._suite.open()
        self._opened.append(bus)
        return bus

    async def topic(self, partitions: int = 1) -> str:
        """A new topic."""
        topic = f"{self.name}-{uuid4().hex[:6]}"
        await self._suite.make_topic(topic, partitions)
        return topic

    async def member(self, topic: str, group: str = "readers") -> GroupMember:
        """A member of a group of this behaviour, on a connection of its own."""
        return await (await self.open()).subscribe(f"{self.name}-{group}", [topic])

    async def close(self) -> None:
        for bus in self._opened:
            await bus.close()


def of_key(topic: str, key: str, *values: str) -> list[BusMessage]:
    return [BusMessage(topic, key.encode(), value.encode()) for value in values]


async def published(bus: EventBus, messages: Sequence[BusMessage]) -> None:
    """Publishes what is not published yet, again and again, as a publisher does."""
    left = list(messages)
    async with asyncio.timeout(READ_S):
        while left:
            answers = await bus.publish(left)
            assert len(answers) == len(left)
            left = [
                one for one, answer in zip(left, answers, strict=True) if answer.outcome is not EnumPublished.PUBLISHED
            ]


async def taken(subscription: GroupMember, limit: int) -> Sequence[ReceivedMessage]:
    """What ``read`` gives; nothing, where the bus failed for now."""
    try:
        return await subscription.read(limit)
    except BusError:
        return ()


async def read_all(subscription: GroupMember, number: int) -> list[ReceivedMessage]:
    """The next ``number`` messages. Fails when they do not come."""
    found: list[ReceivedMessage] = []
    async with asyncio.timeout(READ_S):
        while len(found) < number:
            found += await taken(subscription, PAGE)
    return found


def behind(messages: Sequence[ReceivedMessage]) -> dict[TopicPartition, int]:
    """The positions behind these."""
    return {one.source: one.offset + 1 for one in messages}


def values(messages: Sequence[ReceivedMessage]) -> list[str]:
    return [one.value.decode() for one in messages]


def by_key(messages: Sequence[ReceivedMessage]) -> dict[bytes, list[str]]:
    """The values of each key, in the order read, each value once: where it was met first."""
    found: dict[bytes, dict[str, None]] = defaultdict(dict)
    for one in messages:
        found[one.key].setdefault(one.value.decode())
    return {key: list(of) for key, of in found.items()}


class BusBehaviours(ABC):
    """The behaviours, and what a subclass says of its bus."""

    @abstractmethod
    async def open(self) -> EventBus:
        """Another connection to the one bus."""

    @abstractmethod
    async def make_topic(self, topic: str, partitions: int) -> None:
        """Make a topic with so many partitions."""

    async def take_away(self) -> None:
        """Make the bus unreachable; what it has taken as published it keeps."""
        raise SkipTest("this suite does not say how its bus goes away")

    async def bring_back(self) -> None:
        """Make it reachable again."""
        raise SkipTest("this suite does not say how its bus comes back")

    def place(self, folder: Path) -> BusPlace:
        """The topics of one behaviour."""
        return BusPlace(self)

    # --- messages -----------------------------------------------------------------------------------------------------

    @behaviour
    async def test_a_message_is_read_as_it_was_published(self, place: BusPlace) -> None:
        topic, bus = await place.topic(), await place.open()
        headers = (("onex-signature", b"v1=00"), ("again", b"1"), ("again", b"\x00\xff"), ("empty", b""))
        sent = [
            BusMessage(topic, b"orders:1", b'{"a":"\xc3\xa4"}', headers),
            BusMessage(topic, "orders:ä".encode(), b"\x00\xff"),
        ]
        answers = await bus.publish(sent)
        assert [one.outcome for one in answers] == [EnumPublished.PUBLISHED] * 2
        found = await read_all(await place.member(topic), 2)
        assert [one[3:] for one in found] == [one[1:] for one in sent]
        assert [(one.partition, one.offset) for one in found] == [(one.partition, one.offset) for one in answers]

    @behaviour
    async def test_messages_of_one_key_keep_their_order_and_their_partition(self, place: BusPlace) -> None:
        topic, bus = await place.topic(3), await place.open()
        keys = [f"orders:{n}" for n in range(6)]
        for first in (0, 10):
            await published(
                bus, [one for n in range(first, first + 10) for key in keys for one in of_key(topic, key, str(n))]
            )
        found = await read_all(await place.member(topic), 120)
        assert by_key(found) == {key.encode(): [str(n) for n in range(20)] for key in keys}
        assert all(len({one.partition for one in found if one.key == key.encode()}) == 1 for key in keys)

    @behaviour
    async def test_offsets_of_a_partition_rise(self, place: BusPlace) -> None:
        topic, bus = await place.topic(), await place.open()
        await published(bus, of_key(topic, "k", *map(str, range(30))))
        offsets = [one.offset for one in await read_all(await place.member(topic), 30)]
        assert offsets == sorted(set(offsets))

    @behaviour
    async def test_what_the_bus_never_takes_is_rejected_and_its_neighbours_are_published(self, place: BusPlace) -> None:
        topic, bus = await place.topic(), await place.open()
        sent = of_key(topic, "k", "before", "x" * 3_000_000, "after")
        sent.insert(1, BusMessage(topic, b"", b"without a key"))
        answers = await bus.publish(sent)
        rejected, done = EnumPublished.REJECTED, EnumPublished.PUBLISHED
        assert [one.outcome for one in answers] == [done, rejected, rejected, done]
        assert all(one.reason for one in answers if one.outcome is rejected)
        assert values(await read_all(await place.member(topic), 2)) == ["before", "after"]

    @behaviour
    async def test_nothing_published_is_no_error(self, place: BusPlace) -> None:
        assert list(await (await place.open()).publish([])) == []

    @behaviour
    async def test_a_closed_connection_says_so(self, place: BusPlace) -> None:
        bus = await place.open()
        await bus.close()
        await bus.close()
        await refused(bus.publish(of_key("t", "k", "v")), BusRefused)
        await refused(bus.subscribe("g", ["t"]), BusRefused)

    # --- positions ----------------------------------------------------------------------------------------------------

    @behaviour
    async def test_what_was_not_committed_is_read_again(self, place: BusPlace) -> None:
        topic, bus = await place.topic(), await place.open()
        await published(bus, of_key(topic, "k", "a", "b", "c"))
        first = await place.member(topic)
        found = await read_all(first, 3)
        await first.commit(behind(found[:1]))
        await first.close()
        await first.close()
        assert values(await read_all(await place.member(topic), 2)) == ["b", "c"]

    @behaviour
    async def test_groups_do_not_see_each_others_positions(self, place: BusPlace) -> None:
        topic, bus = await place.topic(), await place.open()
        await published(bus, of_key(topic, "k", "a", "b"))
        first = await place.member(topic)
        await first.commit(behind(await read_all(first, 2)))
        assert values(await read_all(await place.member(topic, "others"), 2)) == ["a", "b"]

    @behaviour
    async def test_a_member_takes_no_more_than_it_asks_for(self, place: BusPlace) -> None:
        topic, bus = await place.topic(2), await place.open()
        await published(bus, [one for n in range(20) for one in of_key(topic, f"k{n}", "v")])
        member = await place.member(topic)
        found: list[ReceivedMessage] = []
        async with asyncio.timeout(READ_S):
            while len(found) < 20:
                some = await taken(member, 3)
                assert len(some) <= 3
                assert list(await taken(member, 0)) == []
                found += some
        assert len({(one.partition, one.offset) for one in found}) == 20

    @behaviour
    async def test_what_comes_later_is_read_too(self, place: BusPlace) -> None:
        topic, bus = await place.topic(), await place.open()
        await published(bus, of_key(topic, "k", "a"))
        member = await place.member(topic)
        assert values(await read_all(member, 1)) == ["a"]
        await published(bus, of_key(topic, "k", "b"))
        assert values(await read_all(member, 1)) == ["b"]

    # --- groups -------------------------------------------------------------------------------------------------------

    @behaviour
    async def test_members_share_the_partitions_and_who_leaves_gives_them_back(self, place: BusPlace) -> None:
        topic, bus = await place.topic(4), await place.open()
        one, other = await place.member(topic), await place.member(topic)
        every = {TopicPartition(topic, n) for n in range(4)}
        async with asyncio.timeout(READ_S):  # while they agree, one may still show what the other has already
            while not (
                len(one.assignment) == len(other.assignment) == 2 and one.assignment | other.assignment == every
            ):
                await asyncio.gather(taken(one, 0), taken(other, 0))
                await asyncio.sleep(0.02)
        keys = [f"k{n}" for n in range(40)]
        await published(bus, [message for key in keys for message in of_key(topic, key, "1")])
        found: list[ReceivedMessage] = []
        async with asyncio.timeout(READ_S):
            while len({message.key for message in found}) < len(keys):
                for some in await asyncio.gather(taken(one, PAGE), taken(other, PAGE)):
                    found += some
        await one.commit(behind([message for message in found if message.source in one.assignment]))
        theirs = {message.key: message for message in found if message.source in other.assignment}
        await other.close()
        again = await read_all(one, len(theirs))
        assert {message.key for message in again} == set(theirs)
        assert len(one.assignment) == 4

    @behaviour
    async def test_a_position_of_a_partition_that_went_to_another_is_left_out(self, place: BusPlace) -> None:
        topic, bus = await place.topic(), await place.open()
        await published(bus, of_key(topic, "k", "a", "b", "c"))
        first = await place.member(topic)
        found = await read_all(first, 3)
        await first.close()
        second = await place.member(topic)
        await second.commit(behind((await read_all(second, 3))[:2]))
        await first.commit(behind(found[:1]))
        await second.close()
        assert values(await read_all(await place.member(topic), 1)) == ["c"]

    # --- the bus goes away --------------------------------------------------------------------------------------------

    @behaviour
    async def test_while_the_bus_is_away_nothing_is_called_published(self, place: BusPlace) -> None:
        topic, bus = await place.topic(), await place.open()
        await published(bus, of_key(topic, "k", "a"))
        await self.take_away()
        try:
            answers = await bus.publish(of_key(topic, "k", "b", "c"))
        finally:
            await self.bring_back()
        perhaps = {EnumPublished.FAILED, EnumPublished.UNKNOWN}
        assert {one.outcome for one in answers} <= perhaps
        assert all(one.reason for one in answers)
        await published(bus, of_key(topic, "k", "b", "c"))
        member = await place.member(topic)
        found: list[ReceivedMessage] = []
        async with asyncio.timeout(READ_S):
            while by_key(found) != {b"k": ["a", "b", "c"]}:
                found += await taken(member, PAGE)

    @behaviour
    async def test_messages_and_positions_outlive_the_bus(self, place: BusPlace) -> None:
        topic, bus = await place.topic(2), await place.open()
        keys = [f"k{n}" for n in range(10)]
        await published(bus, [one for key in keys for one in of_key(topic, key, "1", "2")])
        member = await place.member(topic)
        found = await read_all(member, 20)
        await member.commit(behind([one for one in found if one.partition == 0]))
        await member.close()
        await self.take_away()
        await self.bring_back()
        await published(bus, [one for key in keys for one in of_key(topic, key, "3")])
        left = [one for one in found if one.partition == 1]
        again = await read_all(await place.member(topic), len(left) + len(keys))
        assert {one.value for one in again if one.partition == 0} <= {b"3"}
        assert by_key(again) == {
            key.encode(): ["1", "2", "3"] if any(one.key == key.encode() for one in left) else ["3"] for key in keys
        }

    @behaviour
    async def test_a_member_goes_on_when_the_bus_is_back(self, place: BusPlace) -> None:
        topic, bus = await place.topic(), await place.open()
        await published(bus, of_key(topic, "k", "a"))
        member = await place.member(topic)
        await member.commit(behind(await read_all(member, 1)))
        await self.take_away()
        await self.bring_back()
        await published(bus, of_key(topic, "k", "b"))
        assert values(await read_all(member, 1)) == ["b"]


class BusConformance(BusBehaviours):
    """Every behaviour of ``bus.EventBus`` and ``GroupMember``. A subclass says how its bus is reached.

    .. code-block:: python

        class TestMyBus(BusConformance):
            async def open(self) -> MyBus:
                return await MyBus.connect("localhost:5000")

            async def make_topic(self, topic: str, partitions: int) -> None:
                await admin.create(topic, partitions)
    """
