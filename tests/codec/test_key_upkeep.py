"""A store that was plain is encrypted from end to end, and master keys are changed while engines run."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import onex
from onex.wiring.key_upkeep import rotate_keys
from tests.cli.conftest import STORE, Commands, commands, place  # noqa: F401 - fixtures
from tests.codec.test_encrypted_store import CANARY, ONE, TWO, keyed, stored_bytes  # noqa: F401 - fixtures
from tests.codec.test_erasing import KEY, OTHER, VAULT, fill


def fill_vault() -> None:
    async def go() -> None:
        async with await onex.open(STORE, VAULT) as engine:
            await fill(engine)
            await engine.materialize()

    asyncio.run(asyncio.wait_for(go(), 30))


def masters_in(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "store.db")) as db:
        return [row[0] for row in db.execute("select distinct master from data_keys where erased_us = 0 order by 1")]


def test_what_was_plain_is_encrypted_and_nothing_of_it_is_left(
    place: Path,  # noqa: F811 - the fixture
    commands: Commands,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill_vault()
    before = commands("show", str(KEY), "--history", "--json").row
    assert CANARY.encode() in stored_bytes(place)
    assert commands("store", "encrypt").code == 2  # without a key
    monkeypatch.setenv("ONEX_CODEC_KEYS", "env:MASTERS")
    monkeypatch.setenv("MASTERS", ONE)
    told = commands("store", "encrypt", "--json").row
    assert (told["changed"], told["before"], told["overwritten"]) == (2, 0, True)
    assert CANARY.encode() not in stored_bytes(place)
    assert commands("verify").code == 0
    assert commands("replay", VAULT).out.startswith("2 segments: equal\n")
    assert commands("show", str(KEY), "--history", "--json").row == before
    assert commands("store", "encrypt", "--json").row["before"] == 2
    fill_vault()  # it goes on: a late duplicate of the same id, and the same timers
    assert commands("replay", VAULT).out.startswith("2 segments: equal\n")
    assert commands("erase", str(KEY), "--yes").code == 0
    assert commands("verify").code == 0
    monkeypatch.delenv("ONEX_CODEC_KEYS")
    shown = commands("show", str(OTHER), "--json").row
    assert shown["state"] == "encrypted (key k1)"


def test_master_keys_are_changed_under_a_running_engine(
    keyed: Path,  # noqa: F811 - the fixture
    commands: Commands,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill_vault()
    with closing(sqlite3.connect(keyed / "store.db")) as db:
        wrapped = [row[0] for row in db.execute("select wrapped from data_keys").fetchall()]
    assert masters_in(keyed) == ["k1"]
    monkeypatch.setenv("MASTERS", f"{TWO} {ONE}")

    async def go() -> None:
        async with await onex.open(STORE, VAULT) as engine:
            version = (await engine.submit(str(KEY), "put", {"note": "before"})).version
            await engine.idle()
            done = await rotate_keys(STORE)
            assert done.changed == len(wrapped)
            version = (await engine.submit(str(KEY), "put", {"note": "after"})).version - version
            assert version == 2  # two of ours, and the effect between: no version is the rotation's
            await engine.submit("vault:new", "put", {"note": "new"})
            await engine.idle()

    asyncio.run(asyncio.wait_for(go(), 30))
    assert masters_in(keyed) == ["k2"]
    monkeypatch.setenv("MASTERS", TWO)  # the old one is needed no more
    assert "equal" in commands("replay", VAULT).out
    assert CANARY in commands("show", str(OTHER)).out
    assert commands("store", "rotate-keys", "--json").row["changed"] == 0
    left = stored_bytes(keyed)
    assert [one for one in wrapped if one in left] == []
    assert commands("verify").code == 0
