"""An HTTP server on a real socket, whose answers a test says in Python. It keeps what it got."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

REASONS = {200: "OK"}


class Got(NamedTuple):
    """``target`` is path and query as they were sent; names of headers are in small letters."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()


class HangUp(Exception):
    """Raised by an answer: the server ends the connection without one."""


@dataclass
class HttpServer:
    """``answer(got)`` may raise HangUp, and may be replaced at any time. ``connections`` counts what was accepted."""

    answer: Callable[[Got], Answer] = lambda got: Answer()
    port: int = 0
    got: list[Got] = field(default_factory=list)
    connections: int = 0
    serving: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None, "a connection is served in a task"
        self.serving[task] = writer
        with suppress(asyncio.IncompleteReadError, ConnectionError, HangUp):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {}
                for line in filter(None, head[1:]):
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.got.append(Got(method, target, headers, body))
                status, content, more = self.answer(self.got[-1])
                lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'X')}", f"Content-Length: {len(content)}"]
                lines += [f"{name}: {value}" for name, value in more]
                writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + content)
                await writer.drain()
        writer.close()
        del self.serving[task]


@asynccontextmanager
async def http_server(
    answer: Callable[[Got], Answer] = lambda got: Answer(),
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[HttpServer]:
    made = HttpServer(answer)
    server = await asyncio.start_server(made.serve, host, 0, ssl=tls, limit=1 << 20)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in [*made.serving.values()]:
            writer.close()
        await asyncio.gather(*made.serving)


def json(text: str) -> Answer:
    return Answer(200, text.encode(), (("Content-Type", "application/json"),))
