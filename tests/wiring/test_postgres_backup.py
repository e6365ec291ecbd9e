"""The recipe of docs/guides/production.md: dumped while an engine runs, restored into another cluster, and gone on with there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue

import onex
from tests.laws.tree import ROOT
from tests.servers.postgres_server import BIN, PostgresServer, running_server

ORDERS = ROOT / "examples" / "orders"
PLACE: dict[str, JsonValue] = {"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}


def recipe(first: str, urls: dict[str, str], folder: Path) -> list[str]:
    """Runs the commands of the page's block that begins with ``first``, but the one that does not end. Returns what each said."""
    page = (ROOT / "docs" / "guides" / "production.md").read_text()
    found = re.search(rf"```sh\n({first} .*?)```", page, re.DOTALL)
    assert found is not None
    path = os.pathsep.join((str(BIN), str(Path(sys.executable).parent), os.environ["PATH"]))
    said: list[str] = []
    for line in found[1].splitlines():
        for there, here in urls.items():
            line = line.replace(there, here)  # noqa: PLW2901
        words = [str(ORDERS) if word == "shop" else word for word in shlex.split(line)]
        if words[:2] != ["onex", "run"]:
            done = subprocess.run(
                words, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
            )
            said.append(done.stdout)
    assert said
    return said


def give_roles(url: str) -> None:
    """The dump then has rights of roles which the new cluster lacks."""
    words = [str(Path(sys.executable).with_name("onex")), "store", "roles", "--apply", "--store", url]
    subprocess.run(words, check=True, capture_output=True)


def test_a_dump_of_a_running_store_goes_on_in_another_cluster(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))

    async def run_and_dump(urls: dict[str, str]) -> dict[UUID, str]:
        """Actions acknowledged before the dump began. Others were sent while it was made."""
        known: dict[UUID, str] = {}
        stop = asyncio.Event()

        async def place(number: int) -> None:
            action_id = uuid4()
            done = await engine.submit(f"orders:{number}", "place", PLACE, action_id=action_id)
            assert done.version == 1
            known[action_id] = f"orders:{number}"

        async def go_on() -> int:
            number = 1000
            while not stop.is_set():
                await place(number)
                number += 1
            return number - 1000

        async with await onex.open(urls["postgres://db.example/shop"], ORDERS) as engine:
            for number in range(30):
                await place(number)
            before = dict(known)
            load = asyncio.create_task(go_on())
            while len(known) == len(before):  # the load has begun
                await asyncio.sleep(0)
            await asyncio.to_thread(give_roles, urls["postgres://db.example/shop"])
            await asyncio.to_thread(recipe, "pg_dump --format=custom --schema=onex --no-owner", urls, tmp_path)
            stop.set()
            assert await load > 0
            return before

    async def go_on(url: str, before: dict[UUID, str]) -> None:
        async with await onex.open(url, ORDERS) as engine:
            for action_id, key in before.items():
                again = await engine.submit(key, "place", PLACE, action_id=action_id)
                assert (again.duplicate, again.version) == (True, 1)
            await engine.idle()
            counts = await engine.reader.counts()
            assert counts.instances >= len(before) and counts.outbox["waiting"] == 0
            assert counts.by_status == {("orders", "shipped"): counts.instances}
            new = await engine.submit("orders:new", "place", PLACE)
            assert not new.duplicate
            assert (await engine.wait("orders:new", "shipped")).version == 3

    make = [str(BIN / "createdb"), "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres", "backup"]
    subprocess.run(make, check=True)
    with running_server() as other:
        urls = {
            "postgres://db.example/shop": f"postgres://postgres@127.0.0.1:{postgres.port}/backup",
            "postgres://new.example/shop": other.url().partition("?")[0],
        }
        before = asyncio.run(run_and_dump(urls))
        replayed = recipe("pg_restore", urls, tmp_path)[-1]
        assert "equal" in replayed and "MISMATCH" not in replayed
        new = urls["postgres://new.example/shop"]
        asyncio.run(go_on(new, before))
        told = subprocess.run(
            [Path(sys.executable).with_name("onex"), "replay", ORDERS, "--strict", "--json", "--store", new],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(told.stdout)["ok"] is True
