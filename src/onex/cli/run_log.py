"""The log of ``onex run`` on stderr: one line per event of the engine, as text for a person or as JSON for a program.

structlog filters by level and makes the time; it is imported when a run begins, and by no other command. In text, the traceback
of user code stands below its line, one frame per line, with paths as seen from here. On a terminal a line first clears the status
line, which is drawn again with the next tick. The same warning or error is not repeated directly in text.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from ..monitoring.listeners import Listeners
from ..ports import Telemetry
from ..settings import InvalidSetting, read_settings
from ..wiring.log_listener import Logger, log_listener
from .console import harmless, json_text, redraw, shown, styled, write
from .show_history import from_here

LEVEL_WIDTH: Final = len("warning")
_COLOURS: Final = {"error": "red", "warning": "yellow", "info": "dim"}
_FIGURES: Final = re.compile(r"\d+")
_SAID_OTHERWISE: Final = "stranded"  # ``onex run`` lists these at its start, with what to do

Fields = MutableMapping[str, object]
Render = Callable[[object, str, Fields], str]


class LogForm(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least serious events that are written."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def run_log(form: LogForm, level: LogLevel) -> Telemetry:
    """A listener for an engine. With INFO it asks for a line per transition, refusal and attempt as well."""
    return log_listener(stderr_logger(form, level), details=level is LogLevel.INFO)


def stderr_logger(form: LogForm, level: LogLevel) -> Logger:
    """A logger of structlog whose lines go to stderr."""
    import structlog

    render: Render = _json_line if form is LogForm.JSON else _text_line
    logger: Logger = structlog.wrap_logger(
        _Stderr(once=form is LogForm.TEXT),
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True), render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        context_class=dict,
    )
    return logger


@contextmanager
def run_telemetry(form: LogForm, level: LogLevel) -> Iterator[Telemetry]:
    """The log, and with ``ONEX_TRACES`` traces beside it; what waits of them is sent at the end. Raises InvalidSetting."""
    log, share = run_log(form, level), read_settings().traces
    if not share:
        yield log
        return
    try:
        from ..monitoring.tracing import TraceTelemetry
    except ImportError as error:
        raise InvalidSetting(
            f"ONEX_TRACES={share:g} needs OpenTelemetry, which is not here ({error}). Install the extra otel of your copy of ONEX: "
            "pip install 'PATH/TO/ONEX[otel]', or unset it",
            setting="ONEX_TRACES",
        ) from error
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # stderr has our lines only
    traces = TraceTelemetry(share)
    try:
        yield Listeners(log, traces)
    finally:
        traces.close()


class _Stderr:
    """What structlog hands the rendered lines to."""

    def __init__(self, *, once: bool) -> None:
        self._once, self._last = once, ""

    def info(self, text: str) -> None:
        self._last = ""
        self._write(text)

    def warning(self, text: str) -> None:
        head = text.partition(" ")[2]  # without its time
        if "loop failed" in head:
            head = _FIGURES.sub("", head)  # how often it failed, and after how many ms
        if not text or (self._once and head == self._last):
            return
        self._last = head
        self._write(text)

    error = warning

    def _write(self, text: str) -> None:
        if self._once and sys.stderr.isatty():
            redraw()
        write(sys.stderr, f"{text}\n")
        sys.stderr.flush()


def _json_line(_logger: object, _method: str, fields: Fields) -> str:
    return json_text({"time": fields.pop("timestamp"), "level": fields.pop("level"), **fields})


def _text_line(_logger: object, _method: str, fields: Fields) -> str:
    time, level, event = (str(fields.pop(name)) for name in ("timestamp", "level", "event"))
    if event == _SAID_OTHERWISE:
        return ""
    frames = str(fields.pop("trace", "")).splitlines()
    last = ("correlation",)
    pairs = [f"{name}={_value(name, fields[name])}" for name in sorted(fields, key=last.__contains__)]
    coloured = styled(level.ljust(LEVEL_WIDTH), _COLOURS[level], sys.stderr)
    head = "  ".join([f"{time[:-4]}Z {coloured} {event.replace('_', ' ')}", " ".join(pairs)]).rstrip()
    return "\n".join([shown(head), *(f"    {harmless(from_here(frame))}" for frame in frames)])


def _value(name: str, value: object) -> str:
    text = from_here(str(value)) if name == "where" else str(value)
    text = harmless(text)
    if text and not set(text) & {" ", '"'}:
        return text
    return '"' + text.replace('"', '\\"') + '"'
