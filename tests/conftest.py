"""Hypothesis profiles: `ci` draws the same examples each time, `long` draws many new ones. And the server that tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.servers.consul_server import ConsulServer, running_consul
from tests.servers.kafka_server import KafkaServer, running_kafka
from tests.servers.postgres_server import PostgresServer, running_server

settings.register_profile("ci", derandomize=True, deadline=None, database=None, max_examples=60)
settings.register_profile("long", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One real PostgreSQL per session of tests, started when the first test asks for it. Each test uses a schema of its own."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def installed_postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL that this machine has of its own, another version mostly."""
    with running_server(installed=True) as server:
        yield server


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """One real Kafka per session of tests, started when the first test asks for it. Each test uses topics of its own."""
    with running_kafka() as server:
        yield server


@pytest.fixture(scope="session")
def consul() -> Iterator[ConsulServer]:
    """One real Consul per session of tests, started when the first test asks for it. Each test uses nodes of its own."""
    with running_consul() as server:
        yield server
