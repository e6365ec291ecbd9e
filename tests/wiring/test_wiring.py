"""A URL and an app become an engine whose effects and compute functions are really run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path

import pytest
from pydantic import BaseModel, JsonValue

import onex
from onex.kernel.errors import ContractError, InstanceFinished, OwnershipLost, StateConsistencyError
from onex.kernel.intent import ModelIntent
from onex.ports import Position, Result
from onex.wiring import InvalidStoreUrl, StoreUrl, open_reader, open_sender, owner_pid
from onex.wiring.store_access import StoreBlobs

SUMS = Path(__file__).with_name("sums")
ORDERS = Path(__file__).resolve().parents[2] / "examples" / "orders"


class Somebody:
    """Hears what a notification says."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        self.heard.append(intent.payload.model_dump_json())
        return Result(None)


def run(story: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20))


def store(folder: Path) -> str:
    return f"sqlite:///{folder}/store.db"


def test_a_library_submits_waits_follows_and_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))

    async def story() -> None:
        async with await onex.open(store_url=store(tmp_path), app=ORDERS) as engine:
            items: dict[str, JsonValue] = {"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}
            committed = await engine.submit("orders:1", "place", items)
            assert (committed.version, committed.status) == (1, "charging")
            assert (await engine.wait("orders:1")).status == "shipped"
            state = await engine.state("orders:1")
            assert state is not None
            assert state.model_dump()["total_cents"] == 900
            with pytest.raises(InstanceFinished):
                await engine.submit("orders:1", "cancel")
            followed = engine.subscribe(Position(0, 0))
            assert [(await anext(followed)).row.kind for _ in range(3)] == ["place", "charged", "packed"]

    run(story())
    assert len(list((tmp_path / "out" / "parcels").iterdir())) == 1


def test_compute_runs_in_a_worker_and_targets_may_be_served_from_outside(tmp_path: Path) -> None:
    somebody = Somebody()

    async def story() -> None:
        executors = {"somebody": somebody}
        async with await onex.open(store(tmp_path), SUMS, workers=1, executors=executors) as engine:
            await engine.submit("sums:1", "add", {"numbers": [1, 2, 39]})
            assert (await engine.wait("sums:1")).status == "told"
            state = await engine.state("sums:1")
            assert state is not None
            told = state.model_dump()
            assert told["total"] == 42
            assert told["worker"] not in (0, os.getpid())
            assert somebody.heard == [f'{{"total":42,"worker":{told["worker"]}}}']
        with pytest.raises(ProcessLookupError):
            os.kill(told["worker"], 0)

    run(story())


def test_a_target_that_nobody_serves_refuses_the_app() -> None:
    async def story() -> None:
        with pytest.raises(ContractError, match="somebody"):
            await onex.open("memory:", SUMS)

    run(story())


def test_an_app_may_be_loaded_first_and_a_store_may_be_memory() -> None:
    async def story() -> None:
        async with await onex.open("memory:", onex.load_app(ORDERS)) as engine:
            assert (await engine.submit("orders:1", "cancel")).status == "cancelled"

    run(story())


def test_one_engine_runs_on_a_store_and_is_named_to_the_second(tmp_path: Path) -> None:
    async def story() -> None:
        url = store(tmp_path)
        async with await onex.open(url, ORDERS):
            assert owner_pid(url) == os.getpid()
            with pytest.raises(OwnershipLost, match=f"process {os.getpid()} runs on {url}"):
                await onex.open(url, ORDERS)
        assert owner_pid(url) is None
        async with await onex.open(url, ORDERS) as again:
            await again.submit("orders:1", "cancel")

    run(story())


def test_who_owns_nothing_reads_and_sends(tmp_path: Path) -> None:
    async def story() -> None:
        url = store(tmp_path)
        sender = await open_sender(url)
        body = onex.ModelAction(workflow_key=onex.WorkflowKey("orders", "1"), kind="cancel").model_dump_json().encode()
        ticket = await sender.send(body, 0)
        assert await sender.answer(ticket) is None
        async with await onex.open(url, ORDERS) as engine:
            await engine.idle()
        reader = await open_reader(url)
        (stored,) = await reader.instances(None, None, None, 10)
        assert (str(stored.key), stored.status) == ("orders:1", "cancelled")
        assert await sender.answer(ticket) is not None
        await reader.close()
        await sender.close()

    run(story())


def test_a_store_is_made_in_our_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONEX_STORE", raising=False)

    async def story() -> None:
        async with await onex.open(app=ORDERS):
            assert (tmp_path / ".onex" / "store.db").exists()

    run(story())


def test_a_blob_nobody_kept_is_an_inconsistency(tmp_path: Path) -> None:
    async def story() -> None:
        async with await onex.open(store(tmp_path), ORDERS) as engine:
            with pytest.raises(StateConsistencyError, match="there is no blob 0000000000000000"):
                await StoreBlobs(engine.reader).read(bytes(32))

    run(story())


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("sqlite:///shop.db", StoreUrl("sqlite", Path("shop.db"))),
        ("sqlite:////var/lib/shop.db", StoreUrl("sqlite", Path("/var/lib/shop.db"))),
        ("memory:", StoreUrl("memory", None)),
    ],
)
def test_a_url_names_a_store(text: str, url: StoreUrl) -> None:
    assert StoreUrl.parse(text) == url


@pytest.mark.parametrize("text", ["", "shop.db", "sqlite:shop.db", "sqlite:///", "mysql://x/y", "sqlite://shop.db"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidStoreUrl, match="write sqlite:///FILE"):
        StoreUrl.parse(text)
