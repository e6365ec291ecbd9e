"""The bus by aiokafka, a client in Python alone: ``KAFKA_CLIENT=aiokafka``. It keeps the promises of ``confluent_bus``.

``publish`` hands all messages to the producer, which is idempotent and sends a partition's batches one after the other. No batch
expires for itself before ``publish_timeout_s``. Then the call is given up: what was handed over is ``unknown``, the rest
``failed``, and the producer is thrown away before another message is sent. The same after any message that failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from ssl import SSLContext, create_default_context

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka import errors as kafka

from ...bus import (
    BusError,
    BusMessage,
    BusRefused,
    BusUnreachable,
    EnumPublished,
    Publication,
    ReceivedMessage,
    TopicPartition,
)
from ...kernel.errors import OnexError
from .address import MESSAGE_BYTES, NO_KEY, TOO_LARGE, KafkaAddress, KafkaSecurity

WAIT_MS = 1000
CLOSE_S = 5.0
_REJECTED = (
    kafka.MessageSizeTooLargeError,
    kafka.RecordListTooLargeError,
    kafka.InvalidTopicError,
    kafka.UnsupportedForMessageFormatError,
)
_FAILED = (kafka.TopicAuthorizationFailedError, kafka.UnknownTopicOrPartitionError, kafka.NotEnoughReplicasError)
_REFUSED = (
    kafka.InvalidGroupIdError,
    kafka.InconsistentGroupProtocolError,
    kafka.GroupAuthorizationFailedError,
    kafka.TopicAuthorizationFailedError,
    ValueError,
)


class AioKafkaBus:
    """One connection to a Kafka cluster. It connects at the first call."""

    def __init__(self, address: KafkaAddress) -> None:
        self.address = address
        self._turn = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None
        self._subscriptions: list[AioKafkaSubscription] = []
        self._closed = False

    async def publish(self, messages: Sequence[BusMessage]) -> Sequence[Publication]:
        self._check_open()
        async with self._turn:
            answers = await self._publish(messages)
            if any(one.outcome in (EnumPublished.FAILED, EnumPublished.UNKNOWN) for one in answers):
                await self._forget()
            return answers

    async def _publish(self, messages: Sequence[BusMessage]) -> Sequence[Publication]:
        sent: list[Publication | asyncio.Future[object]] = []
        reason = f"no answer within {self.address.publish_timeout_s:g} s"
        try:
            async with asyncio.timeout(self.address.publish_timeout_s):
                for message in messages:
                    sent.append(await self._hand_over(message))
                waiting = [one for one in sent if isinstance(one, asyncio.Future)]
                if waiting:
                    await asyncio.wait(waiting)
        except TimeoutError:
            pass
        except (kafka.KafkaError, OSError) as error:
            reason = _said(error)
        left, alone = len(messages) - len(sent), len(messages) == 1
        return [_answer(one, reason, alone) for one in sent] + [Publication(EnumPublished.FAILED, reason=reason)] * left

    async def _hand_over(self, message: BusMessage) -> Publication | asyncio.Future[object]:
        if not message.key:
            return NO_KEY
        if len(message.key) + len(message.value) > MESSAGE_BYTES:
            return TOO_LARGE
        producer = self._producer or await self._connected()
        try:
            future: asyncio.Future[object] = await producer.send(
                message.topic, message.value, message.key, headers=list(message.headers)
            )
        except _REJECTED as error:
            return Publication(EnumPublished.REJECTED, reason=_said(error))
        return future

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.address.servers,
            **_security(self.address.security),
            client_id="onex",
            enable_idempotence=True,
            max_request_size=2 * MESSAGE_BYTES,
            request_timeout_ms=int(1000 * self.address.publish_timeout_s) + 60_000,  # the call is given up long before
            metadata_max_age_ms=10_000,
            linger_ms=1,
        )
        try:
            await producer.start()
        except BaseException:
            with suppress(Exception):
                await producer.stop()
            raise
        self._producer = producer
        return producer

    async def subscribe(self, group: str, topics: Sequence[str]) -> AioKafkaSubscription:
        self._check_open()
        subscription = AioKafkaSubscription(self.address, group, topics)
        self._subscriptions.append(subscription)
        return subscription

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for subscription in self._subscriptions:
            await subscription.close()
        await self._forget()

    def _check_open(self) -> None:
        if self._closed:
            raise BusRefused("this connection to the bus is closed; open another one")

    async def _forget(self) -> None:
        """Ends the producer without sending what waits: a batch that is sent later would come behind its successors."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(Exception):
                await producer._sender.close()  # ``stop`` alone would wait for a broker that is away
                await producer.stop()


