"""The bus of one process keeps every promise of the one suite, and refuses what it has no room for."""

from __future__ import annotations

import asyncio

import pytest

from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.bus import EnumPublished, TopicPartition
from onex.testing.conformance import BusConformance
from onex.testing.conformance.bus import of_key


class TestMemoryBus(BusConformance):
    broker = MemoryBroker()

    async def open(self) -> MemoryBus:
        return MemoryBus(self.broker)

    async def make_topic(self, topic: str, partitions: int) -> None:
        self.broker.topic(topic, partitions)


def test_a_full_partition_refuses_what_a_group_could_miss_and_takes_it_when_that_has_read() -> None:
    async def go() -> None:
        bus = MemoryBus(MemoryBroker(partitions=1, kept=2))
        member = await bus.subscribe("g", ["t"])
        answers = await bus.publish(of_key("t", "k", "a", "b", "c", "d"))
        done, failed = EnumPublished.PUBLISHED, EnumPublished.FAILED
        assert [one.outcome for one in answers] == [done, done, failed, failed]
        assert "full" in answers[2].reason
        assert len(await member.read(1)) == 1
        await member.commit({TopicPartition("t", 0): 1})
        assert [one.outcome for one in await bus.publish(of_key("t", "k", "c", "d"))] == [done, failed]
        assert [one.value for one in await member.read(9)] == [b"b", b"c"]

    asyncio.run(go())


@pytest.mark.parametrize("number", [3, 100])
def test_a_topic_without_readers_keeps_the_newest(number: int) -> None:
    async def go() -> None:
        bus = MemoryBus(MemoryBroker(partitions=1, kept=2))
        answers = await bus.publish(of_key("t", "k", *map(str, range(number))))
        assert {one.outcome for one in answers} == {EnumPublished.PUBLISHED}
        member = await bus.subscribe("g", ["t"])
        assert [int(one.value) for one in await member.read(9)] == [number - 2, number - 1]

    asyncio.run(go())
