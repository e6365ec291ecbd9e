"""HealthServer: answers the probes of an orchestrator over HTTP/1.1. It serves a fixed list of pages, and nothing else.

Theory of operation. One connection carries one request:

1. The connection counts. Beyond CONNECTIONS it gets 503 at once, so that nobody can use up the descriptors of the engine.
2. The request line and the headers are read, at most LINE_BYTES and HEAD_BYTES of them, within HEAD_S. What does not fit, or is not
   HTTP/1.0 or 1.1, is answered with the status that names the fault. A request with a body is refused: no page takes one.
3. The page says its status and its JSON. It must bound its own time; the server gives up after PAGE_S.
4. The answer is written, with ``Connection: close``. What the client still sends is read and dropped for a moment: a socket that is
   closed with unread bytes resets the connection, and the client may lose the answer.

What may go wrong: a client that sends slowly, sends nothing, or leaves. Each step has a time limit, and an error of one connection
ends only that connection. Paths are compared whole, never by their end: ``/x/health`` is no page.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

from .exit_codes import Misused

CONNECTIONS: Final = 32
LINE_BYTES: Final = 2048
HEAD_BYTES: Final = 8192
HEAD_S: Final = 5.0
PAGE_S: Final = 10.0
WRITE_S: Final = 5.0
LINGER_S: Final = 1.0
DEFAULT_HOST: Final = "127.0.0.1"

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ADDRESS = re.compile(r"(?:(?P<host>\[[0-9a-fA-F:.%\w]+\]|[^\[\]:/@\s]*):)?(?P<port>[0-9]{1,5})")


class HealthPage(NamedTuple):
    """What a page says: its HTTP status, and a JSON object; or ``text``, of the type ``media``."""

    status: HTTPStatus
    body: Mapping[str, JsonValue]
    text: bytes = b""
    media: str = "application/json"


Pages = Mapping[str, Callable[[], Awaitable[HealthPage]]]


class _Refused(Exception):
    """A request that gets ``status`` and a sentence."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


def parse_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``:PORT`` or ``PORT``; an IPv6 address stands in brackets. Port 0 is any free one. Raises Misused."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > 65_535:
        raise Misused(f"--listen {text!r} is no address; write HOST:PORT, for example {DEFAULT_HOST}:8080")
    return (found["host"] or DEFAULT_HOST).strip("[]"), int(found["port"])


class HealthServer:
    """``pages[path]`` answers ``GET path``. All methods belong to one event loop."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> str:
        """Listens, and returns the address it got, as ``HOST:PORT``. Raises OSError with a sentence."""
        try:
            self._server = await asyncio.start_server(self._connected, host, port, limit=HEAD_BYTES)
        except OSError as error:
            raise OSError(
                f"--listen {host}:{port}: cannot listen there: {error.strerror or error}; choose another HOST:PORT"
            ) from error
        name, number = self._server.sockets[0].getsockname()[:2]
        return f"[{name}]:{number}" if ":" in name else f"{name}:{number}"

    async def close(self) -> None:
        """Ends every connection. Nobody is answered any more."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
            writer.close()
        except (OSError, asyncio.CancelledError):  # the client has left or does not read, or this server closes
            writer.transport.abort()
        finally:
            self._connections.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_body = True
        try:
            if len(self._connections) > CONNECTIONS:
                raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"more than {CONNECTIONS} connections; try again")
            try:
                async with asyncio.timeout(HEAD_S):
                    request = await _request(reader)
            except TimeoutError:
                raise _Refused(HTTPStatus.REQUEST_TIMEOUT, f"no whole request came within {HEAD_S:g} s") from None
            if request is None:
                return
            method, path = request
            with_body = method != "HEAD"
            page = await self._page(path)
        except _Refused as refused:
            page = HealthPage(refused.status, {"error": refused.why})
        writer.write(_answer(page, with_body=with_body))
        async with asyncio.timeout(WRITE_S):
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                for _ in range(8):
                    if not await reader.read(HEAD_BYTES):
                        break

    async def _page(self, path: str) -> HealthPage:
        page = self._pages.get(path)
        if page is None:
            raise _Refused(HTTPStatus.NOT_FOUND, f"there are {', '.join(self._pages)}")
        try:
            async with asyncio.timeout(PAGE_S):
                return await page()
        except TimeoutError:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"no answer within {PAGE_S:g} s") from None


async def _request(reader: asyncio.StreamReader) -> tuple[str, str] | None:
    """Method and path, when the whole head has come; None for a client that leaves without a word. Raises _Refused."""
    line = await _line(reader, LINE_BYTES, HTTPStatus.REQUEST_URI_TOO_LONG)
    if not line:
        return None
    words = line.removesuffix(b"\r\n").split(b" ")
    if not line.endswith(b"\r\n") or len(words) != 3 or not _TOKEN.fullmatch(words[0]):
        raise _Refused(HTTPStatus.BAD_REQUEST, "the first line is not 'GET PATH HTTP/1.1'")
    method, target, version = words
    if version not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise _Refused(HTTPStatus.BAD_REQUEST, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    names, left = set(), HEAD_BYTES
    while (line := await _line(reader, left, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)) != b"\r\n":
        left -= len(line)
        name, colon, value = line.partition(b":")
        if not colon or not line.endswith(b"\r\n") or not _TOKEN.fullmatch(name):
            raise _Refused(HTTPStatus.BAD_REQUEST, "a header is not 'Name: value'")
        names.add(name.lower())
        if name.lower() == b"transfer-encoding" or (name.lower() == b"content-length" and value.strip() != b"0"):
            names.add(b"a body")
    if method not in (b"GET", b"HEAD"):
        raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are allowed")
    if b"a body" in names:
        raise _Refused(HTTPStatus.BAD_REQUEST, "no page takes a body")
    if version == b"HTTP/1.1" and b"host" not in names:
        raise _Refused(HTTPStatus.BAD_REQUEST, "HTTP/1.1 needs a Host header")
    if not target.startswith(b"/") or not target.isascii():
        raise _Refused(HTTPStatus.BAD_REQUEST, "the path begins with / and is ASCII")
    return method.decode(), target.decode().partition("?")[0]


async def _line(reader: asyncio.StreamReader, most: int, too_long: HTTPStatus) -> bytes:
    """Up to and with the next line feed; less where the client has ended. Raises _Refused for more than ``most`` bytes."""
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as ended:
        line = ended.partial
    except asyncio.LimitOverrunError:
        line = b""
        most = -1
    if len(line) > most:
        raise _Refused(too_long, f"at most {LINE_BYTES} bytes of a first line and {HEAD_BYTES} of headers are read")
    return line


def _answer(page: HealthPage, *, with_body: bool) -> bytes:
    body = page.text or orjson.dumps(page.body, option=orjson.OPT_APPEND_NEWLINE)
    head = [
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        f"Content-Type: {page.media}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if page.status is HTTPStatus.METHOD_NOT_ALLOWED:
        head.append("Allow: GET, HEAD")
    return "\r\n".join([*head, "", ""]).encode() + (body if with_body else b"")
