"""An engine that tells a directory of itself: it registers when it has started, beats while it lives, and leaves when it ends.

The directory is the workflow `onex:registration`, which runs on a store of its own; ``ONEX_REGISTRY`` names that store. Everything
goes through its inbox, so nothing here needs the registration's engine to run: what is sent waits for it.

The rule: an engine never waits for its directory and never fails because of it. Each call has CALL_S. One that fails is told once,
and the next beat begins again with who we are, as does a beat that was refused because the directory
had given us up.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import uuid4

from pydantic import JsonValue

from ..kernel.errors import OnexError
from .client import EngineClient, connect
from .engine import WiredEngine

REGISTRATION: Final = "registration"
CALL_S: Final = 5.0
HEARTBEAT_S: Final = 30

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


@asynccontextmanager
async def registered(
    node: EngineNode, registry_url: str, report: Report, heartbeat_s: float = HEARTBEAT_S
) -> AsyncIterator[None]:
    """Registered while the block runs. ``report`` is told in words what did not work; nothing is raised."""
    teller = _Teller(node, registry_url, report)
    beating = asyncio.create_task(teller.beat(heartbeat_s))
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await teller.leave()


class _Teller:
    def __init__(self, node: EngineNode, registry_url: str, report: Report) -> None:
        self._node, self._url, self._report = node, registry_url, report
        self._client: EngineClient | None = None
        self._is_known = self._complained = False
        self._epoch = int(datetime.now(UTC).timestamp())

    async def beat(self, heartbeat_s: float) -> None:
        while True:
            if not self._is_known:
                self._is_known = await self._tell("introspected", self._node.told(self._epoch))
            else:
                self._is_known = await self._tell("heartbeat", {"timestamp": datetime.now(UTC).isoformat()})
            await asyncio.sleep(heartbeat_s if self._is_known else min(heartbeat_s, CALL_S))

    async def leave(self) -> None:
        if self._is_known:
            await self._tell("deregister", {"reason": "its process ends"})
        if self._client is not None:
            with suppress(OnexError):
                await self._client.close()

    async def _tell(self, trigger: str, payload: Mapping[str, JsonValue]) -> bool:
        """Whether it was taken. What it is not taken for is reported once, until one is taken again."""
        try:
            async with asyncio.timeout(CALL_S + 1):
                if self._client is None:
                    self._client = await connect(self._url, create=False)
                key = f"{REGISTRATION}:{self._node.node_id}"
                await self._client.submit(key, trigger, payload, issuer=self._node.node_id, timeout_s=CALL_S)
        except (OnexError, TimeoutError) as error:
            if not self._complained:
                self._complained = True
                why = error.message if isinstance(error, OnexError) else "no answer"
                self._report(f"not registered as {self._node.node_id}, the work goes on: {why}")
            return False
        self._complained = False
        return True
