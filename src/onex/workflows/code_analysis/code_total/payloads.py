"""A whole tree: how many directories it waits for, and what they came to."""

from __future__ import annotations

from onex import Blob, Payload, State

from ..gather import Gathering
from ..tally import FileTally


class Total(State):
    title: str = ""
    out: str = ""
    gathering: Gathering[Blob] = Gathering(expected=0)
    markdown: str = ""
    html: str = ""
    reason: str = ""


class Begin(Payload):
    title: str
    out: str
    directories: int


class DirectoryDone(Payload):
    """``references`` are bundles of the files' analyses."""

    tally: FileTally
    references: tuple[Blob, ...] = ()


class Pack(Payload):
    parts: tuple[Blob, ...]


class Packed(Payload):
    bundle: Blob


class WriteReport(Payload):
    title: str
    out: str
    bundles: tuple[Blob, ...]


class WasReported(Payload):
    """Paths of the two forms of the report."""

    markdown: str
    html: str
