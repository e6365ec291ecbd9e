"""Where Kafka is and how long it may take: what both clients need to know."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...bus import BusRefused, EnumPublished, Publication

SCHEME = "kafka://"
MESSAGE_BYTES = 1_000_000
"""The most that key and value of a message may take together, as in a broker that nobody set otherwise."""
NO_KEY = Publication(EnumPublished.REJECTED, reason="the message has no key")
TOO_LARGE = Publication(EnumPublished.REJECTED, reason=f"a message has at most {MESSAGE_BYTES} bytes")
_SERVER = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}")


class KafkaSecurity(NamedTuple):
    """How brokers and this client know each other. ``protocol`` is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.

    ``ca``, ``certificate`` and ``key`` are files in PEM: who signed the broker's certificate, and what this client shows of itself.
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str = ""
    password: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return f"KafkaSecurity({self.protocol})"

    @property
    def has_tls(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def has_login(self) -> bool:
        return self.protocol.startswith("SASL")


class KafkaAddress(NamedTuple):
    """``servers``: ``host:port``, separated by commas; one that answers is enough.

    A publish that has no answer for ``publish_timeout_s`` is given up; its messages are then ``failed`` or ``unknown``. A member
    of a group that was not heard of for ``session_timeout_s`` loses its partitions.
    """

    servers: str
    publish_timeout_s: float = 10.0
    session_timeout_s: float = 10.0
    security: KafkaSecurity = KafkaSecurity()

    @classmethod
    def parse(cls, url: str) -> KafkaAddress:
        """``kafka://HOST:PORT[,HOST:PORT]``. Raises BusRefused."""
        servers = url.removeprefix(SCHEME).rstrip("/")
        if not url.startswith(SCHEME) or not all(_SERVER.fullmatch(one) for one in servers.split(",")):
            raise BusRefused(
                f"{url!a} is not the address of a bus; write kafka://HOST:PORT, for example kafka://localhost:9092"
            )
        return cls(servers)

    def __str__(self) -> str:
        return SCHEME + self.servers
