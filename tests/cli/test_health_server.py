"""The server of ``--listen`` over real sockets: what it answers, what it refuses, and what a hostile client can cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

import pytest

from onex.cli import health_server
from onex.cli.exit_codes import Misused
from onex.cli.health_server import CONNECTIONS, HEAD_BYTES, LINE_BYTES, HealthPage, HealthServer, parse_address


async def fine() -> HealthPage:
    return HealthPage(HTTPStatus.OK, {"status": "fine"})


async def away() -> HealthPage:
    return HealthPage(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "away"})


async def endless() -> HealthPage:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


def served(talk: Callable[[int], Awaitable[None]]) -> None:
    async def go() -> None:
        server = HealthServer({"/health": fine, "/away": away, "/endless": endless})
        where = await server.start("127.0.0.1", 0)
        try:
            await talk(int(where.rpartition(":")[2]))
        finally:
            await server.close()

    asyncio.run(go())


async def ask(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer. The client does not close before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    raw = await reader.read()
    writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), headers, body


def get(path: str, method: str = "GET", more: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: here\r\n{more}\r\n".encode()


def test_a_page_answers_with_its_status_and_json() -> None:
    async def talk(port: int) -> None:
        status, headers, body = await ask(port, get("/health?verbose=1"))
        assert (status, json.loads(body)) == (200, {"status": "fine"})
        assert headers["content-type"] == "application/json"
        assert headers["connection"] == "close"
        assert int(headers["content-length"]) == len(body)
        status, _, body = await ask(port, get("/away"))
        assert (status, json.loads(body)) == (503, {"status": "away"})
        status, _, body = await ask(port, b"GET /health HTTP/1.0\r\n\r\n")
        assert status == 200

    served(talk)


def test_head_is_get_without_the_body() -> None:
    async def talk(port: int) -> None:
        _, wanted, body = await ask(port, get("/health"))
        status, headers, nothing = await ask(port, get("/health", "HEAD"))
        assert (status, headers, nothing) == (200, wanted, b"")
        assert body

    served(talk)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/nothing"), 404),
        (get("/x/health"), 404),
        (get("/health/"), 404),
        (get("/health", "POST"), 405),
        (get("/health", "POST", "Content-Length: 5\r\n") + b"12345", 405),
        (get("/health", "DELETE"), 405),
        (get("/health", more="Content-Length: 5\r\n") + b"12345", 400),
        (get("/health", more="Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n", 400),
        (get("http://here/health"), 400),
        (get("/h%C3%A9alth"), 404),
        ("GET /héalth HTTP/1.1\r\nHost: here\r\n\r\n".encode(), 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/2.0\r\nHost: here\r\n\r\n", 400),
        (b"GET  /health HTTP/1.1\r\nHost: here\r\n\r\n", 400),
        (b"GET /health\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\nHost: here\n\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: here\r\n folded\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost : here\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),
        (get("/" + "a" * LINE_BYTES), 414),
        (get("/" + "a" * 4 * HEAD_BYTES), 414),
        (get("/health", more=f"Long: {'a' * HEAD_BYTES}\r\n"), 431),
        (get("/health", more="A: b\r\n" * HEAD_BYTES), 431),
    ],
)
def test_what_is_no_request_for_a_page_is_refused_with_the_reason(request_bytes: bytes, status: int) -> None:
    async def talk(port: int) -> None:
        answered, headers, body = await ask(port, request_bytes)
        assert answered == status
        assert json.loads(body)["error"]
        assert headers.get("allow") == ("get, head" if status == 405 else None)
        assert (await ask(port, get("/health")))[0] == 200

    served(talk)


def test_a_client_that_sends_no_whole_request_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_server, "HEAD_S", 0.05)

    async def talk(port: int) -> None:
        assert (await ask(port, b"GET /health HTTP/1.1\r\nHost: here\r\n"))[0] == 408

    served(talk)


def test_a_page_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_server, "PAGE_S", 0.05)

    async def talk(port: int) -> None:
        assert (await ask(port, get("/endless")))[0] == 503

    served(talk)


def test_more_connections_than_there_may_be_are_refused_until_others_end() -> None:
    async def talk(port: int) -> None:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
        assert (await ask(port, get("/health")))[0] == 503
        for _, writer in held:
            writer.write(get("/health"))
        answers = [await reader.read() for reader, _ in held]
        assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        while (await ask(port, get("/health")))[0] != 200:
            await asyncio.sleep(0)

    served(talk)


def test_who_leaves_in_the_middle_disturbs_nobody() -> None:
    async def talk(port: int) -> None:
        for part in (b"", b"GET", b"GET /health HTTP/1.1\r\nHo", get("/endless")):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(part)
            writer.transport.abort()
        assert (await ask(port, get("/health")))[0] == 200

    served(talk)


def test_closing_ends_what_is_open() -> None:
    async def go() -> None:
        server = HealthServer({"/endless": endless})
        where = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(where.rpartition(":")[2]))
        writer.write(get("/endless"))
        await writer.drain()
        await server.close()
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("localhost:8080", ("localhost", 8080)),
        ("8080", ("127.0.0.1", 8080)),
        (":8080", ("127.0.0.1", 8080)),
        ("[::]:8080", ("::", 8080)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "here", "here:", "here:http", "here:65536", "::1:80", "a b:80", "me@here:80", "٣:٣"]
)
def test_what_is_no_address_is_misuse(text: str) -> None:
    with pytest.raises(Misused, match="HOST:PORT"):
        parse_address(text)


def test_a_port_that_is_taken_is_named() -> None:
    async def talk(port: int) -> None:
        with pytest.raises(OSError, match=f"127.0.0.1:{port}: cannot listen there.*choose another"):
            await HealthServer({}).start("127.0.0.1", port)

    served(talk)
