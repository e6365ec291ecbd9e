"""A real Apache Kafka for tests: its jars from Maven Central, fetched once into `.cache`; one broker in KRaft mode, on free ports.

It ends with the process that started it, also when that is killed: a shell that waits for the end of a pipe stops it.
"""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.laws.tree import ROOT

POM = Path(__file__).with_name("kafka-pom.xml")
CACHE = ROOT / ".cache" / "kafka"
START_S = 90.0
FETCH_S = 300
SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{secure}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{secure}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL
log.dir={folder}/data
num.partitions=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""
SECURE = """
listener.name.secure.sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_onex="{password}";
listener.name.secure.ssl.client.auth=required
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={folder}/both.pem
listener.name.secure.ssl.truststore.type=PEM
listener.name.secure.ssl.truststore.location={folder}/certificate.pem
"""
PASSWORD = "what only this broker knows"
LOGGING = """<Configuration status="ERROR"><Appenders><Console name="C"><PatternLayout pattern="%d %p %c{1}: %m%n"/></Console>
</Appenders><Loggers><Root level="WARN"><AppenderRef ref="C"/></Root></Loggers></Configuration>"""


class NoKafka(Exception):
    """Kafka cannot be had here."""


def fetch() -> None:
    """Once per clone. Two at once wait for each other. Raises NoKafka after two tries."""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        raise NoKafka("it needs java and mvn")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (CACHE / "done").exists():
            return
        words = [
            "mvn", "-q", "-B", "-ntp", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime",
            f"-DoutputDirectory={CACHE / 'libs'}",
        ]  # fmt: skip
        for _ in range(2):
            tried = subprocess.run(words, capture_output=True, text=True, timeout=FETCH_S, cwd=CACHE)
            if tried.returncode == 0:
                (CACHE / "done").touch()
                return
        raise NoKafka(f"its jars cannot be fetched: {tried.stdout.strip()[-300:]}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class KafkaServer:
    """One broker in a temporary folder. ``kill`` and ``start`` again keep what it holds."""

    def __init__(self) -> None:
        fetch()
        self.folder = Path(tempfile.mkdtemp(prefix="onex-kafka-"))
        self.port = free_port()
        self.servers = f"127.0.0.1:{self.port}"
        self._keeper: subprocess.Popen[bytes] | None = None
        self._settings = self.folder / "server.properties"
        self.certificate, self.key = self.folder / "certificate.pem", self.folder / "key.pem"
        self.secure_servers = f"127.0.0.1:{free_port()}" if self._made_certificate() else ""
        """With TLS, certificates on both sides and a password; '' where no certificate can be made."""
        secure = f",SECURE://{self.secure_servers}" if self.secure_servers else ""
        text = SETTINGS.format(port=self.port, controller=free_port(), folder=self.folder, secure=secure)
        if secure:
            text += SECURE.format(folder=self.folder, password=PASSWORD)
        self._settings.write_text(text)
        (self.folder / "log4j2.xml").write_text(LOGGING)
        name = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()
        made = subprocess.run(
            [*self._java(), "kafka.tools.StorageTool", "format", "--standalone", "-t", name, "-c", str(self._settings)],
            capture_output=True, text=True, cwd=self.folder,
        )  # fmt: skip
        if made.returncode:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise NoKafka(f"its folder cannot be formatted: {(made.stdout + made.stderr).strip()[-300:]}")

    def _made_certificate(self) -> bool:
        """One that signs itself: broker and client both show it, and trust it."""
        words = [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
            "subjectAltName=IP:127.0.0.1", "-keyout", str(self.key), "-out", str(self.certificate),
        ]  # fmt: skip
        if shutil.which("openssl") is None or subprocess.run(words, capture_output=True).returncode:
            return False
        (self.folder / "both.pem").write_text(self.key.read_text() + self.certificate.read_text())
        return True

    def _java(self) -> list[str]:
        return [
            "java", f"-Dlog4j2.configurationFile={self.folder / 'log4j2.xml'}", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
            "-Xshare:auto", "-cp", f"{CACHE / 'libs'}/*",
        ]  # fmt: skip

    def start(self) -> None:
        """Returns when it takes connections. Raises NoKafka."""
        words = [*self._java(), "-Xms128m", "-Xmx384m", "kafka.Kafka", str(self._settings)]
        script = '"$@" & server=$!; cat >/dev/null; kill -9 "$server" 2>/dev/null; wait "$server"'
        with (self.folder / "log").open("ab") as log:
            self._keeper = subprocess.Popen(
                ["sh", "-c", script, "sh", *words], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip
        end_s = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > end_s:
                raise NoKafka(f"it does not start: {(self.folder / 'log').read_text(errors='replace')[-600:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def make_topics(self, names: Sequence[str], partitions: int) -> None:
        """Returns when they are there."""
        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        made = admin.create_topics([NewTopic(name, partitions, 1) for name in names], operation_timeout=30)
        for future in made.values():
            future.result(timeout=60)

    def kill(self) -> None:
        """By signal 9, as a crash does: ``start`` recovers it."""
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running_kafka() -> Iterator[KafkaServer]:
    """Skips the test, aloud, where Kafka cannot be had."""
    try:
        server = KafkaServer()
    except (NoKafka, subprocess.TimeoutExpired) as error:
        pytest.skip(f"no Kafka here: {error}")
    try:
        server.start()
        yield server
    except NoKafka as error:
        pytest.skip(f"no Kafka here: {error}")
    finally:
        server.remove()
