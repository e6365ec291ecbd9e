"""An effect as a class, as the design papers write it, serves a target of an app like any executor."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex.container import ONEXContainer
from onex.kernel.action import NOTHING
from onex.kernel.errors import DependencyResolutionError
from onex.kernel.intent import ModelIntent
from onex.nodes.node_effect import (
    ModelEffectInput,
    ModelEffectOutput,
    NodeEffect,
    NodeEffectService,
    ResourceManagedEffectService,
)
from tests.effects.pay import came_of, write_app

BANK = "bank: {http: {base_url: 'https://bank.example'}}"


class Bank(NodeEffect):
    async def execute_effect(self, input_data: ModelEffectInput) -> ModelEffectOutput:
        fields = input_data.intent.serialize_payload()
        assert input_data.correlation_id == input_data.intent.correlation_id
        if fields["cents"] == 0:
            return ModelEffectOutput(success=False, error="nothing to charge", code="declined")
        return ModelEffectOutput()


def test_an_effect_as_a_class_serves_a_target(tmp_path: Path) -> None:
    app = write_app(tmp_path, BANK, "http: {path: /c}", answer="")
    assert asyncio.run(came_of(app, executors={"bank": Bank()}))[0] == "done"
    status, said = asyncio.run(came_of(app, {"cents": 0}, executors={"bank": Bank()}))
    assert status == "lost"
    assert '"code":"declined","message":"nothing to charge"' in said
    status, said = asyncio.run(came_of(app, executors={"bank": NodeEffectService()}))
    assert (status, "NodeEffect has no execute_effect" in said) == ("unsure", True)


class Pool:
    """Connections to one file. ``most``: as many were in use at one moment."""

    def __init__(self, path: Path) -> None:
        self.path, self.used, self.most = path, 0, 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[sqlite3.Connection]:
        self.used += 1
        self.most = max(self.most, self.used)
        connection = sqlite3.connect(self.path)
        try:
            yield connection
            connection.commit()
        finally:
            connection.close()
            self.used -= 1


class Ledger(ResourceManagedEffectService):
    async def execute_with_connection(self, connection: object, input_data: ModelEffectInput) -> ModelEffectOutput:
        assert isinstance(connection, sqlite3.Connection)
        await asyncio.sleep(0)
        connection.execute("insert into entries values (?)", (input_data.intent.idempotency_key,))
        return ModelEffectOutput()


def test_connections_come_from_the_pool_of_the_container_and_few_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as made:
        made.execute("create table entries (key text primary key)")
    made.close()
    container, pool = ONEXContainer(), Pool(path)

    async def story() -> None:
        container.register_value("ProtocolConnectionPool", pool)
        ledger = Ledger(container, at_once=3)
        await asyncio.gather(*(ledger.execute(intent(n)) for n in range(20)))

    asyncio.run(story())
    read = sqlite3.connect(path)
    assert read.execute("select count(*) from entries").fetchone() == (20,)
    read.close()
    assert pool.most == 3


def intent(n: int) -> ModelIntent[BaseModel]:
    return ModelIntent[BaseModel](
        intent_id=UUID(int=n), intent_type="database_write", target="ledger", payload=NOTHING, correlation_id=UUID(int=0),
        idempotency_key=str(n),
    )  # fmt: skip


def test_without_a_pool_it_is_not_made() -> None:
    with pytest.raises(DependencyResolutionError, match="ProtocolConnectionPool"):
        Ledger(ONEXContainer())
