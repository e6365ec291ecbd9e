"""Server-sent events: how one looks on the wire, and a stream of them that shows that it is alive.

A comment goes out every PING_S where nothing else does, so that a proxy does not cut the stream and a client that is gone is found.
A stream ends after STREAM_S, and with the service; the browser comes back by itself, with the id of the last event it got.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi.responses import StreamingResponse
from pydantic import BaseModel

MEDIA: Final = "text/event-stream"
EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "a stream of server-sent events", "content": {MEDIA: {"schema": {"type": "string"}}}}
}
PING_S: Final = 15.0
STREAM_S: Final = 3600.0


def event(name: str, data: BaseModel | None, event_id: str = "") -> bytes:
    """``data`` is JSON on one line."""
    lines = [f"event: {name}"]
    if event_id:
        lines.append(f"id: {event_id}")
    lines.append(f"data: {data.model_dump_json() if data is not None else '{}'}")
    return ("\n".join(lines) + "\n\n").encode("utf-8", "backslashreplace")


def stream(events: AsyncIterator[bytes], ending: asyncio.Event) -> StreamingResponse:
    """``ending`` is set when the service is to end."""
    return StreamingResponse(_alive(events, ending), media_type=MEDIA, headers={"X-Accel-Buffering": "no"})


async def _alive(events: AsyncIterator[bytes], ending: asyncio.Event) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    begun_s = time.monotonic()
    coming: asyncio.Future[bytes] | None = None
    over = asyncio.ensure_future(ending.wait())
    try:
        while time.monotonic() - begun_s < STREAM_S:
            coming = coming or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait((coming, over), timeout=PING_S, return_when=asyncio.FIRST_COMPLETED)
            if over in done:
                return
            if not done:
                yield b": alive\n\n"
                continue
            try:
                told = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield told
    finally:
        over.cancel()
        if coming is not None:
            coming.cancel()
        await asyncio.gather(over, *([coming] if coming is not None else []), return_exceptions=True)
