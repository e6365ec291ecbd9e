"""A service on a real port, with a real engine beside it, for a module of tests."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from pydantic import JsonValue

import onex
from onex.engine.payload_reading import PayloadInput
from onex.kernel.errors import OnexError
from onex.service.access import EnumRole, Tokens, new_token, token_line
from onex.service.run import RunningService, ServiceAddress, serve
from onex.wiring.log_listener import Logger

ROOT = Path(__file__).resolve().parents[2]
ORDERS = ROOT / "examples" / "orders"
ITEMS: JsonValue = [{"sku": "tea", "quantity": 2, "cents": 450}]


class Heard(NamedTuple):
    """An answer as it came. ``body`` is its JSON, or its text."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Service:
    """``service.get("instance", key="orders:1")``. A request that changes something carries the csrf, unless it has a token."""

    def __init__(self, address: str) -> None:
        self.address = address
        split = urlsplit(address)
        self.host, self.port = split.hostname or "", split.port or 0
        self._csrf = ""

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, token: str = ""
    ) -> Heard:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        sent = {"Content-Type": "application/json", **(headers or {})}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body)
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        is_json = "json" in (answer.getheader("content-type") or "") and "ndjson" not in answer.getheader(
            "content-type", ""
        )
        shown = {name.lower(): value for name, value in answer.getheaders()}
        return Heard(answer.status, json.loads(text) if is_json and text else text, shown)

    def get(self, what: str, **query: object) -> Heard:
        return self.call("GET", f"/api/{what}?{urlencode(query)}")

    def post(self, what: str, body: object, headers: Mapping[str, str] | None = None, **query: object) -> Heard:
        self._csrf = self._csrf or self.get("session").body["csrf"]
        return self.call(
            "POST", f"/api/{what}?{urlencode(query)}", body, {"X-CSRF-Token": self._csrf, **(headers or {})}
        )

    def events(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[tuple[str, str, Any]]:
        """``(name, id, data)`` of each event, until the stream ends or nobody asks for more."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            assert answer.getheader("content-type", "").startswith("text/event-stream")
            fields: dict[str, str] = {}
            while line := answer.readline().decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "event" in fields:
                    yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
                    fields = {}
        finally:
            connection.close()


@contextmanager
def running(
    store: str,
    app: Path | None = ORDERS,
    tokens: Tokens | None = None,
    *,
    engine: Path | None = ORDERS,
    audit: Logger | None = None,
) -> Iterator[Service]:
    """``engine`` is the app that an engine runs beside the service; None: none runs. All in a thread of its own."""
    begun: list[RunningService] = []
    failed: list[BaseException] = []
    told = threading.Event()

    def heard(running_: RunningService) -> None:
        begun.append(running_)
        told.set()

    async def go() -> None:
        at = ServiceAddress("127.0.0.1", 0)
        if engine is None:
            await serve(store, app, at, tokens or Tokens(), begun=heard, audit=audit)
            return
        async with await onex.open(store, engine):
            await serve(store, app, at, tokens or Tokens(), begun=heard, audit=audit)

    def live() -> None:
        try:
            asyncio.run(go())
        except BaseException as error:  # told to the test
            failed.append(error)
            told.set()

    thread = threading.Thread(target=live)
    thread.start()
    told.wait(60)
    try:
        if failed:
            raise failed[0]
        yield Service(begun[0].address)
    finally:
        if begun:
            begun[0].end()
        thread.join(60)
    if failed:
        raise failed[0]


def filled(store: str, app: Path, actions: list[tuple[str, str, PayloadInput]]) -> None:
    """Actions one after the other, each followed by all that comes of it; refusals are part of the story."""

    async def go() -> None:
        async with await onex.open(store, app) as engine:
            for key, trigger, payload in actions:
                with suppress(OnexError):
                    await engine.submit(key, trigger, payload)
                await engine.idle()
            await engine.idle()

    asyncio.run(go())


def made_tokens() -> tuple[Tokens, dict[str, str]]:
    """One token for each role, and one of a viewer who sees no payloads (``blind``)."""
    given = {role.value: new_token() for role in EnumRole if role is not EnumRole.ANYONE}
    lines = [token_line(name, EnumRole(name), token, payloads=True) for name, token in given.items()]
    given["blind"] = new_token()
    lines.append(token_line("blind", EnumRole.VIEWER, given["blind"], payloads=False))
    return Tokens(lines, "tokens"), given
