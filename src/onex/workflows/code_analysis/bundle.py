"""Bundles: the results of many files as one blob of JSON lines, so that no state holds a row per file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .analysis import FileAnalysis


def line(analysis: FileAnalysis) -> bytes:
    """The blob of one file: its canonical JSON and a line end (JSON itself holds none)."""
    return analysis.model_dump_json().encode() + b"\n"


def bundle(blobs: Iterable[bytes]) -> bytes:
    """One blob of many; of bundles as well."""
    return b"".join(blobs)


def unbundle(blobs: Iterable[bytes]) -> Iterator[FileAnalysis]:
    """One analysis after the other, whatever was bundled with what; never more than one decoded at a time."""
    for blob in blobs:
        start = 0
        while start < len(blob):
            end = blob.index(b"\n", start)
            yield FileAnalysis.model_validate_json(blob[start:end])
            start = end + 1
