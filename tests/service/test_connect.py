"""``onex.connect`` to a store and to a service: the same calls, the same values, the same errors."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import onex
from onex.kernel.errors import CommitUnknown, InstanceFinished, InternalTrigger, OnexError, StatusUnreachable
from onex.wiring.http_client import HttpClient, ServiceUnreachable
from tests.servers.postgres_server import PostgresServer
from tests.service.service import ITEMS, ORDERS, made_tokens, running


class Ways(NamedTuple):
    """Where the same engine is reached: by its store, by a service without tokens, and with one."""

    store: str
    service: str
    guarded: str
    token: str
    viewer: str


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    place = tmp_path_factory.mktemp("connect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEX_ORDERS_DIR", str(place / "out"))
        store = f"sqlite:///{place}/s.db"
        tokens, given = made_tokens()
        with running(store, None) as open_one, running(store, None, tokens, engine=None) as guarded:
            yield Ways(store, open_one.address, guarded.address, given["operator"], given["viewer"])


@pytest.mark.parametrize("way", ["store", "service", "guarded"])
def test_the_same_calls_say_the_same(ways: Ways, way: str) -> None:
    key = f"orders:{uuid.uuid4()}"

    async def story(client: onex.EngineClient) -> None:
        assert await client.state(key) is None
        assert await client.history(key) == []
        action_id = uuid.uuid4()
        done = await client.submit(key, "place", {"items": ITEMS}, action_id=action_id)
        assert (str(done.key), done.version, done.status, done.duplicate) == (key, 1, "charging", False)
        again = await client.submit(key, "place", {"items": ITEMS}, action_id=action_id)
        assert again == done._replace(duplicate=True)
        stored = await client.wait(key, until="shipped")
        assert (stored.version, stored.status, stored.terminal) == (3, "shipped", True)
        order = await client.state(key)
        assert type(order).__name__ == "Order"
        assert getattr(order, "total_cents", None) == 900
        rows = await client.history(key)
        assert [(row.version, row.trigger, row.status) for row in rows] == [
            (1, "place", "charging"), (2, "charged", "paid"), (3, "packed", "shipped"),
        ]  # fmt: skip
        assert rows[0].payload == {"items": ITEMS}
        assert (rows[0].action_id, rows[0].issued_at.tzinfo is not None) == (action_id, True)
        assert await client.history(key, 1, 1) == rows[1:2]
        with pytest.raises(InstanceFinished):
            await client.submit(key, "cancel")
        with pytest.raises(InternalTrigger):
            await client.submit(f"{key}x", "abandon")
        with pytest.raises(StatusUnreachable):
            await client.wait(key, until="basket")
        with pytest.raises(TimeoutError):
            await client.wait(f"{key}x", until="shipped", timeout_s=0.05)
        with pytest.raises(onex.Refused, match="version"):
            await client.submit(f"{key}x", "place", {"items": ITEMS}, expected_version=3)

    async def go() -> None:
        url, token = getattr(ways, way), ways.token if way == "guarded" else None
        async with await onex.connect(url, ORDERS, token=token) as client:
            await story(client)

    asyncio.run(go())


def test_without_an_engine_the_action_is_stored_and_its_id_told(tmp_path: Path) -> None:
    async def go(url: str) -> None:
        async with await onex.connect(url) as client:
            with pytest.raises(CommitUnknown, match="no engine runs") as unknown:
                await client.submit("orders:1", "place", {"items": ITEMS}, timeout_s=0)
            assert uuid.UUID(str(unknown.value.context["action_id"])).version == 7

    with running(f"sqlite:///{tmp_path}/s.db", None, engine=None) as alone:
        asyncio.run(go(alone.address))


def test_a_service_that_is_not_there_or_wants_a_token_is_told_at_once(ways: Ways) -> None:
    async def go(url: str, token: str = "") -> None:
        await onex.connect(url, token=token)

    with pytest.raises(ServiceUnreachable, match="does not answer"):
        asyncio.run(go("http://127.0.0.1:9"))
    for token in ("", "onex_wrong"):
        with pytest.raises(OnexError, match="token"):
            asyncio.run(go(ways.guarded, token))


def test_who_may_not_is_told_so_at_once(ways: Ways) -> None:
    """Once a client without the role asked for a new secret again and again."""

    async def go() -> None:
        async with await onex.connect(ways.guarded, token=ways.viewer) as client:
            with pytest.raises(OnexError, match="viewer is viewer; this needs operator") as refused:
                await client.submit("orders:no", "place", {"items": ITEMS})
            assert refused.value.code == "not_allowed"

    asyncio.run(go())


def test_a_secret_that_is_no_longer_good_is_asked_for_again(tmp_path: Path) -> None:
    """As after a new start of the service."""

    async def go(url: str) -> None:
        async with await onex.connect(url) as client:
            assert isinstance(client, HttpClient)
            client._csrf = "that of the service before"
            with pytest.raises(CommitUnknown, match="no engine runs"):
                await client.submit("orders:1", "place", {"items": ITEMS}, timeout_s=0)

    with running(f"sqlite:///{tmp_path}/s.db", None, engine=None) as alone:
        asyncio.run(go(alone.address))


def test_a_store_on_a_server_is_served_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    with running(postgres.url(), ORDERS) as served:
        assert served.post("submit", {"key": "orders:a", "trigger": "place", "payload": {"items": ITEMS}}).status == 200
        assert served.get("instance/wait", key="orders:a", until="shipped").body["reached"] is True
        first = served.get("instance", key="orders:a", version=1).body
        assert (first["status"], first["unproven"], first["tried"][0]["taken"]) == ("charging", "", True)
        assert served.get("instance/proof", key="orders:a").body["proven"] is True
        names = [name for name, _, _ in served.events("/api/instance/live?key=orders:a&after=0")]
        assert names == ["action", "action", "action", "ended"]
        assert served.get("summary").body["engine_runs"] is True
        assert served.get("instance/export", key="orders:a").status == 200
