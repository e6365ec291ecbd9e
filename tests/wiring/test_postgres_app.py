"""An app on PostgreSQL from end to end: submitted, killed in the middle, restarted, shipped once, and shown."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import JsonValue

import onex
from onex.kernel.errors import LeaseConflictError, OwnershipLost
from onex.wiring.store_access import InvalidStoreUrl, StoreUrl, owner_pid, shown_url
from tests.laws.tree import ROOT
from tests.servers.postgres_server import PostgresServer

ONEX = Path(sys.executable).with_name("onex")
ORDERS = ROOT / "examples" / "orders"
PLACE: dict[str, JsonValue] = {"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}


def test_a_killed_engine_goes_on_where_it_was(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.url("killed")
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    environment = {**os.environ, "ONEX_STORE": url}
    engine = subprocess.Popen([ONEX, "run", ORDERS], env=environment, stderr=subprocess.PIPE, text=True)
    assert engine.stderr is not None
    assert any("running orders" in line for line in engine.stderr)

    async def while_it_runs() -> None:
        async with await onex.connect(url, ORDERS) as client:
            assert owner_pid(url) == engine.pid
            with pytest.raises(OwnershipLost, match=f"process {engine.pid}"):
                await onex.open(url, ORDERS)
            for number in range(20):
                done = await client.submit(f"orders:{number}", "place", PLACE)
                assert (done.version, done.status) == (1, "charging")
            engine.send_signal(signal.SIGKILL)
            await asyncio.to_thread(engine.wait)
            assert owner_pid(url) is None
            await client.store.send(b'{"workflow_key": "orders:late"}', 1)  # refused by the next engine, and answered

    async def after() -> None:
        async with await onex.open(url, ORDERS) as again, await onex.connect(url, ORDERS) as client:
            first = await client.wait("orders:0", "shipped")
            assert first.version == 3
            for number in range(20):
                assert (await again.wait(f"orders:{number}", "shipped", timeout_s=30)).version == 3
            await again.idle()
            assert (await again.reader.counts()).outbox["waiting"] == 0

    asyncio.run(while_it_runs())
    engine.stderr.close()
    asyncio.run(after())
    for kind in ("receipts", "parcels"):
        assert len(list((tmp_path / "out" / kind).glob("[!.]*.json"))) == 20
    shown = subprocess.run([ONEX, "show", "orders:3", "--json"], env=environment, capture_output=True, text=True)
    assert json.loads(shown.stdout)["status"] == "shipped"


def test_a_lease_outlives_the_engine_that_granted_it(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.url("leased")
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    boat: dict[str, JsonValue] = {"items": [{"sku": "boat", "quantity": 1, "cents": 9_000_000}]}

    async def go() -> None:
        async with await onex.open(url, ORDERS), await onex.connect(url, ORDERS) as client:
            await client.submit("orders:1", "place", boat)
            await client.wait("orders:1", "basket")
            mine = await client.take_lease("orders:1", "planner")
        async with await onex.open(url, ORDERS) as engine, await onex.connect(url, ORDERS) as client:
            for refused in (client.submit("orders:1", "place", PLACE), client.take_lease("orders:1", "another")):
                with pytest.raises(LeaseConflictError):
                    await refused
            assert (await client.renew_lease("orders:1", mine.lease_id)).until_us >= mine.until_us
            done = await client.submit("orders:1", "place", PLACE, lease_id=mine.lease_id, epoch=mine.epoch)
            assert done.version == 3
            await engine.wait("orders:1", "shipped")
            await client.release_lease("orders:1", mine.lease_id)
            stored = await engine.stored("orders:1")
            assert stored is not None
            assert (stored.version, stored.epoch, stored.lease_id) == (5, 1, None)

    asyncio.run(go())


@pytest.mark.parametrize("shards", [pytest.param(1, marks=pytest.mark.long), 4])
def test_its_record_is_read_like_that_of_a_file(postgres: PostgresServer, tmp_path: Path, shards: int) -> None:
    """Replay, export, import and what-if of a store on a server say what they say of its copy in a file."""
    url = f"{postgres.url(f'recorded{shards}')}&shards={shards}"
    file, copy = tmp_path / "all.onexrun", f"sqlite:///{tmp_path / 'copy.db'}"
    environment = {**os.environ, "ONEX_ORDERS_DIR": str(tmp_path / "out")}

    def told(*words: str | Path) -> str:
        return subprocess.run(
            [ONEX, *words], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
        ).stdout

    lines = "".join(json.dumps({"key": f"orders:{n}", "trigger": "place", "payload": PLACE}) + "\n" for n in range(30))
    subprocess.run([ONEX, "submit", "-", "--no-wait", "--store", url], input=lines, text=True, check=True)
    told("run", ORDERS, "--until-idle", "--store", url)
    whole = "30 segments: equal\n30 instances, 90 actions, 0 unverified\n"
    for processes in ("1", "2"):
        assert told("replay", ORDERS, "--strict", "--processes", processes, "--store", url) == whole
    assert (
        told("replay", ORDERS, "orders:7", "--store", url) == "1 segment: equal\n1 instance, 3 actions, 0 unverified\n"
    )
    told("export", "--no-redact", "--out", file, "--store", url)
    assert told("replay", ORDERS, "--strict", "--from", file) == whole
    told("import", file, "--store", copy)
    assert told("replay", ORDERS, "--strict", "--store", copy) == whole
    changed = tmp_path / "changed" / "orders"
    shutil.copytree(ORDERS, changed)
    reducer = (changed / "reducer.py").read_text()
    (changed / "reducer.py").write_text(reducer.replace("sum(item.quantity * item.cents", "sum(item.cents"))
    compared = []
    for store in (url, copy):
        words = ("whatif", ORDERS, "--against", changed, "--json", "--processes", "2", "--store", store)
        compared.append([json.loads(line) for line in told(*words).splitlines()])
    assert [{**row, "store": ""} for row in compared[0]] == [{**row, "store": ""} for row in compared[1]]
    assert (compared[0][-1]["differs"], compared[0][-1]["effects_fired"]) == (30, 0)
    assert (
        json.loads(told("show", "orders:7", "--at", "1", "--app", ORDERS, "--json", "--store", url))["status"]
        == "charging"
    )
    kinds = [json.loads(line)["trigger"] for line in told("log", "orders:7", "--json", "--store", url).splitlines()]
    assert kinds == ["place", "charged", "packed"]
    whole_log = [json.loads(line) for line in told("log", "--limit", "1000", "--json", "--store", url).splitlines()]
    assert len({json.dumps(row["position"]) for row in whole_log}) == len(whole_log) == 90
    assert [row["issued_at"] for row in whole_log] == sorted(row["issued_at"] for row in whole_log)
    last = [json.loads(line) for line in told("log", "--limit", "7", "--json", "--store", url).splitlines()]
    assert len(last) == 7 and min(row["issued_at"] for row in last) >= whole_log[-8]["issued_at"]
    one = [json.loads(line) for line in told("log", "--after", "0:2", "--json", "--store", url).splitlines()]
    assert [row["position"] for row in one] == [f"0:{n}" for n in range(3, len(one) + 3)]
    follows = subprocess.Popen(
        [ONEX, "log", "--follow", "--limit", "1", "--json", "--store", url], stdout=subprocess.PIPE, text=True
    )
    assert follows.stdout is not None
    follows.stdout.readline()  # from here on what is new
    new = "".join(json.dumps({"key": f"orders:new{n}", "trigger": "place", "payload": PLACE}) + "\n" for n in range(8))
    subprocess.run([ONEX, "submit", "-", "--no-wait", "--store", url], input=new, text=True, check=True)
    told("run", ORDERS, "--until-idle", "--store", url)
    seen = [json.loads(follows.stdout.readline())["key"] for _ in range(24)]
    assert sorted(seen) == sorted(3 * [f"orders:new{n}" for n in range(8)])
    follows.send_signal(signal.SIGINT)
    follows.communicate()


def test_a_sender_says_that_it_made_the_store_and_with_how_many_shards(postgres: PostgresServer) -> None:
    url = postgres.url("sender_first")
    made = f"there was no store at {url}: made one, with 8 shards\n"
    for asked, told in ((f"{url}&shards=8", made), (url, "")):
        sent = subprocess.run(
            [ONEX, "submit", "orders:1", "place", "--no-wait", "--store", asked], capture_output=True, text=True
        )
        assert (sent.returncode, sent.stderr) == (0, told)
    shards = subprocess.run([ONEX, "workers", "--store", url], capture_output=True, text=True).stdout
    assert shards == f"0 workers share 8 shards of {url}; 8 have no worker\n"


def test_what_needs_a_file_says_so(postgres: PostgresServer, tmp_path: Path) -> None:
    told = subprocess.run(
        [ONEX, "import", tmp_path / "none.onexrun", "--store", postgres.url("imported")], capture_output=True, text=True
    )
    assert told.returncode == 2
    assert "needs a store in a file" in told.stderr


def test_without_the_driver_the_next_step_is_named(postgres: PostgresServer) -> None:
    program = "import sys; sys.modules['asyncpg'] = None; from onex.cli.start import start; sys.exit(start())"
    for words in (["ls"], ["replay", str(ORDERS)]):
        told = subprocess.run(
            [sys.executable, "-c", program, *words, "--store", postgres.url()], capture_output=True, text=True
        )
        assert told.returncode == 3
        assert "pip install 'PATH/TO/ONEX[postgres]'" in told.stderr


def test_the_driver_is_imported_for_its_urls_only() -> None:
    program = "import sys, onex; onex.open, onex.connect; import onex.cli.ls; sys.exit('asyncpg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_a_password_is_never_shown() -> None:
    assert shown_url("postgres://me:secret@host/shop") == "postgres://me@host/shop"
    assert shown_url("sqlite:///a.db") == "sqlite:///a.db"
    with pytest.raises(InvalidStoreUrl) as raised:
        StoreUrl.parse("postgres://me:secret@host/shop").make_folder()
        _ = StoreUrl.parse("postgres://me:secret@host/shop").file
    assert "secret" not in str(raised.value)
