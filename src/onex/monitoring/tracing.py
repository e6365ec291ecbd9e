"""Traces of OpenTelemetry: one trace for all that follows from a first action, over instances, effects and processes.

    trace id = correlation id        every worker that goes on with a workflow adds to the same trace, and nothing is passed along

A span is made when its event comes, with the times that the event tells: a step, a try of an intent, a call of a built-in effect.
No span is open meanwhile, so a crash leaves none open. All spans of a trace are roots: what caused what is told by
``onex log --causes``.

Whether a workflow is traced follows from its correlation id too, so every process decides the same. A checksum decides: ids of
version 7 begin with the time, and in the half that OpenTelemetry's own sampler looks at, two bits never change.

Spans go out in a thread of the SDK, by OTLP over HTTP, to where ``OTEL_EXPORTER_OTLP_ENDPOINT`` says, with the other variables of
OpenTelemetry. Of more than QUEUE spans that wait some are dropped: the engine waits for nobody who looks. Where the collector is
away they are lost. A span holds no payload and no state.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Final
from uuid import UUID
from zlib import crc32

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Status, StatusCode

QUEUE: Final = 16_384
EXPORT_S: Final = 2.0
TRIES: Final = frozenset({"attempt_succeeded", "attempt_failed", "attempt_cut_off"})
STEPS: Final = frozenset({"transition", "refused", "reducer_failed"})

Field = str | int | float | bool | UUID | None


def is_traced(correlation: UUID, share: float) -> bool:
    return crc32(correlation.bytes) < share * (1 << 32)


class TraceTelemetry:
    """Implements the port ``Telemetry``. ``share`` of the workflows are traced. Needs the extra ``otel``."""

    details: Final = True

    def __init__(self, share: float) -> None:
        self._share, self._ids = share, _TraceIds()
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "onex"}
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create(named), id_generator=self._ids, shutdown_on_exit=False
        )
        self._sender = BatchSpanProcessor(OTLPSpanExporter(timeout=EXPORT_S), max_queue_size=QUEUE)
        self._provider.add_span_processor(self._sender)
        self._tracer = self._provider.get_tracer("onex")

    def emit(self, name: str, **fields: Field) -> None:
        correlation = fields.get("correlation")
        if not isinstance(correlation, UUID) or not is_traced(correlation, self._share):
            return
        if name in TRIES:
            self._span(f"try {fields.get('intent')}", correlation, fields, failed=name != "attempt_succeeded")
        elif name in STEPS:
            self._span(f"step {fields.get('trigger')}", correlation, fields, failed=name != "transition")
        elif name == "external_call":
            self._span(f"call {fields.get('what')}", correlation, fields, failed=False)

    def _span(self, name: str, correlation: UUID, fields: Mapping[str, Field], *, failed: bool) -> None:
        ended_ns = time.time_ns()
        ms = fields.get("ms")
        began_ns = ended_ns - (int(ms * 1e6) if isinstance(ms, int | float) else 0)
        told = {
            f"onex.{key}": _attribute(value) for key, value in fields.items() if value is not None and key != "trace"
        }
        key = fields.get("key")
        if isinstance(key, str):
            told["onex.workflow_type"] = key.partition(":")[0]
        self._ids.trace_id = correlation.int
        span = self._tracer.start_span(name, context=Context(), attributes=told, start_time=began_ns)
        if failed:
            span.set_status(Status(StatusCode.ERROR, str(fields.get("error", ""))[:200]))
        span.end(ended_ns)

    def close(self) -> None:
        """Sends what waits, for EXPORT_S at most: the SDK itself would wait for half a minute."""
        ending = threading.Thread(target=self._sender.shutdown, name="onex-traces-end", daemon=True)
        ending.start()
        ending.join(EXPORT_S)


def _attribute(value: str | int | float | bool | UUID) -> str | int | float | bool:
    return str(value) if isinstance(value, UUID) else value


class _TraceIds(RandomIdGenerator):
    """The next trace has this id."""

    trace_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id
