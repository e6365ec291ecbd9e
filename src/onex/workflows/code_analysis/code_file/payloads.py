"""One source file: where it lies, what came of it."""

from __future__ import annotations

from onex import Blob, Payload, State

from ..code_directory.payloads import FileDone
from ..tally import FileTally

__all__ = ["Analyse", "Discover", "FileDone", "Read", "SourceFile", "WasAnalysed", "WasRead", "WasWritten", "Write"]


class SourceFile(State):
    """``path`` is relative to ``root``, ``directory`` the instance that gathers it."""

    root: str = ""
    path: str = ""
    module: str = ""
    directory: str = ""
    out: str = ""
    analysis: Blob | None = None
    tally: FileTally = FileTally()
    report: str = ""
    reason: str = ""


class Discover(Payload):
    root: str
    path: str
    module: str
    directory: str
    out: str


class Read(Payload):
    root: str
    path: str


class WasRead(Payload):
    source: Blob


class Analyse(Payload):
    source: Blob
    path: str
    module: str


class WasAnalysed(Payload):
    """``analysis`` is one line of JSON, a ``FileAnalysis``."""

    analysis: Blob
    tally: FileTally


class Write(Payload):
    out: str
    path: str
    analysis: Blob


class WasWritten(Payload):
    report: str
