"""BusConnection: the bus of an engine, for effects that are made before the engine is connected to it."""

from __future__ import annotations

import asyncio

from ..bus import BusRefused
from ..engine.bus.service import EventBusService


class BusConnection:
    """Of one engine."""

    def __init__(self) -> None:
        self._needed_by: list[str] = []
        self._bus: EventBusService | None = None
        self._is_there = asyncio.Event()
        self._has_bus = True

    def needed_by(self, what: str) -> None:
        """``what`` says in words who publishes or reads, so the engine must have a bus."""
        self._needed_by.append(what)

    def check(self, *, has_bus: bool) -> None:
        """Raises BusRefused for an engine without a bus, if something needs one."""
        self._has_bus = has_bus
        if self._needed_by and not has_bus:
            raise BusRefused(
                f"{self._needed_by[0]} the bus, and this engine has none; give --bus, set ONEX_BUS, or give bus= to onex.open"
            )

    def connect(self, bus: EventBusService) -> None:
        """From now on there is one."""
        self._bus = bus
        self._is_there.set()

    async def connected(self) -> EventBusService:
        """Waits for it. Raises BusRefused where the engine has none."""
        if not self._has_bus:
            raise BusRefused(
                "this engine has no bus to publish on; give --bus, set ONEX_BUS, or give bus= to onex.open"
            )
        await self._is_there.wait()
        assert self._bus is not None, "connect sets both"
        return self._bus
