"""The bus by confluent-kafka (librdkafka): what is published has one answer per message, and each key keeps its order.

One thread of its own serves ``publish``; calls wait for each other. It hands all messages to the producer and asks for their
answers until each has one. librdkafka sends again what is not acknowledged, and its producer is idempotent: the broker keeps the
order and drops doubles.

What may go wrong, and why each key still keeps its order:

- No answer within ``publish_timeout_s``: what is still in the queue is taken back (``failed``), what is under way is given up
  (``unknown``). No message times out for itself before that, so none is given up while one behind it is sent.
- The broker refuses a message: ``enable.gapless.guarantee`` then stops the whole producer, so that nothing behind it is sent.
- After either, the producer is thrown away. A new one has a new id, and the old one's late requests cannot come between:
  the broker appends them as a whole prefix, in order, or not at all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ...bus import BusMessage, BusRefused, EnumPublished, Publication
from .address import MESSAGE_BYTES, NO_KEY, TOO_LARGE, KafkaAddress, KafkaSecurity
from .confluent_subscription import ConfluentSubscription
from .errors import outcome_of

POLL_S = 0.1
LOG = logging.getLogger("onex.kafka")
LOG.addHandler(logging.NullHandler())  # what matters comes as an error; a program may listen
CLIENT: Mapping[str, object] = {
    "client.id": "onex",
    "logger": LOG,
    "reconnect.backoff.max.ms": 1000,
    "topic.metadata.refresh.interval.ms": 10_000,
}


class ConfluentBus:
    """One connection to a Kafka cluster. It connects at the first call."""

    def __init__(self, address: KafkaAddress) -> None:
        self.address = address
        self._thread = ThreadPoolExecutor(1, "onex-kafka-publish")
        self._producer: Producer | None = None
        self._subscriptions: list[ConfluentSubscription] = []
        self._closed = False
        self._client = {**CLIENT, **_security(address.security)}
        self._trouble = ""

    async def publish(self, messages: Sequence[BusMessage]) -> Sequence[Publication]:
        self._check_open()
        if not messages:
            return ()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._publish, tuple(messages))

    async def subscribe(self, group: str, topics: Sequence[str]) -> ConfluentSubscription:
        self._check_open()
        subscription = await ConfluentSubscription.open(self.address, group, topics, self._client)
        self._subscriptions.append(subscription)
        return subscription

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for subscription in self._subscriptions:
            await subscription.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._forget)
        self._thread.shutdown(wait=False)

    def _check_open(self) -> None:
        if self._closed:
            raise BusRefused("this connection to the bus is closed; open another one")

    # --- in the thread --------------------------------------------------------------------------------------------------

    def _publish(self, messages: Sequence[BusMessage]) -> Sequence[Publication]:
        end_s = time.monotonic() + self.address.publish_timeout_s
        producer = self._producer = self._producer or self._connected()
        answers: list[Publication | None] = [None] * len(messages)
        for at, message in enumerate(messages):
            answered = partial(_answered, answers, at, len(messages) == 1)
            answers[at] = self._hand_over(producer, message, answered, end_s)
        while None in answers and time.monotonic() < end_s:
            _poll(producer)
        given_up = None in answers
        if given_up:
            producer.purge()
            while None in answers:
                _poll(producer)
        judged_here = (NO_KEY, TOO_LARGE)
        if any(
            one.outcome is not EnumPublished.PUBLISHED and one not in judged_here for one in answers if one is not None
        ):
            self._forget()
        found = [one for one in answers if one is not None]
        if given_up and self._trouble:
            found = [one._replace(reason=one.reason and f"{one.reason}: {self._trouble}") for one in found]
        self._trouble = ""
        return found

    def _note(self, error: KafkaError) -> None:
        """What a connection met. A message that is given up says so."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._trouble:  # it says what, and not why
            self._trouble = f"{error.str()} ({error.name()})"

    def _hand_over(
        self, producer: Producer, message: BusMessage, answered: partial[None], end_s: float
    ) -> Publication | None:
        """The answer, where there is one at once."""
        if not message.key:
            return NO_KEY
        if len(message.key) + len(message.value) > MESSAGE_BYTES:
            return TOO_LARGE
        while True:
            try:
                producer.produce(
                    message.topic, message.value, message.key, on_delivery=answered, headers=list(message.headers)
                )
            except BufferError:  # its queue is full
                if time.monotonic() > end_s:
                    return Publication(EnumPublished.FAILED, reason="the queue of the producer is full")
                _poll(producer)
            except KafkaException as error:
                return _answer_of(error.args[0])
            else:
                return None

    def _connected(self) -> Producer:
        timeout_ms = int(1000 * self.address.publish_timeout_s)
        return Producer(
            {
                **self._client,
                "error_cb": self._note,
                "bootstrap.servers": self.address.servers,
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "message.timeout.ms": timeout_ms + 60_000,  # the whole call is given up long before
                "message.max.bytes": 2 * MESSAGE_BYTES,  # with headers; the broker has the last word
                "partitioner": "murmur2_random",  # as every other client chooses a partition
                "linger.ms": 1,
            }
        )

    def _forget(self) -> None:
        self._producer = None


def _security(security: KafkaSecurity) -> Mapping[str, str]:
    """As librdkafka is told."""
    said = {"security.protocol": security.protocol}
    if security.has_login:
        said |= {
            "sasl.mechanism": security.mechanism,
            "sasl.username": security.username,
            "sasl.password": security.password,
        }
    if security.has_tls:
        files = {
            "ssl.ca.location": security.ca,
            "ssl.certificate.location": security.certificate,
            "ssl.key.location": security.key,
        }
        said |= {name: file for name, file in files.items() if file}
    return said


def _poll(producer: Producer) -> None:
    """Calls ``_answered`` for what has an answer by now."""
    try:
        producer.poll(POLL_S)
    except KafkaException as error:  # the producer has stopped: each message is answered with the reason
        LOG.debug("%s", error)


def _answered(
    answers: list[Publication | None], at: int, alone: bool, error: KafkaError | None, message: Message
) -> None:
    """Called by ``poll``. The broker refuses a batch as a whole: only of one that was ``alone`` is known that it is the reason."""
    if error is not None:
        answer = _answer_of(error)
        rejected = answer.outcome is EnumPublished.REJECTED
        answers[at] = answer._replace(outcome=EnumPublished.FAILED) if rejected and not alone else answer
    else:
        answers[at] = Publication(EnumPublished.PUBLISHED, message.partition() or 0, message.offset() or 0)


def _answer_of(error: KafkaError) -> Publication:
    return Publication(outcome_of(error), reason=f"{error.str()} ({error.name()})")
