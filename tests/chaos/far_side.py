"""The far side: what effects act on. It writes a call down before it answers, is never killed, and belongs to no engine."""

from __future__ import annotations

import json
import random
import socketserver
import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

HANGS_UP_BEFORE = 0.02
HANGS_UP_AFTER = 0.04


class Call(NamedTuple):
    """What one call said: the idempotency key, the intent it is for (the ``n``-th of that name in its step), the body."""

    key: str
    instance: str
    version: int
    name: str
    n: int
    body: str

    @property
    def intent(self) -> tuple[str, int, str, int]:
        return self.instance, self.version, self.name, self.n


class OutsideService:
    """Listens on a socket of the file system while it is open. Now and then it hangs up, before it acted or after."""

    def __init__(self, place: Path, kept: Path, seed: int) -> None:
        self.place = place
        self.calls: list[Call] = []
        self._kept = kept
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        side = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                answer = side.take(self.rfile.readline())
                if answer:
                    self.wfile.write(answer)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                """Who called is gone: an engine that was killed."""

        self._server = Server(str(place), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="far-side", daemon=True)

    def take(self, line: bytes) -> bytes:
        """What to answer; b'' hangs up. Half a line is no call."""
        if not line.endswith(b"\n"):
            return b""
        call = Call(**json.loads(line))
        with self._lock:
            luck = self._chance.random()
            if luck < HANGS_UP_BEFORE:
                return b""
            self.calls.append(call)
            with self._kept.open("ab") as file:
                file.write(line)
        return b"" if luck < HANGS_UP_BEFORE + HANGS_UP_AFTER else f"receipt for {call.key}\n".encode()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
