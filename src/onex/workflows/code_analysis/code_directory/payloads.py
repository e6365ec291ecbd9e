"""One directory: how many files it waits for, and what they came to."""

from __future__ import annotations

from onex import Blob, Payload, State

from ..code_total.payloads import DirectoryDone, Pack, Packed
from ..gather import Gathering
from ..tally import FileTally

__all__ = ["Begin", "Directory", "DirectoryDone", "FileDone", "Pack", "Packed"]


class Directory(State):
    """``total`` is the instance that gathers the directories."""

    total: str = ""
    gathering: Gathering[Blob] = Gathering(expected=0)
    reason: str = ""


class Begin(Payload):
    total: str
    files: int


class FileDone(Payload):
    """``references`` holds the file's analysis, nothing for a file that failed before it had one."""

    tally: FileTally
    references: tuple[Blob, ...] = ()
