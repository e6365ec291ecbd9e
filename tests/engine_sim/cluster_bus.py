"""The bus of a simulated cluster: clients send by it, workers take from it as one group, and it has troubles of its own.

Theory of operation
    The broker is the memory bus; it belongs to the world and survives every worker. Each worker joins the group through a
    connection of its own, whose calls may be slow, fail, or lose their answer. The group hears of a dead worker only after
    ``SESSION_S``. A stranger joins for a moment now and then and reads nothing, so partitions are taken away and given back:
    sometimes between two reads of a member, sometimes for longer. For a while nobody reaches the broker at all.

    A client goes on with a message until it is published, and publishes it again when the answer was lost, as a producer does. Some
    messages no workflow can use.

    What is checked at the end: the group has committed each partition to its end; each action sent is in the log or has a
    rejection; of one key the actions stand in the order in which they were first published; each message that nobody can use is
    on the dead-letter topic and has a rejection.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from random import Random
from uuid import UUID

from onex.adapters.memory.bus import MemoryBroker, MemoryBus, MemorySubscription
from onex.bus import (
    BusMessage,
    BusUnreachable,
    EnumPublished,
    Publication,
    ReceivedMessage,
    TopicPartition,
)
from onex.engine.bus.consumed_topics import TopicRoutes
from onex.engine.bus.intake import BusIntake
from onex.engine.bus.service import EventBusService
from onex.engine.bus.topics import dead_letter_topic
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.envelope import OnexEnvelopeV1
from onex.ports import LogEntry
from onex.simulation.host import Host, current_host
from onex.simulation.seeded_run import Sim

TOPIC, GROUP = "actions", "workers"
PARTITIONS = 5
SESSION_S = 2.0
BUS_POINTS: Mapping[str, float] = {
    "bus call fails": 0.03,
    "bus call is slow": 0.05,
    "bus answer lost": 0.05,
    "bus away": 0.02,
    "partitions move": 0.10,
    "message nobody can use": 0.03,
}


class ClusterBus:
    """``sent[key]`` are the ids of actions in the order in which they were first published."""

    def __init__(self, sim: Sim, chance: Random, hits: Callable[[str], bool]) -> None:
        self.sim, self.chance, self.hits = sim, chance, hits
        self.broker = MemoryBroker(partitions=PARTITIONS)
        self.sent: dict[WorkflowKey, list[UUID]] = defaultdict(list)
        self.unusable: list[tuple[int, int]] = []
        self._members: list[Member] = []
        self._away_until_s = 0.0

    @property
    def is_away(self) -> bool:
        return self.sim.clock.monotonic() < self._away_until_s

    # --- workers --------------------------------------------------------------------------------------------------------

    async def connect(self, engine: ReducerPatternEngine, host: Host) -> BusIntake:
        service = EventBusService(Connection(self, host), host.clock, engine.service.events)
        intake = BusIntake(
            engine.service, engine.wire, service, GROUP, TopicRoutes([TOPIC]), others=engine.relay.others
        )
        await intake.start()
        return intake

    def joined(self, member: Member) -> None:
        self._members.append(member)

    async def keep_troubles(self) -> None:
        """The broker's own life, until it is cancelled: who is dead leaves the group, strangers come, and it goes away."""
        while True:
            await self.sim.clock.sleep(0.25)
            now_s = self.sim.clock.monotonic()
            for member in list(self._members):
                if member.host.alive:
                    member.heard_s = now_s
                elif now_s - member.heard_s > SESSION_S:
                    self._members.remove(member)
                    await member.its.close()
            if self.hits("bus away"):
                self._away_until_s = now_s + self.chance.uniform(0.2, 4.0)
            if self.hits("partitions move"):
                stranger = await MemoryBus(self.broker).subscribe(GROUP, [TOPIC])
                await self.sim.clock.sleep(self.chance.random() ** 3 * 2.0)
                await stranger.close()

    # --- clients --------------------------------------------------------------------------------------------------------

    async def send(self, key: WorkflowKey, kind: str, payload: Mapping[str, object], made: UUID) -> None:
        """Returns when the broker has it."""
        if self.hits("message nobody can use"):
            at = await self._publish(BusMessage(TOPIC, str(key).encode(), b"{nope"))
            self.unusable.append((at.partition, at.offset))
        envelope = OnexEnvelopeV1.model_validate(
            {"envelope_id": made, "event_type": kind, "source_service": "shop", "payload": payload}
        )
        await self._publish(BusMessage(TOPIC, str(key).encode(), envelope.to_bytes()))
        self.sent[key].append(made)

    async def _publish(self, message: BusMessage) -> Publication:
        while self.is_away:
            await self.sim.clock.sleep(0.1)
        (answer,) = await MemoryBus(self.broker).publish([message])
        assert answer.outcome is EnumPublished.PUBLISHED, answer
        if self.hits("bus answer lost"):
            return await self._publish(message)
        return answer

    # --- at the end -----------------------------------------------------------------------------------------------------

    def left(self) -> dict[TopicPartition, tuple[int, int]]:
        """``(committed, end)`` of each partition whose messages are not all committed."""
        group = self.broker.groups.get(GROUP)
        committed = group.committed if group is not None else {}
        ends = {TopicPartition(TOPIC, n): one.end for n, one in enumerate(self.broker.topic(TOPIC))}
        return {at: (committed.get(at, 0), end) for at, end in ends.items() if committed.get(at, 0) != end}

    def wrong(
        self, log: Mapping[tuple[WorkflowKey, bytes], LogEntry], refused: Collection[tuple[str, bytes]]
    ) -> list[str]:
        """What came of the messages otherwise than it should."""
        found: list[str] = []
        for key, ids in self.sent.items():
            applied = [log[key, made.bytes].version for made in ids if (key, made.bytes) in log]
            if applied != sorted(applied):
                found.append(f"{key} took messages in the order of versions {applied}")
            found += [
                f"{key} {made} was sent by the bus, and is neither in the log nor refused"
                for made in ids
                if (key, made.bytes) not in log and (str(key), made.bytes) not in refused
            ]
        letters = [one for part in self.broker.topic(dead_letter_topic(TOPIC)) for one in part.messages]
        sources = {dict(one.headers)["onex-source"].decode() for one in letters}
        named = {f"{TOPIC}/{partition}/{offset}" for partition, offset in self.unusable}
        if not named <= sources:
            found.append(f"nobody can use {sorted(named - sources)}, and no dead letter says so")
        if sum(key == f"bus:{TOPIC}" for key, _ in refused) < len(named):
            found.append(f"{len(named)} messages cannot be used, and the rejections are {sorted(refused)}")
        return found


