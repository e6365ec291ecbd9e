"""A store that is encrypted: what stands on the disk, who may do what without the key, and what replay says."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import JsonValue

import onex
from onex.adapters.codec.sealed_store import SealedStore
from onex.adapters.memory.store import MemoryStore
from onex.kernel.data_key import CodecKeyMissing, CodecKeyWrong
from onex.wiring import open_sender
from onex.wiring.encrypted import encrypted, new_master_key
from onex.wiring.store_upkeep import StoreUpkeep
from tests.cli.conftest import ORDERS, STORE, Commands, commands, place  # noqa: F401 - fixtures

CANARY = "canary-4711"
ITEMS: JsonValue = [{"sku": CANARY, "quantity": 2, "cents": 450}]
ONE = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
TWO = "k2:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="


@pytest.fixture
def keyed(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811 - the fixture
    monkeypatch.setenv("ONEX_CODEC_KEYS", "env:MASTERS")
    monkeypatch.setenv("MASTERS", ONE)
    return place


def run_orders(*ids: str) -> None:
    async def go() -> None:
        async with await onex.open(STORE, ORDERS) as engine:
            for one in ids:
                await engine.submit(f"orders:{one}", "place", {"items": ITEMS})
            await engine.idle()

    asyncio.run(asyncio.wait_for(go(), 30))


def stored_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("store.db*")))


def database(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "store.db")


@pytest.fixture
def shop(keyed: Path) -> Path:
    run_orders("1", "2")
    return keyed


def test_with_the_key_all_is_as_without_encryption_and_the_disk_says_nothing(shop: Path, commands: Commands) -> None:  # noqa: F811
    assert CANARY.encode() not in stored_bytes(shop)
    with closing(database(shop)) as db:
        assert db.execute("select count(*) from data_keys").fetchone() == (3,)  # two orders, and the store's own
        states = [json.loads(row[0]) for row in db.execute("select state from workflow_state_json")]
    assert [set(state) for state in states] == [{"@encrypted", "v"}] * 2
    assert CANARY in commands("show", "orders:1", "--history").out
    assert commands("replay", ORDERS).out.startswith("2 segments: equal\n")
    assert commands("verify").code == 0
    told = commands("whatif", ORDERS, "--against", ORDERS, "--json")
    assert (told.code, told.row["same"]) == (0, 2)


def test_without_the_key_names_and_times_are_shown_and_values_are_not(
    shop: Path,
    commands: Commands,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ONEX_CODEC_KEYS")
    shown = commands("show", "orders:1", "--history", "--json").row
    assert (shown["status"], shown["state"]) == ("shipped", "encrypted (key k1)")
    history = shown["history"]
    assert isinstance(history, list)
    assert [row["trigger"] for row in history if isinstance(row, dict)] == ["place", "charged", "packed"]
    first = history[0]
    assert isinstance(first, dict)
    assert first["payload"] == "encrypted (key k1)"
    intents = first["intents"]
    assert isinstance(intents, list)
    assert intents[0] == {"name": "charge", "payload": "encrypted (key k1)"}
    assert commands("verify").code == 0
    replayed = commands("replay", ORDERS)
    assert (replayed.code, "2 segments: unverified (encrypted)" in replayed.out) == (1, True)
    assert "its values are encrypted (key k1)" in replayed.out
    assert "ONEX_CODEC_KEYS" in replayed.err
    rows = commands("whatif", ORDERS, "--against", ORDERS, "--json").rows
    assert 2 in [row["open"] for row in rows if "open" in row]  # none of them is said to differ
    assert commands("export", "--out", shop / "locked.onexrun").code == 0
    exported = (shop / "locked.onexrun").read_text()
    assert CANARY not in exported
    assert "encrypted (key k1)" in exported
    again = commands("replay", ORDERS, "--from", shop / "locked.onexrun")
    assert "unverified (encrypted)" in again.out


def test_without_the_key_nothing_is_written_and_the_next_step_is_named(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(error: type[Exception], said: str) -> None:
        with pytest.raises(error, match=said):
            await onex.open(STORE, ORDERS)
        with pytest.raises(error, match=said):
            await open_sender(STORE)

    before = stored_bytes(shop)
    monkeypatch.delenv("ONEX_CODEC_KEYS")
    asyncio.run(refused(CodecKeyMissing, "ONEX_CODEC_KEYS"))
    monkeypatch.setenv("ONEX_CODEC_KEYS", "env:MASTERS")
    monkeypatch.setenv("MASTERS", TWO)
    asyncio.run(refused(CodecKeyMissing, "under master key k1, and env:MASTERS does not hold it"))
    monkeypatch.setenv("MASTERS", new_master_key("k1"))
    asyncio.run(refused(CodecKeyWrong, "another key under the same name"))
    assert stored_bytes(shop) == before
    monkeypatch.setenv("MASTERS", f"{TWO} {ONE}")
    run_orders("3")  # a new current key: what is new is wrapped under it
    with closing(database(shop)) as db:
        masters = db.execute("select master, count(*) from data_keys group by 1 order by 1").fetchall()
    assert masters == [("k1", 3), ("k2", 1)]


@pytest.mark.parametrize(
    "swapped",
    [
        "update log set payload = (select payload from log l where l.n <> log.n and l.kind = log.kind) where kind = 'place'",
        "update workflow_state set state = (select state from workflow_state w where w.instance <> workflow_state.instance)",
        "update log set payload = x'7b7d' where n = 1",
        "update log set intents = (select intents from log l where l.kind = 'charged' limit 1) where n = 1",
        "update data_keys set wrapped = (select wrapped from data_keys d where d.owner = 'orders:2') where owner = 'orders:1'",
    ],
)
def test_rows_that_were_swapped_are_found(shop: Path, commands: Commands, swapped: str) -> None:  # noqa: F811 - the fixture
    with closing(database(shop)) as db, db:
        db.execute(swapped)
    told = commands("replay", ORDERS)
    assert (told.code, "MISMATCH" in told.out) == (1, True)


def test_a_store_that_was_plain_is_encrypted_from_then_on(
    place: Path,  # noqa: F811 - the fixture
    commands: Commands,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def begin() -> None:
        async with await onex.open(STORE, ORDERS) as engine:
            await engine.submit("orders:old", "place", {"items": ITEMS})

    asyncio.run(begin())
    monkeypatch.setenv("ONEX_CODEC_KEYS", "env:MASTERS")
    monkeypatch.setenv("MASTERS", ONE)
    run_orders("new")
    assert commands("replay", ORDERS).out.startswith("2 segments: equal\n")
    assert commands("verify").code == 0
    monkeypatch.delenv("ONEX_CODEC_KEYS")
    assert CANARY not in commands("show", "orders:new", "--history").out


def test_an_archive_holds_what_the_store_held_and_is_read_with_the_keys_of_that_store(
    shop: Path,
    commands: Commands,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = shop / "old.onexrun"
    assert asyncio.run(StoreUpkeep(STORE).compact(-3_600_000_000, archive)).rows == 3
    text = archive.read_text()
    assert '"@encrypted"' in text.replace("\\", "")
    assert CANARY not in text
    assert commands("replay", ORDERS, "--from", archive).out.startswith("1 segment: equal\n")
    assert commands("verify", "--from", archive).code == 0
    monkeypatch.setenv("ONEX_STORE", "sqlite:///nowhere.db")
    for keys in ("env:MASTERS", ""):
        monkeypatch.setenv("ONEX_CODEC_KEYS", keys)
        told = commands("replay", ORDERS, "--from", archive)
        assert (told.code, "unverified (encrypted)" in told.out) == (1, True)
        assert commands("verify", "--from", archive).code == 0


def test_a_store_in_memory_is_encrypted_too(keyed: Path) -> None:
    async def go() -> None:
        store = await encrypted(MemoryStore(), read_only=False)
        await store.own("me")
        ticket = await store.send(b'{"said":"4711"}', 7)
        assert (await store.inbox(0, 10))[0].body == b'{"said":"4711"}'
        assert isinstance(store, SealedStore)
        inner = store.inner
        assert isinstance(inner, MemoryStore)
        assert b"4711" not in inner.tables.inbox[ticket].body
        async with await onex.open("memory:", ORDERS) as engine:
            await engine.submit("orders:1", "place", {"items": ITEMS})
            assert (await engine.wait("orders:1", timeout_s=20)).status == "shipped"

    asyncio.run(go())


def test_who_was_there_before_it_was_turned_on_reads_the_answers(keyed: Path) -> None:
    async def go() -> None:
        sender = await open_sender(STORE)
        ticket = await sender.send(b'{"workflow_key":["orders","1"],"kind":"place"}', 7)
        async with await onex.open(STORE, ORDERS) as engine:
            await engine.idle()
            watch = sender.watch()
            while (answer := await sender.answer(ticket)) is None:
                await watch.changed()
        assert json.loads(answer).keys() == {"error"}
        assert json.loads(answer)["error"]["code"] == "invalid_payload"
        await sender.close()

    asyncio.run(asyncio.wait_for(go(), 30))


def test_where_it_is_off_nothing_of_it_is_imported(place: Path) -> None:  # noqa: F811 - the fixture
    looked = (
        "import asyncio, sys, onex; from onex.wiring import open_sender;"
        f" store = asyncio.run(open_sender({STORE!r}));"
        " sys.exit(type(store).__name__ + str([one for one in sys.modules if 'cryptography' in one or '.codec.' in one]))"
    )
    told = subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True, timeout=60)
    assert told.stderr.strip() == "SqliteStore[]"
