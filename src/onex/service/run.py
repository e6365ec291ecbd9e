"""A service that runs: the API on a port, until a signal ends it.

It refuses to listen anywhere but on the loopback without tokens: whoever reaches the port could then change every workflow.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import uvicorn

from ..kernel.errors import ValidationError
from ..wiring.log_listener import Logger
from .access import Tokens
from .api import close_api, make_api
from .demo_answers import Demonstration
from .served_store import serving

GRACE_S: Final = 2


class ServiceExposed(ValidationError):
    """The service was to listen where others reach it, and nobody would need a token."""

    code = "service_exposed"


class ServiceAddress(NamedTuple):
    """Where it listens. Port 0 is any free one. ``certificate`` and ``key`` are files in PEM; '' for plain HTTP."""

    host: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""


class RunningService(NamedTuple):
    """``address`` is a URL. ``end`` may be called from any thread, and lets requests that are under way end first."""

    address: str
    end: Callable[[], None]


def check_exposure(host: str, tokens: Tokens) -> None:
    """Raises ServiceExposed for a host that is not the loopback, when there are no tokens."""
    if tokens or is_loopback(host):
        return
    raise ServiceExposed(
        f"{host} can be reached from other machines, and no token is set: onex token NAME --role admin >> tokens.txt, then "
        "ONEX_TOKENS=tokens.txt; or listen on 127.0.0.1"
    )


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def serve(
    url: str,
    app: Path | None,
    at: ServiceAddress,
    tokens: Tokens,
    engine: str = "",
    begun: Callable[[RunningService], None] = lambda running: None,
    audit: Logger | None = None,
    demonstration: Demonstration | None = None,
    create: bool = True,
) -> None:
    """Until SIGINT or SIGTERM. ``begun`` hears of it once it answers. ``demonstration``: the demo it is part of.

    Raises ServiceExposed, OSError, ContractError; StoreMissing where there is no store and none is to be made (``create``).
    """
    check_exposure(at.host, tokens)
    async with serving(url, app, tokens, engine, audit, create=create) as served:
        served.demonstration = demonstration
        api = make_api(served, _names(at))
        config = uvicorn.Config(
            api, host=at.host, port=at.port, log_config=None, access_log=False, lifespan="off", server_header=False,
            date_header=False, timeout_graceful_shutdown=GRACE_S, ws="none", proxy_headers=False, loop="asyncio",
            ssl_certfile=at.certificate or None, ssl_keyfile=at.key or None, limit_concurrency=1000,
        )  # fmt: skip
        try:
            with _listening(at) as listening:
                await _Server(config, begun, served.ending).serve([listening])
        finally:
            await close_api(api)


class _Server(uvicorn.Server):
    """One that tells its address once it answers, and its streams that it is to end: it waits for them."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[RunningService], None], ending: asyncio.Event) -> None:
        super().__init__(config)
        self._begun, self._ending = begun, ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._begun(RunningService(_address(self, secure=bool(self.config.ssl_certfile)), self._end))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending.set()
        await super().shutdown(sockets)

    def _end(self) -> None:
        self.should_exit = True


def _listening(at: ServiceAddress) -> socket.socket:
    """Raises OSError with a sentence."""
    family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
    try:
        return socket.create_server((at.host, at.port), family=family)
    except OSError as error:
        raise OSError(
            f"the API cannot listen on {at.host}:{at.port}: {error.strerror or error}; choose another HOST:PORT"
        ) from error


def _names(at: ServiceAddress) -> Iterable[str]:
    return (*at.names, at.host)


def _address(server: uvicorn.Server, *, secure: bool) -> str:
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{shown}:{port}"
