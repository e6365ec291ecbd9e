"""The bus of a run: actions come by it, events go to it, and its broker goes away and comes back.

The broker is librdkafka's mock cluster, in this process. A thread publishes the beginning of an errand every now and then, and
goes on with the same message until the broker has it. At the end each of these stands in the log once, and what workers published
is compared with the log: each instance's last state was told, nothing was told that is not in the log, and for each instance
what was told first came in the order of its versions. Doubles are allowed: another owner of a shard may tell again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID, uuid4

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPosition

from onex.adapters.kafka.address import KafkaAddress
from onex.adapters.kafka.confluent_bus import ConfluentBus
from onex.bus import BusMessage, EnumPublished
from onex.engine.bus.publisher import EVENT_LOGS
from onex.engine.bus.topics import BusTopics, EnumBusEvent
from onex.kernel.action import WorkflowKey
from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.route import shard_of
from onex.ports import Position
from onex.testing.conformance.bus import taken
from onex.wiring import ReadableStore
from onex.wiring.store_access import SharedStore
from tests.chaos.outside_check import Row
from tests.chaos.processes import RunFailed
from tests.servers.mock_kafka import MockKafka

PAUSE_S = 0.2
PARTITIONS = 6
PATIENCE_S = 120.0
QUIET_S = 4.0  # longer than a new member waits for its partitions


class BusSide:
    """``sent[id]`` is the instance of an action that the broker has; ``events`` is how many were read from it, doubles included."""

    def __init__(self) -> None:
        self.cluster = MockKafka()
        name = f"t{uuid4().hex[:8]}"
        self.topics = BusTopics(f"{name}.{{kind}}.{{name}}.v1")
        for topic in (self.topics.commands, *map(self.topics.event, EnumBusEvent)):
            self.cluster.make_topic(topic, PARTITIONS)
            self.cluster.make_topic(f"{topic}.dlq", 1)
        self.group = name
        self.environment = {
            "ONEX_TOPIC_SCHEME": self.topics.scheme,
            "KAFKA_BOOTSTRAP_SERVERS": self.cluster.servers,
            "KAFKA_CONSUMER_GROUP": self.group,
            "KAFKA_SESSION_TIMEOUT_MS": "1500",
        }
        self.sent: dict[UUID, str] = {}
        self.events = 0
        self._over = threading.Event()

    @contextmanager
    def sending(self) -> Iterator[BusSide]:
        thread = threading.Thread(target=lambda: asyncio.run(self._send()), name="sends-by-bus")
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def close(self) -> None:
        self.cluster.close()

    async def _send(self) -> None:
        bus = self._bus()
        number = 0
        while not self._over.is_set():
            number += 1
            message, made = self._begin(number)
            while not self._over.is_set():
                (answer,) = await bus.publish([message])
                if answer.outcome is EnumPublished.PUBLISHED:
                    self.sent[made] = f"errand:bus-{number}"
                    break
            await asyncio.sleep(PAUSE_S)
        await bus.close()

    def _bus(self) -> ConfluentBus:
        return ConfluentBus(KafkaAddress(self.cluster.servers, publish_timeout_s=2.0, session_timeout_s=2.0))

    def _begin(self, number: int) -> tuple[BusMessage, UUID]:
        envelope = OnexEnvelopeV1(
            envelope_id=uuid4(),
            event_type="begin",
            source_service="chaos",
            payload={"number": number, "text": "by bus"},
        )
        key = f"errand:bus-{number}".encode()
        return BusMessage(self.topics.commands, key, envelope.to_bytes()), envelope.envelope_id

    # --- at the end -------------------------------------------------------------------------------------------------------

    async def arrived(self, store: SharedStore) -> None:
        """Until each action sent is in the log or refused. Raises RunFailed, which says where all of them stand."""
        end_s = time.monotonic() + PATIENCE_S
        for made, key in self.sent.items():
            while all(
                entry.row.action_id != made.bytes for entry in await store.history(WorkflowKey.parse(key), 0, 10)
            ):
                if time.monotonic() > end_s:
                    late = f"{key} was sent by the bus, and is not in the log after {PATIENCE_S:g} s"
                    raise RunFailed("; ".join([late, *await self._stands(store, key, made)]))
                await asyncio.sleep(0.05)

    async def _stands(self, store: SharedStore, key: str, made: UUID) -> list[str]:
        """What the store and the bus hold of an action that did not arrive. What workers hold is in their logs (``worker``)."""
        shard, seen = shard_of(WorkflowKey.parse(key), store.shards), await store.look()
        about = {one.worker.id: one.worker.about for one in seen.workers}
        owners = [f"{n}: {about.get(one.worker, 'nobody')} (fence {one.fence})" for n, one in enumerate(seen.owners)]
        rows = [
            f"ticket {row.ticket} of shard {row.shard}{' with it' if str(made).encode() in row.body else ''}"
            for row in await store.inbox(0, 1000)
        ]
        consumer = Consumer({"bootstrap.servers": self.cluster.servers, "group.id": self.group})
        committed = consumer.committed(
            [KafkaPosition(self.topics.commands, n) for n in range(PARTITIONS)], timeout=10.0
        )
        ends = [consumer.get_watermark_offsets(one, timeout=10.0)[1] for one in committed]
        positions = [f"{one.partition}: {one.offset} of {end}" for one, end in zip(committed, ends, strict=True)]
        consumer.close()
        return [
            f"action {made} of shard {shard}",
            f"owners {owners}",
            f"inbox rows without answer {rows}",
            f"committed positions {positions}",
        ]

    async def told(self, reader: ReadableStore) -> None:
        """Until the events of every row are published. Raises RunFailed."""
        end_s = time.monotonic() + PATIENCE_S
        for shard in range(reader.shards):
            while await reader.log(Position(shard, await reader.watermark(EVENT_LOGS, shard)), 1):
                if time.monotonic() > end_s:
                    raise RunFailed(f"the events of shard {shard} are not published after {PATIENCE_S:g} s")
                await asyncio.sleep(0.05)

    async def wrong(self, log: Sequence[Row]) -> list[str]:
        """What the topic of committed states says otherwise than the log."""
        rows: dict[str, dict[int, str]] = defaultdict(dict)
        for row in log:
            rows[row.key][row.version] = row.action_id
        first_told: dict[str, dict[int, str]] = defaultdict(dict)
        for envelope in await self._events():
            told = envelope.payload
            first_told[str(told["workflow_key"])].setdefault(
                int(str(told["version"])), UUID(str(told["action_id"])).hex
            )
        found = [f"{key} was told on the bus, and is not in the log" for key in first_told.keys() - rows.keys()]
        for key, versions in rows.items():
            told_of = first_told[key]
            if any(versions.get(version) != action for version, action in told_of.items()):
                found.append(f"{key} was told as {told_of}; the log has {versions}")
            elif list(told_of) != sorted(told_of):
                found.append(f"{key} was told in the order {list(told_of)}")
            elif max(versions) not in told_of:
                found.append(
                    f"{key} stands at version {max(versions)}, and the last that was told is {max(told_of, default=0)}"
                )
        return found

    async def _events(self) -> list[OnexEnvelopeV1]:
        """All of the topic, each partition in its order: none comes for as long as a member needs to hear of one."""
        bus = self._bus()
        member = await bus.subscribe(f"reads-{uuid4().hex}", [self.topics.event(EnumBusEvent.STATE_COMMITTED)])
        found: list[OnexEnvelopeV1] = []
        quiet_since_s = time.monotonic()
        while time.monotonic() - quiet_since_s < QUIET_S:
            some = await taken(member, 500)
            if some:
                found += [OnexEnvelopeV1.from_bytes(one.value) for one in some]
                quiet_since_s = time.monotonic()
        await member.close()
        await bus.close()
        self.events = len(found)
        return found
