"""A program beside the engine: it submits, waits and reads through the store, and gets what the engine would have said."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue

import onex
from onex.adapters.sqlite.commit_watch import LOOK_S, SETTLE_S, CommitWatch
from onex.engine.payload_reading import PayloadInput
from onex.kernel.errors import (
    ActionExpiredError,
    CommitUnknown,
    ConcurrentModificationError,
    DatabaseConnectionError,
    GuardFailed,
    InstanceFinished,
    InternalTrigger,
    InvalidKey,
    InvalidPayload,
    InvalidStateTransitionError,
    LeaseConflictError,
    LeaseValidationError,
    NotFound,
    PayloadTooLarge,
    StatusUnreachable,
    UnknownWorkflow,
    ValidationError,
)
from onex.wiring import InvalidStoreUrl
from onex.wiring.client import EngineClient
from onex.wiring.engine import WiredEngine

ROOT = Path(__file__).resolve().parents[2]
TEA: dict[str, JsonValue] = {"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    copy = tmp_path / "orders"
    shutil.copytree(ROOT / "examples" / "orders", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shop.db'}"


@asynccontextmanager
async def both(url: str, app: Path, *, typed: bool = True) -> AsyncIterator[tuple[EngineClient, WiredEngine]]:
    async with await onex.open(url, app) as engine, await onex.connect(url, app if typed else None) as client:
        yield client, engine


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await body()

    asyncio.run(bounded())


def test_a_client_submits_waits_and_reads_as_the_engine_does(url: str, app: Path) -> None:
    async def body() -> None:
        async with both(url, app) as (client, engine):
            done = await client.submit("orders:1", "place", TEA, issuer="shop window")
            assert done == (("orders", "1"), 1, (0, 1), "charging", False)
            stored = await client.wait("orders:1", until="shipped")
            assert stored == await engine.stored("orders:1")
            order = await client.state("orders:1")
            assert order == await engine.state("orders:1")
            assert isinstance(order, onex.State)
            first = (await engine.reader.history(stored.key, 0, 1))[0].row
            assert first.issuer == "shop window"
            assert await client.state("orders:2") is None

    run(body)


def test_a_client_leads_a_workflow_and_keeps_others_out(url: str, app: Path) -> None:
    async def body() -> None:
        async with both(url, app) as (client, engine), await onex.connect(url, app) as other:
            with pytest.raises(NotFound):
                await client.take_lease("orders:1")
            await client.submit("orders:1", "place", {"items": [{"sku": "tea", "quantity": 1, "cents": 9_000_000}]})
            await client.wait("orders:1", until="basket")
            async with client.lease("orders:1", "planner-3") as lease:
                with pytest.raises(LeaseConflictError):
                    await other.take_lease("orders:1", "planner-4")
                with pytest.raises(LeaseConflictError):
                    await other.submit("orders:1", "place", TEA)
                done = await lease.submit("place", TEA)
                assert (lease.epoch, (await engine.reader.history(done.key, done.version - 1, 1))[0].row.issuer) == (
                    1,
                    "planner-3",
                )
                await client.wait("orders:1", until="shipped")
            mine = await engine.stored("orders:1")
            assert mine is not None
            assert (mine.lease_id, mine.epoch) == (None, 1)
            with pytest.raises(InstanceFinished):
                await client.take_lease("orders:1")
            with pytest.raises(LeaseValidationError):
                await client.renew_lease("orders:1", uuid4())

    run(body)


def test_without_the_app_a_state_is_json(url: str, app: Path) -> None:
    async def body() -> None:
        async with both(url, app, typed=False) as (client, _):
            await client.submit("orders:1", "place", TEA)
            await client.wait("orders:1")
            order = await client.state("orders:1")
            assert isinstance(order, dict)
            assert (order["status"], order["total_cents"]) == ("shipped", 900)
            with pytest.raises(StatusUnreachable, match="has ended in 'shipped', and status 'paid' cannot come"):
                await client.wait("orders:1", until="paid")

    run(body)


def test_a_refusal_is_the_error_of_the_engine(url: str, app: Path) -> None:
    async def body() -> None:
        async with both(url, app) as (client, engine):
            refusals: list[tuple[str, PayloadInput, type[onex.OnexError]]] = [
                ("cancell", None, InvalidStateTransitionError),
                ("packed", {"parcel": "p"}, InternalTrigger),
                ("place", {"items": []}, GuardFailed),
                ("place", {"items": "tea"}, InvalidPayload),
                ("place", {}, InvalidPayload),
            ]
            for kind, payload, expected in refusals:
                with pytest.raises(expected) as here:
                    await engine.submit("orders:1", kind, payload)
                with pytest.raises(expected) as there:
                    await client.submit("orders:1", kind, payload)
                assert type(there.value) is type(here.value)
                assert (there.value.message, there.value.context) == (here.value.message, here.value.context)
            with pytest.raises(UnknownWorkflow, match="no reducer for workflow type 'order'"):
                await client.submit("order:1", "place", TEA)
            with pytest.raises(ActionExpiredError):
                await client.submit("orders:1", "place", TEA, expires_at=datetime(2001, 1, 1, tzinfo=UTC))

    run(body)


def test_an_action_that_was_decided_on_another_version_is_refused(url: str, app: Path) -> None:
    async def body() -> None:
        async with both(url, app) as (client, _):
            assert (await client.submit("orders:1", "place", TEA, expected_version=0)).version == 1
            stored = await client.wait("orders:1", until="shipped")
            with pytest.raises(onex.Refused, match="orders:2 is at version 0, not 3") as refused:
                await client.submit("orders:2", "place", TEA, expected_version=stored.version)
            assert isinstance(refused.value, ConcurrentModificationError)
            assert not refused.value.retryable, "the same number cannot succeed later"
            (kept,) = await client.store.rejections("orders:2", None, 0, 10)
            assert kept.code == refused.value.code
            assert await client.stored("orders:2") is None
            with pytest.raises(ValidationError, match="expected_version"):
                await client.submit("orders:2", "place", TEA, expected_version=-1)

    run(body)


def test_what_no_engine_could_read_is_refused_before_it_is_sent(url: str, app: Path) -> None:
    async def body() -> None:
        async with await onex.connect(url, app) as client:
            with pytest.raises(InvalidKey):
                await client.submit("orders", "place", TEA)
            with pytest.raises(ValidationError, match=r"action_id is a str; give a uuid\.UUID"):
                await client.submit("orders:1", "place", TEA, action_id="1")  # type: ignore[arg-type]
            with pytest.raises(ValidationError, match="epoch is an object"):
                await client.submit("orders:1", "place", TEA, epoch=object())  # type: ignore[arg-type]
            with pytest.raises(InvalidPayload, match="payload is JSON of an int; give an object"):
                await client.submit("orders:1", "place", b"7")
            with pytest.raises(InvalidPayload):
                await client.submit("orders:1", "place", {"items": object()})  # type: ignore[dict-item]
            with pytest.raises(PayloadTooLarge):
                await client.submit("orders:1", "place", {"items": "x" * 300_000})
            assert await client.store.inbox(0, 10) == []

    run(body)


def test_a_client_may_refuse_to_make_a_store(app: Path, tmp_path: Path) -> None:
    async def body() -> None:
        with pytest.raises(DatabaseConnectionError, match="there is no store at "):
            await onex.connect(f"sqlite:///{tmp_path}/typo.db", app, create=False)
        assert not (tmp_path / "typo.db").exists()

    run(body)


def test_one_id_is_applied_once_and_no_answer_says_which_to_send_again(url: str, app: Path) -> None:
    async def body() -> None:
        async with await onex.connect(url, app) as client:
            with pytest.raises(CommitUnknown, match=f"no engine runs on {url}") as raised:
                await client.submit("orders:1", "place", TEA, timeout_s=0)
            assert await client.state("orders:1") is None
        sent = UUID(str(raised.value.context["action_id"]))
        async with both(url, app) as (client, _):
            again = await client.submit("orders:1", "place", TEA, action_id=sent)
            assert (again.version, again.duplicate) == (1, True)
            assert (await client.submit("orders:2", "place", TEA, action_id=uuid4())).duplicate is False

    run(body)


def test_a_status_that_cannot_come_ends_the_wait(url: str, app: Path) -> None:
    async def body() -> None:
        async with both(url, app) as (client, _):
            with pytest.raises(ValidationError, match=r"orders has no status 'shiped'; did you mean 'shipped'\?"):
                await client.wait("orders:1", until="shiped")
            with pytest.raises(
                TimeoutError, match=r"^orders:1 did not reach status 'paid' in 0.1 s; it has not begun$"
            ):
                await client.wait("orders:1", until="paid", timeout_s=0.1)
            await client.submit("orders:1", "place", TEA)
            await client.wait("orders:1")
            with pytest.raises(StatusUnreachable):
                await client.wait("orders:1", until="paid")

    run(body)


def test_a_client_needs_a_store_that_others_can_open(app: Path) -> None:
    async def body() -> None:
        with pytest.raises(InvalidStoreUrl):
            await onex.connect("memory:", app)

    run(body)


def test_two_processes_share_one_store(url: str, app: Path, tmp_path: Path) -> None:
    """The engine is another process, and is killed and started again while the client waits."""
    command: list[str | Path] = [Path(sys.executable).with_name("onex"), "run", app, "--store", url]

    def started() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy())

    async def body() -> None:
        engines: list[subprocess.Popen[bytes]] = []
        try:
            async with await onex.connect(url, app) as client:
                sent = asyncio.create_task(client.submit("orders:1", "place", TEA, timeout_s=50))
                await asyncio.sleep(0.1)
                engines.append(started())  # what was sent before there was an engine is answered by the first one
                assert (await sent).status == "charging"
                engines[-1].kill()
                engines[-1].wait()
                waiting = asyncio.create_task(client.wait("orders:1", until="shipped", timeout_s=50))
                engines.append(started())
                assert (await waiting).version == 3
        finally:
            for one in engines:
                one.kill()
                one.wait()

    run(body)


# --- waiting costs the store nothing ------------------------------------------------------------------------------------


def test_who_waits_asks_the_store_only_after_it_has_changed(
    url: str, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """promise 39: a client that waits for hours reads nothing from a store in which nothing happens."""
    looks: list[float] = []

    async def body() -> None:
        async with both(url, app) as (client, engine):
            load = client.store.load

            async def counted(keys: object) -> object:
                looks.append(asyncio.get_running_loop().time())
                return await load(keys)  # type: ignore[arg-type]

            monkeypatch.setattr(client.store, "load", counted)
            waiting = asyncio.create_task(client.wait("orders:1", until="cancelled", timeout_s=50))
            await asyncio.sleep(SETTLE_S * 2.5)
            before = len(looks)
            assert before < 12  # it was let look again and again until what was under way had settled, and then no more
            await engine.submit("orders:1", "cancel")
            assert (await waiting).status == "cancelled"
            assert len(looks) > before

    run(body)


def test_a_sign_that_is_missed_costs_a_few_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's time is not the only sign: without one, the caller is let look now and then."""
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    async def body() -> None:
        watch = CommitWatch(tmp_path / "no-wal")
        turns: list[float] = []
        for _ in range(12):
            before = len(paused)
            await watch.changed()
            turns.append(sum(paused[before:]))
        assert turns[0] == pytest.approx(0.025)
        assert turns[1] == pytest.approx(0.05)
        assert turns[-3:] == pytest.approx([LOOK_S] * 3, abs=0.05)
        (tmp_path / "no-wal").touch()
        before = len(paused)
        await watch.changed()
        assert len(paused) == before + 1

    monkeypatch.setattr("onex.adapters.sqlite.commit_watch.asyncio.sleep", sleep)
    asyncio.run(body())
