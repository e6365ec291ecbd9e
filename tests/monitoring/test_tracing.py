"""Traces of a real ``onex run``, sent by OTLP over HTTP to a small collector: one trace for a workflow and what it causes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import JsonValue

from onex.adapters.clock import UuidV7
from onex.monitoring.listeners import Listeners
from onex.monitoring.tracing import is_traced
from onex.settings import InvalidSetting, read_settings
from tests.cli.conftest import ORDERS, STORE, Commands, commands, fill, place

__all__ = ["commands", "place"]  # fixtures of the commands

CAR: dict[str, JsonValue] = {"items": [{"sku": "car", "quantity": 9, "cents": 900_000}]}
TEA: dict[str, JsonValue] = {"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}


@contextmanager
def collector() -> Iterator[tuple[str, Queue[ExportTraceServiceRequest]]]:
    """Its endpoint, and what was sent to it."""
    sent: Queue[ExportTraceServiceRequest] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.put(
                ExportTraceServiceRequest.FromString(decompress(body) if self.headers["Content-Encoding"] else body)
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sent
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def spans_of(sent: Queue[ExportTraceServiceRequest]) -> list[Any]:
    return [
        span
        for request in list(sent.queue)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def told(span: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


def test_a_workflow_is_one_trace_from_its_first_action_over_its_effects(
    place: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, payload in (("orders:1", TEA), ("orders:2", CAR)):
        assert commands("submit", key, "place", "--payload", json.dumps(payload), "--no-wait").code == 0
    with collector() as (endpoint, sent):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("ONEX_TRACES", "1")
        run = commands("run", ORDERS, "--until-idle")
        assert run.code == 0, run.err
        spans = spans_of(sent)
        named = {request.resource_spans[0].resource.attributes[0].key for request in list(sent.queue)}
    traces: dict[str, list[Any]] = {}
    for span in spans:
        traces.setdefault(told(span)["onex.key"], []).append(span)
    assert named
    assert set(traces) == {"orders:1", "orders:2"}
    for its in traces.values():
        (trace_id,) = {span.trace_id for span in its}
        assert {UUID(told(span)["onex.correlation"]).bytes for span in its} == {trace_id}
        assert all(span.end_time_unix_nano >= span.start_time_unix_nano and not span.parent_span_id for span in its)
    assert [span.name for span in sorted(traces["orders:1"], key=lambda one: one.end_time_unix_nano)] == [
        "step place", "try charge", "step charged", "try pack", "step packed",
    ]  # fmt: skip
    (refused,) = [span for span in traces["orders:2"] if span.name == "try charge"]
    assert refused.status.code == 2  # an error
    assert "beyond the credit" in refused.status.message


def test_nothing_is_sent_unless_it_is_asked_for(
    place: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ORDERS, [("orders:1", "place", TEA)], STORE)
    with collector() as (endpoint, sent):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        assert commands("run", ORDERS, "--until-idle").code == 0
        monkeypatch.setenv("ONEX_TRACES", "0.000000001")
        assert commands("run", ORDERS, "--until-idle").code == 0
        assert spans_of(sent) == []


def test_a_collector_that_is_away_costs_the_spans_and_nothing_else(
    place: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands(
        "submit",
        "orders:1",
        "place",
        "--payload",
        '{"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}',
        "--no-wait",
    )
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("ONEX_TRACES", "1")
    run = commands("run", ORDERS, "--until-idle", "--log", "json")
    assert (run.code, run.err) == (0, "")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 1.0])
def test_so_many_workflows_are_traced_as_was_said_whatever_made_their_ids(share: float) -> None:
    ids = UuidV7()
    for made in ([uuid.uuid4() for _ in range(4000)], [UUID(bytes=ids.new()) for _ in range(4000)]):
        traced = sum(is_traced(one, share) for one in made)
        assert abs(traced - share * 4000) <= 4 * (4000 * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("text", ["2", "-1", "half", "1e-3", "0.5%", "٠"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="ONEX_TRACES"):
        read_settings({"ONEX_TRACES": text})


def test_of_two_listeners_each_gets_what_it_asked_for_also_when_the_other_raises() -> None:
    class Told:
        def __init__(self, *, details: bool, raises: bool = False) -> None:
            self.details, self.raises, self.names = details, raises, list[str]()

        def emit(self, name: str, **fields: object) -> None:
            self.names.append(name)
            if self.raises:
                raise ValueError(name)

    plain, detailed = Told(details=False, raises=True), Told(details=True)
    listeners = Listeners(plain, detailed)
    assert listeners.details
    listeners.emit("transition")
    with pytest.raises(ValueError, match="intent_dead"):
        listeners.emit("intent_dead")
    assert (plain.names, detailed.names) == (["intent_dead"], ["transition", "intent_dead"])
    assert not Listeners(plain).details


def test_a_command_imports_neither_traces_nor_metrics() -> None:
    script = "import sys, onex.cli.main, onex.cli.run, onex.wiring.engine; print([*sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "'onex.cli.health'" in loaded
    assert not re.findall(r"'(?:opentelemetry|prometheus_client)[^']*'", loaded)
