"""Consul and PostgreSQL in memory, above the port: what stands in them, and how they fail when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import BaseModel, JsonValue

from onex import EffectFailed, EffectUnknown, ModelIntent
from onex.nodes.given import GivenEffect
from onex.workflows.registration.payloads import (
    ConsulKey,
    ConsulService,
    DeleteKey,
    DeleteRecord,
    NodeRecord,
    RemoveService,
)


@dataclass
class Directories:
    """``failing[target]`` is called before a call and may raise. ``calls``: the names of the intents, in order."""

    services: dict[str, dict[str, JsonValue]] = field(default_factory=dict)
    keys: dict[str, dict[str, JsonValue]] = field(default_factory=dict)
    records: dict[str, dict[str, JsonValue]] = field(default_factory=dict)
    failing: dict[str, Callable[[str], None]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    takes_s: float = 0

    @property
    def executors(self) -> dict[str, GivenEffect]:
        return {"consul": self.consul, "directory": self.directory}

    async def consul(self, intent: ModelIntent[BaseModel]) -> None:
        await self._called("consul", intent.name)
        body = intent.serialize_payload()  # the one place where a payload becomes JSON: at the boundary
        match type(intent.payload).__name__:
            case ConsulService.__name__:
                self.services[str(body["ID"])] = body
            case ConsulKey.__name__:
                self.keys[f"nodes/{body['node_id']}"] = body
            case RemoveService.__name__:
                self.services.pop(str(body["ID"]), None)
            case DeleteKey.__name__:
                self.keys.pop(f"nodes/{body['node_id']}", None)

    async def directory(self, intent: ModelIntent[BaseModel]) -> None:
        await self._called("directory", intent.name)
        body = intent.serialize_payload()
        match type(intent.payload).__name__:
            case NodeRecord.__name__:
                self.records[str(body["node_id"])] = body
            case DeleteRecord.__name__:
                self.records.pop(str(body["node_id"]), None)

    async def _called(self, target: str, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(self.takes_s)
        if target in self.failing:
            self.failing[target](name)

    @property
    def empty(self) -> bool:
        return not (self.services or self.keys or self.records)


def refuses(name: str) -> None:
    raise EffectFailed(f"{name}: permission denied", code="denied")


def does_not_answer(name: str) -> None:
    raise EffectUnknown(f"{name}: no answer", retryable=False, code="no_answer")