class Connection:
    """The bus as one worker reaches it."""

    def __init__(self, bus: ClusterBus, host: Host) -> None:
        self.bus, self.host = bus, host
        self._inner = MemoryBus(bus.broker)

    async def reach(self) -> None:
        """May be slow, and may fail before anything was done."""
        current_host()
        if self.bus.hits("bus call is slow"):
            await self.host.clock.sleep(self.bus.chance.random())
        if self.bus.is_away or self.bus.hits("bus call fails"):
            await self.host.clock.sleep(0.05)
            raise BusUnreachable("no broker answered, as the simulation had it")

    def lose_answer(self) -> None:
        if self.bus.hits("bus answer lost"):
            raise BusUnreachable("the answer was lost, as the simulation had it")

    async def publish(self, messages: Sequence[BusMessage]) -> Sequence[Publication]:
        try:
            await self.reach()
        except BusUnreachable as error:
            return [Publication(EnumPublished.FAILED, reason=error.message)] * len(messages)
        answers = await self._inner.publish(messages)
        if self.bus.hits("bus answer lost"):
            return [Publication(EnumPublished.UNKNOWN, reason="the answer was lost")] * len(messages)
        return answers

    async def subscribe(self, group: str, topics: Sequence[str]) -> Member:
        member = Member(self, await self._inner.subscribe(group, topics))
        self.bus.joined(member)
        return member

    async def close(self) -> None:
        await self._inner.close()


class Member:
    """One worker's membership. ``heard_s``: when its host was last seen alive."""

    def __init__(self, connection: Connection, its: MemorySubscription) -> None:
        self._connection, self.its = connection, its
        self.host, self.heard_s = connection.host, 0.0

    @property
    def assignment(self) -> AbstractSet[TopicPartition]:
        return self.its.assignment

    async def read(self, limit: int) -> Sequence[ReceivedMessage]:
        await self._connection.reach()
        return await self.its.read(limit)

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        await self._connection.reach()
        await self.its.commit(positions)
        self._connection.lose_answer()

    async def close(self) -> None:
        await self.its.close()
