"""An engine that tells a directory of itself: it registers when it has started, beats while it lives, and leaves when it ends.

The directory is the workflow `onex:registration`, which runs on a store of its own. ``ONEX_REGISTRY`` names that store, or a bus
that its engine reads (``bus_registration``). What is told waits in the inbox of the store, or on the bus, until that engine runs.

The rule: an engine never waits for its directory and never fails because of it. Each call has CALL_S. One that fails is told once,
and the next beat begins again with who we are, as does a beat that was refused because the directory
had given us up.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol
from uuid import uuid4

from pydantic import JsonValue

from ..adapters.clock import SystemClock
from ..bus import EventBus
from ..engine.bus.topics import BusTopics
from ..engine.metrics import Events
from ..kernel.errors import OnexError
from ..settings import read_settings
from .bus import bus_service, open_bus
from .bus_registration import BusNode
from .client import EngineClient, connect
from .engine import WiredEngine

REGISTRATION: Final = "registration"
CALL_S: Final = 5.0
HEARTBEAT_S: Final = 30
BUS_SCHEME: Final = "kafka://"

Report = Callable[[str], None]


class EngineNode(NamedTuple):
    """Who registers: ``node_id`` is one instance of the registration. ``where`` is HOST:PORT of its probes, '' for none."""

    node_id: str
    name: str
    version: str
    workflows: tuple[str, ...]
    where: str = ""

    def told(self, epoch: int) -> Mapping[str, JsonValue]:
        host, _, port = self.where.rpartition(":")
        return {
            "event_id": str(uuid4()),
            "node_id": self.node_id,
            "node_name": self.name,
            "node_type": "reducer",
            "node_version": self.version,
            "address": host or socket.gethostname(),
            "port": int(port) if port.isdigit() else 0,
            "endpoints": {"health": f"http://{self.where}/health"} if self.where else {},
            "capabilities": list(self.workflows),
            "metadata": {"process": os.getpid()},
            "epoch": epoch,
            "timestamp": datetime.now(UTC).isoformat(),
            "heartbeat_s": HEARTBEAT_S,
        }


def node_of(engine: WiredEngine, app_name: str, where: str, node_id: str = "") -> EngineNode:
    """``node_id`` of the setting; without it one per process, which silence removes when the process is gone. The version is that
    of the first contract."""
    workflows = tuple(one.reducer.workflow_type for one in engine.registry.workflows)
    version = next((one.code.contract_version for one in engine.registry.workflows), "0.0.0")
    own = node_id or f"{app_name}-{socket.gethostname()}-{os.getpid()}"
    return EngineNode(own, app_name, version, workflows, where)


class Registry(Protocol):
    """What is told of one node. Each call raises the OnexError for which it was not taken."""

    async def introduce(self) -> None: ...

    async def beat(self) -> None: ...

    async def leave(self, reason: str) -> None: ...

    async def answer(self) -> int:
        """Answer what the registry asks, for about a second."""

    async def close(self) -> None: ...


@asynccontextmanager
async def registered(
    node: EngineNode, registry_url: str, report: Report, heartbeat_s: float = HEARTBEAT_S, bus: EventBus | None = None
) -> AsyncIterator[None]:
    """Registered while the block runs. ``report`` is told in words what did not work; nothing is raised.

    ``registry_url`` names a store, or a bus, where ``bus`` may be one that is open already.
    """
    teller = _Teller(node.node_id, _registry(node, registry_url, bus), report)
    tasks = [asyncio.create_task(teller.beat(heartbeat_s)), asyncio.create_task(teller.answer())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await teller.leave()


def _registry(node: EngineNode, url: str, bus: EventBus | None) -> Registry:
    epoch = int(datetime.now(UTC).timestamp())
    if bus is None and not url.startswith(BUS_SCHEME):
        return _StoreRegistry(node, url, epoch)
    settings = read_settings()
    topics = BusTopics.of(settings.topic_scheme)
    service = bus_service(
        settings, open_bus(url, settings) if bus is None else bus, SystemClock(), Events(None), topics
    )
    return BusNode(node.node_id, lambda: node.told(epoch), service, owns_bus=bus is None)


class _StoreRegistry:
    """A registration whose store this process can reach: what is told goes through its inbox, and the answer is known."""

    def __init__(self, node: EngineNode, url: str, epoch: int) -> None:
        self._node, self._url, self._epoch = node, url, epoch
        self._client: EngineClient | None = None

    async def introduce(self) -> None:
        await self._tell("introspected", self._node.told(self._epoch))

    async def beat(self) -> None:
        await self._tell("heartbeat", {"timestamp": datetime.now(UTC).isoformat()})

    async def leave(self, reason: str) -> None:
        await self._tell("deregister", {"reason": reason})

    async def answer(self) -> int:
        """A heartbeat that is refused says enough: nothing is asked here."""
        await asyncio.sleep(CALL_S)
        return 0

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _tell(self, trigger: str, payload: Mapping[str, JsonValue]) -> None:
        if self._client is None:
            self._client = await connect(self._url, create=False)
        key = f"{REGISTRATION}:{self._node.node_id}"
        await self._client.submit(key, trigger, payload, issuer=self._node.node_id, timeout_s=CALL_S)


class _Teller:
    def __init__(self, node_id: str, registry: Registry, report: Report) -> None:
        self._node_id, self._registry, self._report = node_id, registry, report
        self._is_known = self._complained = False

    async def beat(self, heartbeat_s: float) -> None:
        while True:
            tell = self._registry.beat if self._is_known else self._registry.introduce
            self._is_known = await self._taken(tell())
            await asyncio.sleep(heartbeat_s if self._is_known else min(heartbeat_s, CALL_S))

    async def answer(self) -> None:
        while True:
            if not await self._taken(self._registry.answer(), tells=False):
                await asyncio.sleep(CALL_S)

    async def leave(self) -> None:
        if self._is_known:
            await self._taken(self._registry.leave("its process ends"))
        with suppress(OnexError):
            await self._registry.close()

    async def _taken(self, call: Awaitable[object], *, tells: bool = True) -> bool:
        """Whether it was taken. What it is not taken for is reported once, until something that ``tells`` is taken again."""
        try:
            async with asyncio.timeout(CALL_S + 1):
                await call
        except (OnexError, TimeoutError) as error:
            if not self._complained:
                self._complained = True
                why = error.message if isinstance(error, OnexError) else "no answer"
                self._report(f"not registered as {self._node_id}, the work goes on: {why}")
            return False
        self._complained = self._complained and not tells
        return True
