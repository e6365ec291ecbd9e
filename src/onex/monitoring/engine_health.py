"""What the engine says of itself, asked where it answers probes (``onex run --listen``), in bounded time and size."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import orjson
from pydantic import JsonValue

from ..engine.probe import Probe
from ..kernel.errors import DatabaseConnectionError, NotFound

WITHIN_S: Final = 1.0
FRESH_S: Final = 1.0
ANSWER_BYTES: Final = 4 << 20


class EngineHealth:
    """``address`` is HOST:PORT; '' where nobody said it, and then nothing is known."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._probe = Probe(self._health, within_s=WITHIN_S, fresh_s=FRESH_S)

    async def figures(self) -> Mapping[str, JsonValue]:
        """The JSON of its ``/health``; empty where it does not answer."""
        if not self.address:
            return {}
        try:
            answer = await self._probe.answer()
        except (OSError, ValueError, EOFError):
            return {}
        return {} if answer is None else answer.value

    async def metrics(self) -> bytes:
        """Its text for Prometheus. Raises NotFound where nobody said where it is, DatabaseConnectionError where it is silent."""
        if not self.address:
            raise NotFound(
                "the engine counts, not this service: onex run --listen HOST:PORT, and onex serve --engine HOST:PORT"
            )
        try:
            async with asyncio.timeout(WITHIN_S * 3):
                return await self._get("/metrics")
        except (OSError, ValueError, EOFError, TimeoutError) as error:
            raise DatabaseConnectionError(f"the engine at {self.address} does not answer: {error}") from error

    async def close(self) -> None:
        await self._probe.close()

    async def _health(self) -> Mapping[str, JsonValue]:
        found: object = orjson.loads(await self._get("/health"))
        return found if isinstance(found, dict) else {}

    async def _get(self, path: str) -> bytes:
        host, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=ANSWER_BYTES)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            await writer.drain()
            whole = await reader.read(ANSWER_BYTES)
            while more := await reader.read(ANSWER_BYTES):
                whole += more
                if len(whole) > ANSWER_BYTES:
                    raise ValueError("its answer is too long")
        finally:
            writer.close()
        return whole.partition(b"\r\n\r\n")[2]