class AioKafkaSubscription:
    """One member of a consumer group. It joins at the first ``read``: a broker that is away is no error of ``subscribe``."""

    def __init__(self, address: KafkaAddress, group: str, topics: Sequence[str]) -> None:
        self._address, self._group, self._topics = address, group, topics
        self._consumer: AIOKafkaConsumer | None = None
        self._assigned: AbstractSet[TopicPartition] = frozenset()
        self._closed = False

    @property
    def assignment(self) -> AbstractSet[TopicPartition]:
        return self._assigned

    async def read(self, limit: int) -> Sequence[ReceivedMessage]:
        if self._closed:
            raise BusRefused("this member has left its group; subscribe again")
        try:
            consumer = self._consumer or await self._joined()
            found = await consumer.getmany(timeout_ms=WAIT_MS, max_records=limit) if limit else {}
            self._assigned = frozenset(TopicPartition(*at) for at in consumer.assignment())
        except (kafka.KafkaError, OSError, ValueError) as error:
            await self._leave()  # an error that ended its tasks would come back for ever: the next call joins anew
            raise self._translated(error) from error
        return [
            ReceivedMessage(one.topic, one.partition, one.offset, one.key or b"", one.value or b"", tuple(one.headers))
            for messages in found.values()
            for one in messages
        ]

    async def _joined(self) -> AIOKafkaConsumer:
        session_ms = int(1000 * self._address.session_timeout_s)
        consumer = AIOKafkaConsumer(
            *self._topics,
            bootstrap_servers=self._address.servers,
            **_security(self._address.security),
            client_id="onex",
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 3,
            max_poll_interval_ms=max(300_000, session_ms),
            rebalance_timeout_ms=max(60_000, session_ms),
            metadata_max_age_ms=10_000,
        )
        try:
            await consumer.start()
        except BaseException:
            with suppress(Exception):
                await consumer.stop()
            raise
        self._consumer = consumer
        return consumer

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        ours = {TopicPartition(*at) for at in consumer.assignment()}
        offsets = {KafkaPartition(*at): offset for at, offset in positions.items() if at in ours}
        if not offsets:
            return
        try:
            await consumer.commit(offsets)
        except (kafka.KafkaError, OSError) as error:
            raise self._translated(error) from error

    async def close(self) -> None:
        self._closed = True
        await self._leave()

    async def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._assigned = frozenset()
        if consumer is not None:
            with suppress(Exception):  # the group notices by itself
                await asyncio.wait_for(consumer.stop(), CLOSE_S)

    def _translated(self, error: Exception) -> OnexError:
        shown = str(self._address)
        if isinstance(error, kafka.KafkaConnectionError | kafka.NodeNotReadyError | kafka.KafkaTimeoutError | OSError):
            return BusUnreachable(f"no broker of {shown} answers: {_said(error)}", bus=shown)
        if isinstance(error, _REFUSED):
            return BusRefused(f"{shown} does not take this: {_said(error)}", bus=shown)
        return BusError(f"{shown} did not do what was asked: {_said(error)}", bus=shown)


def _security(security: KafkaSecurity) -> Mapping[str, str | SSLContext]:
    """As aiokafka is told. Raises BusRefused for a file that cannot be read."""
    said: dict[str, str | SSLContext] = {"security_protocol": security.protocol}
    if security.has_login:
        said |= {
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.username,
            "sasl_plain_password": security.password,
        }
    if security.has_tls:
        try:
            context = create_default_context(cafile=security.ca or None)
            if security.certificate:
                context.load_cert_chain(security.certificate, security.key or None)
        except OSError as error:
            raise BusRefused(f"a certificate or key of Kafka cannot be used: {error}") from error
        said["ssl_context"] = context
    return said


def _answer(sent: Publication | asyncio.Future[object], reason: str, alone: bool) -> Publication:
    """A batch is refused as a whole: only of a message that was ``alone`` is known that it is the reason."""
    if isinstance(sent, Publication):
        return sent
    if not sent.done() or sent.cancelled():
        sent.cancel()
        return Publication(EnumPublished.UNKNOWN, reason=reason)
    error = sent.exception()
    if error is None:
        stands = sent.result()
        return Publication(EnumPublished.PUBLISHED, stands.partition, stands.offset)  # type: ignore[attr-defined]  # a RecordMetadata
    rejected, failed = isinstance(error, _REJECTED) and alone, isinstance(error, (*_REJECTED, *_FAILED))
    outcome = EnumPublished.REJECTED if rejected else EnumPublished.FAILED if failed else EnumPublished.UNKNOWN
    return Publication(outcome, reason=_said(error))


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
