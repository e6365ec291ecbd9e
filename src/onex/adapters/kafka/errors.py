"""The errors of librdkafka as errors of ONEX. No error of confluent-kafka leaves this adapter.

librdkafka tries again by itself what may be tried again. So what a message comes back with is final for this producer, and the
question is only: is it on the broker? A code that does not say so for sure is ``unknown``.
"""

from __future__ import annotations

from confluent_kafka import KafkaError

from ...bus import BusError, BusRefused, BusUnreachable, EnumPublished
from ...kernel.errors import OnexError

REJECTED = frozenset({
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD,
    KafkaError.TOPIC_EXCEPTION,  # a name that no topic may have
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
})  # fmt: skip
"""The message, or the name of its topic, is what the broker refuses: the same one is refused again."""
FAILED = frozenset({
    KafkaError._PURGE_QUEUE,
    KafkaError._QUEUE_FULL,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.NOT_ENOUGH_REPLICAS,
})  # fmt: skip
"""It was not sent, or not taken, and may be taken later: when a topic was made, or a right given."""
_UNREACHABLE = frozenset({
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
})  # fmt: skip
_REFUSED = frozenset({
    KafkaError._INVALID_ARG,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.INCONSISTENT_GROUP_PROTOCOL,
    KafkaError.INVALID_GROUP_ID,
    KafkaError.INVALID_SESSION_TIMEOUT,
})  # fmt: skip


def outcome_of(error: KafkaError) -> EnumPublished:
    """What became of a message that came back with this error."""
    if error.code() in REJECTED:
        return EnumPublished.REJECTED
    return EnumPublished.FAILED if error.code() in FAILED else EnumPublished.UNKNOWN


def translated(error: KafkaError, shown: str) -> OnexError:
    """The ONEX error for an error of a reader. The caller raises it ``from`` the exception that carried it, if any did."""
    said = f"{error.str()} ({error.name()})"
    if error.code() in _UNREACHABLE:
        return BusUnreachable(f"no broker of {shown} answers: {said}", bus=shown)
    if error.code() in _REFUSED:
        return BusRefused(f"{shown} does not take this: {said}", bus=shown)
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
        return BusError(f"{shown} lacks a topic: {said}; create it", bus=shown)
    return BusError(f"{shown} did not do what was asked: {said}", bus=shown)
