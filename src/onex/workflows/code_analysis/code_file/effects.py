"""Reading a source file, and writing what was found in it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from onex import EffectFailed, EffectIO, ModelIntent, effect

from .payloads import Read, WasRead, WasWritten, Write

LARGEST_BYTES = 8 * 1024 * 1024


@effect("source_reader")
async def read(intent: ModelIntent[Read], io: EffectIO) -> WasRead:
    place = _inside(Path(intent.payload.root), intent.payload.path)
    return WasRead(source=io.blob(await asyncio.to_thread(_bytes_of, place), "text/x-python"))


@effect("result_writer")
async def write(intent: ModelIntent[Write], io: EffectIO) -> WasWritten:
    place = _inside(Path(intent.payload.out) / "files", f"{intent.payload.path}.json")
    data = await io.read(intent.payload.analysis)
    await asyncio.to_thread(replace_file, place, data)
    return WasWritten(report=str(place))


def _inside(root: Path, relative: str) -> Path:
    """Raises EffectFailed for a path that leaves its root, by dots or by a link."""
    root = root.resolve()
    place = (root / relative).resolve()
    if not place.is_relative_to(root):
        raise EffectFailed(f"{relative!r} leads out of {root}", code="outside")
    return place


def _bytes_of(place: Path) -> bytes:
    try:
        size = place.stat().st_size
        if size > LARGEST_BYTES:
            raise EffectFailed(f"{place.name} has {size} bytes; {LARGEST_BYTES} are read", code="too_large")
        return place.read_bytes()
    except OSError as error:
        raise EffectFailed(f"{place.name}: {error.strerror or error}", code="unreadable") from error


def replace_file(place: Path, data: bytes) -> None:
    """Whole or not at all; the same bytes again change nothing. Raises EffectFailed."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=place.parent, prefix=".", delete=False) as file:
            file.write(data)
        os.replace(file.name, place)
    except OSError as error:
        raise EffectFailed(f"{place}: {error.strerror or error}", code="unwritable", retryable=True) from error
