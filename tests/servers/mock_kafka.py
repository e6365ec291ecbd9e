"""librdkafka's mock cluster: brokers in this process that speak Kafka's protocol over real sockets, with errors on request.

The library comes with confluent-kafka, and exports its mock functions. They are called here by ctypes. The cluster keeps its
messages in memory, also while its broker is down.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import confluent_kafka

PRODUCE = 0
OFFSET_COMMIT = 8
_CONSUMER = 1


def _library() -> ctypes.CDLL:
    folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    library = ctypes.CDLL(str(next(folder.glob("librdkafka*.so*"))))
    for name in ("rd_kafka_new", "rd_kafka_mock_cluster_new", "rd_kafka_conf_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class MockKafka:
    """A cluster of one broker."""

    def __init__(self) -> None:
        self._library = _library()
        said = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        self._library.rd_kafka_conf_set(conf, b"log_level", b"0", said, ctypes.c_size_t(512))
        self._handle = ctypes.c_void_p(self._library.rd_kafka_new(_CONSUMER, conf, said, ctypes.c_size_t(512)))
        assert self._handle.value, said.value
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._handle, 1))
        assert self._cluster.value
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def make_topic(self, topic: str, partitions: int) -> None:
        self._done(self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1))

    def take_down(self) -> None:
        """The broker closes its connections and takes none."""
        self._done(self._library.rd_kafka_mock_broker_set_down(self._cluster, 1))

    def bring_up(self) -> None:
        self._done(self._library.rd_kafka_mock_broker_set_up(self._cluster, 1))

    def answer_with(self, request: int, errors: Sequence[int]) -> None:
        """The next requests of this kind are answered with these errors, one after the other."""
        array = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), array
        )

    def close(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._handle)

    @staticmethod
    def _done(code: int) -> None:
        assert code == 0, code
