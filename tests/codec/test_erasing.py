"""Erasure: what stays, what reads as erased, and that no byte of the values or of the key is left in any file."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal
from uuid import UUID

import pytest
from pydantic import JsonValue

import onex
from onex.adapters.codec.key_ring import unwrap
from onex.adapters.codec.master_keys import parse_master_keys
from onex.engine.operator_requests import ERASE
from onex.kernel.action import WorkflowKey
from onex.kernel.data_key import InstanceErased, NotEncrypted, WrappedKey
from onex.kernel.errors import EffectFailed, NotFound
from onex.ports import EnumOutboxState
from onex.wiring.engine import WiredEngine
from onex.wiring.store_upkeep import StoreUpkeep
from tests.cli.conftest import ORDERS, STORE, Commands, commands, place  # noqa: F401 - fixtures
from tests.codec.test_encrypted_store import CANARY, ITEMS, ONE, keyed, run_orders, stored_bytes  # noqa: F401 - fixtures

HOUR_US = 3_600_000_000
KEY = WorkflowKey("vault", "1")
OTHER = WorkflowKey("vault", "2")
VAULT = Path(__file__).with_name("vault")


def secrets_of(folder: Path) -> list[bytes]:
    """The wrapped keys and the data keys of the instance and of its blob, as they stand in the store now."""
    masters = parse_master_keys(ONE, "test")
    with closing(sqlite3.connect(folder / "store.db")) as db:
        rows = db.execute(
            "select owner, master, wrapped, plain_until, erased_us from data_keys where owner = 'vault:1'"
            " or owner like '#blob:%' and owner in (select '#blob:' || lower(hex(digest)) from blob_refs"
            "   join log l using (n) join workflow_state w using (instance) where w.instance_id = '1')"
        ).fetchall()
    assert len(rows) == 2
    found = [WrappedKey(*row) for row in rows]
    return [key.wrapped for key in found] + [unwrap(masters, key) for key in found]


async def fill(engine: WiredEngine) -> None:
    for one in (KEY, OTHER):
        await engine.submit(str(one), "put", {"note": f"{CANARY} of {one}"}, action_id=UUID(int=7))
    await engine.idle()


def every_byte(folder: Path) -> bytes:
    return stored_bytes(folder) + b"".join(path.read_bytes() for path in sorted(folder.glob("*.onexrun")))


def test_no_byte_of_values_or_key_is_left_anywhere(keyed: Path, commands: Commands) -> None:  # noqa: F811 - the fixtures
    async def go() -> None:
        async with await onex.open(STORE, VAULT) as engine:
            await fill(engine)

    run_orders("1")  # it ends, and is not the last: an archive takes its rows
    asyncio.run(go())
    secrets = secrets_of(keyed)
    kept = asyncio.run(StoreUpkeep(STORE).compact(-HOUR_US, keyed / "old.onexrun"))
    assert kept.rows == 3
    assert "@encrypted" in (keyed / "old.onexrun").read_text()
    before = every_byte(keyed)
    assert all(secret in before for secret in secrets[:2])  # the wrapped keys stand in the store
    assert all(secret not in before for secret in secrets[2:])  # and the keys themselves nowhere
    for one in (str(KEY), "orders:1"):
        told = commands("erase", one, "--yes", "--json")
        assert (told.code, told.row["overwritten"]) == (0, True)
    assert commands("export", "--out", keyed / "all.onexrun", str(KEY)).code == 0
    after = every_byte(keyed)
    assert CANARY.encode() not in after
    assert [secret for secret in secrets if secret in after] == []
    assert commands("verify").code == 0


def test_what_stays_and_what_is_said(keyed: Path, commands: Commands) -> None:  # noqa: F811 - the fixtures
    async def go() -> None:
        async with await onex.open(STORE, VAULT) as engine:
            await fill(engine)

    asyncio.run(go())
    before = commands("show", str(KEY), "--history", "--json").row
    assert commands("erase", str(KEY)).code == 2  # nobody was asked
    assert commands("erase", "vault:none", "--yes").code == 1
    assert commands("erase", str(KEY), "--yes").code == 0
    after = commands("show", str(KEY), "--history", "--json").row
    for name in ("status", "version", "changed_at", "code", "epoch"):
        assert after[name] == before[name]
    assert str(after["state"]).startswith("erased at 20")
    told, was = after["history"], before["history"]
    assert isinstance(told, list)
    assert isinstance(was, list)
    for now, then in zip(told, was, strict=True):
        assert isinstance(now, dict)
        assert isinstance(then, dict)
        assert [now[name] for name in ("trigger", "status", "issued_at", "action_id")] == [
            then[name] for name in ("trigger", "status", "issued_at", "action_id")
        ]
        assert str(now["payload"]).startswith("erased at 20")
    replayed = commands("replay", VAULT)
    assert replayed.code == 0
    assert "unverified (erased)  vault:1" in replayed.out
    assert "equal" in replayed.out  # the other one
    assert CANARY in commands("show", str(OTHER)).out
    assert commands("erase", str(KEY), "--json").row["was_erased"] is True
    whatif = commands("whatif", VAULT, "--against", VAULT, "--json")
    assert CANARY not in whatif.out.replace(f"{CANARY} of {OTHER}", "")


@pytest.mark.parametrize("where", ["store.db", "memory"])
def test_a_running_engine_erases_and_nothing_of_it_goes_on(keyed: Path, where: Literal["store.db", "memory"]) -> None:  # noqa: F811
    """One effect runs, one waits to be tried again, one timer waits. None comes to an outcome, and others notice nothing."""

    async def go() -> None:
        running, told = asyncio.Event(), asyncio.Event()

        async def send(intent: object) -> None:
            running.set()
            try:
                await asyncio.Event().wait()
            finally:
                told.set()

        async def fail(intent: object) -> None:
            raise EffectFailed("not now", retryable=True)

        url = STORE if where == "store.db" else "memory:"
        async with await onex.open(url, VAULT, executors={"slow": send, "post": fail}) as engine:
            await fill_open(engine)
            await running.wait()
            await engine.inbox.handlers[ERASE](KEY, {"operator": "ada"}, lambda: None)
            await told.wait()
            for trigger, payload in (("put", {"note": "again"}), ("send", None)):
                with pytest.raises(InstanceErased, match=r"erased at .* by ada"):
                    await engine.submit(str(KEY), trigger, payload)
            with pytest.raises(InstanceErased):  # a late duplicate, too
                await engine.submit(str(KEY), "put", {"note": f"{CANARY} of {KEY}"}, action_id=UUID(int=7))
            with pytest.raises(InstanceErased):
                await engine.state(str(KEY))
            assert (await engine.submit(str(OTHER), "put", {"note": "fine"})).version > 1
            rows = await engine.reader.outbox(tuple(EnumOutboxState), KEY, None, 10)
            assert {row.state for row in rows} <= {EnumOutboxState.DEAD}
            assert all(row.error.startswith("erased") and row.result == b"" for row in rows)
            for row in rows:
                with pytest.raises(InstanceErased):
                    await engine.redrive(row.pointer)
            with pytest.raises(NotFound):
                await engine.inbox.handlers[ERASE](WorkflowKey("vault", "none"), {"operator": "ada"}, lambda: None)
            version = (await engine.reader.load([KEY]))[KEY].version
        if where == "store.db":
            async with await onex.open(url, VAULT) as engine:
                await engine.idle()
                assert (await engine.reader.load([KEY]))[KEY].version == version

    asyncio.run(asyncio.wait_for(go(), 30))


async def fill_open(engine: WiredEngine) -> None:
    await engine.submit(str(KEY), "put", {"note": f"{CANARY} of {KEY}"}, action_id=UUID(int=7))
    await engine.submit(str(KEY), "send", None)
    await engine.submit(str(OTHER), "put", {"note": "x"})


def test_a_plain_store_is_refused_with_the_next_step(place: Path, commands: Commands) -> None:  # noqa: F811 - the fixtures
    run_orders("1")
    refused = commands("erase", "orders:1", "--yes")
    assert (refused.code, "ONEX_CODEC_KEYS" in refused.err) == (2, True)

    async def go() -> None:
        async with await onex.open(STORE, ORDERS) as engine:
            with pytest.raises(NotEncrypted):
                await engine.inbox.handlers[ERASE](WorkflowKey("orders", "1"), {"operator": "ada"}, lambda: None)

    asyncio.run(go())


def test_erasures_in_any_order_leave_no_wrapped_key(keyed: Path, commands: Commands) -> None:  # noqa: F811 - the fixtures
    """Pages fill up, split and are written again meanwhile."""

    async def go() -> None:
        async with await onex.open(STORE, VAULT) as engine:
            items: dict[str, JsonValue] = {"note": ""}
            for first in range(0, 600, 100):
                await engine.submit_many([(f"vault:{n}", "put", items) for n in range(first, first + 100)])
            with closing(sqlite3.connect(keyed / "store.db")) as db:
                wrapped = dict(db.execute("select owner, wrapped from data_keys where owner like 'vault:%'").fetchall())
            gone = [f"vault:{n}" for n in (0, 1, 599, 300, 150, 151, 152, 450)]
            for one in gone:
                await engine.inbox.handlers[ERASE](WorkflowKey.parse(one), {"operator": "ada"}, lambda: None)
                await engine.submit(f"vault:after-{one[6:]}", "put", items)
        left = stored_bytes(keyed)
        assert [one for one in gone if wrapped[one] in left] == []
        assert all(wrapped[f"vault:{n}"] in left for n in (2, 598, 301))

    asyncio.run(asyncio.wait_for(go(), 30))
    assert commands("verify").code == 0
