"""Settings from environment variables: read once, typed, with units. An invalid value is an error.

Every setting here has an effect. An argument of a call or an option of a command has precedence.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from .kernel.errors import ValidationError

STORE_URL = "sqlite:///.onex/store.db"
_YES = ("1", "true", "yes", "on")
_NO = ("", "0", "false", "no", "off")
_HOUR_MS = 3_600_000
_PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")


class InvalidSetting(ValidationError):
    """An environment variable of ONEX has an invalid value."""

    code = "invalid_setting"


@dataclass(frozen=True, slots=True)
class Settings:
    """``ONEX_STORE``, ``ONEX_WORKERS`` (processes for compute; None: one per CPU), ``ONEX_DEBUG`` (with an error, its traceback).

    ``ONEX_COMPUTE``: ``ray`` or ``ray:HOST:PORT``: compute functions run on Ray; not set: in processes of this machine.
    ``ONEX_REGISTRY``: the store of ``onex:registration``, or the bus it reads, by which ``onex run`` and ``onex worker`` register;
    not set: none.
    ``ONEX_NODE_ID``: the name under which they do; not set: one made of app, host and process.
    ``ONEX_RELEASES``: the folder in which versions of an app are kept, for ``onex deploy``; not set: an engine runs one version.
    ``ONEX_LISTEN``: where ``onex run`` and ``onex worker`` answer probes and Prometheus, as ``HOST:PORT``; not set: nowhere.
    ``ONEX_TRACES``: the share of workflows, from 0 to 1, whose traces ``onex run`` and ``onex worker`` send; default 0.
    ``ONEX_STEP_BUDGET_MS``: a longer step is stopped and its action refused; in C, four of them end ``onex run``; default 2,000.
    ``ONEX_CACHE_MIB``: memory for decoded instances; default 64.
    ``REDUCER_MAX_RETRIES``: how often a change is tried again after a conflict on its instance; default 5.
    ``REDUCER_INITIAL_BACKOFF_MS``: wait before the first retry, doubled for each further one; default 10.
    ``REDUCER_MAX_BACKOFF_MS``: the longest such wait; default 250.
    ``ACTION_DEDUP_TTL_HOURS``: a UUIDv7 as action id that is older is refused (``onex gc`` needs the engine's value); default 168.
    ``PROJECTION_BATCH_SIZE``: log rows that a projection applies in one transaction; default 100.
    ``PROJECTION_LAG_THRESHOLD_MS``: a projection further behind is called late; default 250.
    ``ONEX_BUS``: the bus that brings actions and takes events, for example ``kafka://localhost:9092``; not set: none.
    ``KAFKA_BOOTSTRAP_SERVERS``: the bus as ``HOST:PORT`` of Kafka brokers, where ``ONEX_BUS`` is not set.
    ``KAFKA_CONSUMER_GROUP``: the group in which the engine reads; default ``omninode-bridge``.
    ``KAFKA_CLIENT``: ``confluent`` (the default) or ``aiokafka``.
    ``KAFKA_SESSION_TIMEOUT_MS``: an engine that Kafka has not heard of for so long loses its partitions to others; default 10,000.
    ``KAFKA_SECURITY_PROTOCOL``: ``plaintext`` (the default), ``ssl``, ``sasl_plaintext`` or ``sasl_ssl``.
    ``KAFKA_SSL_CA``: a file in PEM with who signed the brokers' certificates; not set: those that this machine trusts.
    ``KAFKA_SSL_CERTIFICATE``: a file in PEM with the certificate that the engine shows; not set: none.
    ``KAFKA_SSL_KEY``: a file in PEM with the key of that certificate.
    ``KAFKA_SASL_MECHANISM``: ``plain`` (the default), ``scram-sha-256`` or ``scram-sha-512``.
    ``KAFKA_SASL_USERNAME``: who logs in.
    ``KAFKA_SASL_PASSWORD``: the password of that user.
    ``KAFKA_AUTO_COMMIT``: only ``true``, the default: the engine commits offsets itself, after the commits that they caused.
    ``ONEX_TOPICS``: topics that bring actions, separated by commas; not set: the one topic of commands of the scheme.
    ``ONEX_TOPIC_SCHEME``: how topics are called, with ``{kind}`` and ``{name}`` in it.
    ``ONEX_BUS_KEY``: a secret of at least 16 bytes that signs messages, and without which none is taken; not set: none is signed.
    ``ONEX_BUS_KEY_OLD``: another one that is accepted, while keys are changed.
    ``ONEX_TOKENS``: a file with the tokens that ``onex serve`` takes, a line for each as ``onex token`` prints it; not set: none.
    ``ONEX_TOKEN``: the token that ``onex.connect("http://...")`` sends; not set: none.
    ``ONEX_CODEC_KEYS``: where the master keys of encrypted stores come from: ``env:NAME``, ``file:PATH`` or ``command:WORDS``; not
    set: stores are not encrypted.
    ``ONEX_EVENT_LOGS``: 1: each published event has a row in the projection ``event_logs``.
    """

    store_url: str = STORE_URL
    workers: int | None = None
    debug: bool = False
    step_budget_s: float = 2.0
    cache_mib: int = 64
    reducer_retries: int = 5
    reducer_initial_backoff_ms: int = 10
    reducer_max_backoff_ms: int = 250
    action_dedup_ttl_hours: int = 168
    projection_batch_rows: int = 100
    projection_lag_threshold_ms: int = 250
    onex_bus: str = ""
    kafka_bootstrap_servers: str = ""
    kafka_consumer_group: str = "omninode-bridge"
    kafka_client: str = "confluent"
    kafka_session_timeout_ms: int = 10_000
    kafka_security_protocol: str = "plaintext"
    kafka_ssl_ca: str = ""
    kafka_ssl_certificate: str = ""
    kafka_ssl_key: str = ""
    kafka_sasl_mechanism: str = "plain"
    kafka_sasl_username: str = ""
    kafka_sasl_password: str = field(default="", repr=False)
    kafka_auto_commit: bool = True
    topics: str = ""
    topic_scheme: str = "dev.omninode_bridge.onex.{kind}.{name}.v1"
    bus_key: str = field(default="", repr=False)
    bus_key_old: str = field(default="", repr=False)
    event_logs: bool = False
    compute: str = ""
    registry: str = ""
    releases: str = ""
    node_id: str = ""
    listen: str = ""
    traces: float = 0.0
    tokens: str = ""
    token: str = ""
    codec_keys: str = ""

    @property
    def bus_url(self) -> str:
        """The bus; '' for none."""
        servers = self.kafka_bootstrap_servers
        return self.onex_bus or (f"kafka://{servers}" if servers else "")


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """An empty variable is one that is not set. Raises InvalidSetting, naming variable and value."""
    default = Settings()
    settings = Settings(
        store_url=environ.get("ONEX_STORE") or default.store_url,
        workers=_count(environ, "ONEX_WORKERS", default.workers),
        debug=wants_debug(environ),
        step_budget_s=_count(environ, "ONEX_STEP_BUDGET_MS", round(1000 * default.step_budget_s), most=_HOUR_MS) / 1000,
        cache_mib=_count(environ, "ONEX_CACHE_MIB", default.cache_mib, most=1 << 20),
        reducer_retries=_count(environ, "REDUCER_MAX_RETRIES", default.reducer_retries, least=0, most=100),
        reducer_initial_backoff_ms=_count(
            environ, "REDUCER_INITIAL_BACKOFF_MS", default.reducer_initial_backoff_ms, most=60_000
        ),
        reducer_max_backoff_ms=_count(environ, "REDUCER_MAX_BACKOFF_MS", default.reducer_max_backoff_ms, most=60_000),
        action_dedup_ttl_hours=_count(environ, "ACTION_DEDUP_TTL_HOURS", default.action_dedup_ttl_hours, most=87_600),
        projection_batch_rows=_count(environ, "PROJECTION_BATCH_SIZE", default.projection_batch_rows, most=10_000),
        projection_lag_threshold_ms=_count(
            environ, "PROJECTION_LAG_THRESHOLD_MS", default.projection_lag_threshold_ms, most=_HOUR_MS
        ),
        onex_bus=environ.get("ONEX_BUS", "").strip(),
        kafka_bootstrap_servers=environ.get("KAFKA_BOOTSTRAP_SERVERS", "").strip(),
        kafka_consumer_group=environ.get("KAFKA_CONSUMER_GROUP", "").strip() or default.kafka_consumer_group,
        kafka_client=_one_of(environ, "KAFKA_CLIENT", ("confluent", "aiokafka")),
        kafka_session_timeout_ms=_count(
            environ, "KAFKA_SESSION_TIMEOUT_MS", default.kafka_session_timeout_ms, least=1000, most=_HOUR_MS
        ),
        kafka_security_protocol=_one_of(environ, "KAFKA_SECURITY_PROTOCOL", _PROTOCOLS),
        kafka_ssl_ca=environ.get("KAFKA_SSL_CA", ""),
        kafka_ssl_certificate=environ.get("KAFKA_SSL_CERTIFICATE", ""),
        kafka_ssl_key=environ.get("KAFKA_SSL_KEY", ""),
        kafka_sasl_mechanism=_one_of(environ, "KAFKA_SASL_MECHANISM", ("plain", "scram-sha-256", "scram-sha-512")),
        kafka_sasl_username=environ.get("KAFKA_SASL_USERNAME", ""),
        kafka_sasl_password=environ.get("KAFKA_SASL_PASSWORD", ""),
        kafka_auto_commit=_auto_commit(environ),
        topics=environ.get("ONEX_TOPICS", "").strip(),
        topic_scheme=environ.get("ONEX_TOPIC_SCHEME", "").strip() or default.topic_scheme,
        bus_key=environ.get("ONEX_BUS_KEY", ""),
        bus_key_old=environ.get("ONEX_BUS_KEY_OLD", ""),
        event_logs=_switch(environ, "ONEX_EVENT_LOGS"),
        compute=_compute(environ),
        registry=environ.get("ONEX_REGISTRY", "").strip(),
        releases=environ.get("ONEX_RELEASES", "").strip(),
        node_id=environ.get("ONEX_NODE_ID", "").strip(),
        listen=environ.get("ONEX_LISTEN", "").strip(),
        traces=_share(environ, "ONEX_TRACES"),
        tokens=environ.get("ONEX_TOKENS", "").strip(),
        token=environ.get("ONEX_TOKEN", "").strip(),
        codec_keys=environ.get("ONEX_CODEC_KEYS", "").strip(),
    )
    first_ms, longest_ms = settings.reducer_initial_backoff_ms, settings.reducer_max_backoff_ms
    if first_ms > longest_ms:
        raise InvalidSetting(
            f"REDUCER_INITIAL_BACKOFF_MS={first_ms} is more than REDUCER_MAX_BACKOFF_MS={longest_ms}; "
            "the first wait is the shortest",
            setting="REDUCER_INITIAL_BACKOFF_MS",
        )
    return settings


def wants_debug(environ: Mapping[str, str] = os.environ) -> bool:
    """``ONEX_DEBUG`` alone. Raises InvalidSetting."""
    return _switch(environ, "ONEX_DEBUG")


def _one_of(environ: Mapping[str, str], name: str, words: tuple[str, ...]) -> str:
    """The first of ``words`` is the default."""
    text = environ.get(name, "").strip().lower() or words[0]
    if text not in words:
        raise InvalidSetting(f"{name}={text!r} is none of {', '.join(words)}; correct it or unset it", setting=name)
    return text


def _auto_commit(environ: Mapping[str, str]) -> bool:
    text = environ.get("KAFKA_AUTO_COMMIT", "").strip().lower()
    if text and text not in _YES:
        raise InvalidSetting(
            f"KAFKA_AUTO_COMMIT={text!r}: only true is possible, since nobody but the engine knows which offsets may be "
            "committed; unset it",
            setting="KAFKA_AUTO_COMMIT",
        )
    return True


def _compute(environ: Mapping[str, str]) -> str:
    text = environ.get("ONEX_COMPUTE", "").strip()
    if text and re.fullmatch(r"ray|ray:auto|ray:[^/:\s]+:[0-9]{1,5}", text) is None:
        raise InvalidSetting(
            f"ONEX_COMPUTE={text!r} is none of ray, ray:auto, ray:HOST:PORT; unset it for processes of this machine",
            setting="ONEX_COMPUTE",
        )
    return text


D = TypeVar("D", int, int | None)


def _count(environ: Mapping[str, str], name: str, default: D, *, least: int = 1, most: int = 1024) -> int | D:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and least <= int(text) <= most):
        raise InvalidSetting(
            f"{name}={text!r} is not a number from {least} to {most}; correct it or unset it", setting=name
        )
    return int(text)


def _share(environ: Mapping[str, str], name: str) -> float:
    text = environ.get(name, "").strip() or "0"
    if re.fullmatch(r"[01]|0?\.[0-9]{1,9}|1\.0", text, re.ASCII) is None:
        raise InvalidSetting(f"{name}={text!r} is not a share from 0 to 1, for example 0.1", setting=name)
    return float(text)


def _switch(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name, "").strip().lower()
    if text not in (*_YES, *_NO):
        raise InvalidSetting(f"{name}={text!r} is neither 1 nor 0; correct it or unset it", setting=name)
    return text in _YES
