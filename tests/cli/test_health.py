"""What ``--listen`` says of a real engine: while it starts, runs, waits for a person, has lost its server, and closes."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import asyncpg
import pytest
from pydantic import BaseModel

import onex
from onex.cli import health as health_room
from onex.cli.health import Health
from onex.cli.health_server import HealthPage
from onex.cli.status_line import left_alone
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import EffectUnknown, Overloaded
from onex.kernel.intent import ModelIntent
from onex.monitoring.engine_metrics import EngineMetrics
from onex.monitoring.engine_probes import EngineProbes
from onex.ports import EnumOutboxState, LogEntry, OutboxRow, Pointer, ProjectionRow
from onex.wiring.engine import WiredEngine, open_worker
from tests.cli.conftest import ITEMS, JOBS, ORDERS, Commands, Process
from tests.servers.postgres_server import running_server

JOB = Path(__file__).parents[1] / "nodes" / "job"
CALLS = Path(__file__).parents[1] / "engine" / "called_app" / "calls.py"


@pytest.fixture(autouse=True)
def each_look_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_room, "FRESH_S", 0.0)


def watched(app: Path, story: Callable[[WiredEngine, Health], Awaitable[None]], store: str = "memory:") -> None:
    async def go() -> None:
        health = Health(store)
        async with await health.opened(onex.open(store, app)) as engine:
            await story(engine, health)
        await health.close()

    asyncio.run(go())


def checks(page: HealthPage) -> dict[str, bool]:
    """Which checks pass."""
    found: Any = page.body["checks"]
    return {name: check["passing"] for name, check in found.items()}


def test_it_is_alive_and_not_ready_until_it_has_started() -> None:
    async def go() -> None:
        health = Health("memory:")
        assert (await health.live()).status == 200
        assert (await health.ready()).status == 503
        page = await health.report()
        assert (page.status, page.body["status"], checks(page)) == (503, "unhealthy", {"engine": False})
        async with await health.opened(onex.open("memory:", ORDERS)):
            assert (await health.ready()).status == 200
        await health.close()

    asyncio.run(go())


def test_a_running_engine_is_healthy_and_tells_what_it_has_done(place: Path) -> None:
    async def story(engine: WiredEngine, health: Health) -> None:
        await engine.materialize()
        await engine.submit("orders:1", "place", {"items": ITEMS})
        await engine.idle()
        await engine.views["workflow"].catch_up()
        page = await health.report()
        assert (page.status, page.body["status"]) == (200, "healthy")
        assert checks(page) == dict.fromkeys(
            ("engine", "store", "attempts", "load", "memory", "loop", "projections", "intents"), True
        )
        told: Any = page.body
        assert told["engine"]["committed"] == engine.counters.committed > 0
        assert told["engine"]["workflows"] == ["orders"]
        assert told["projections"] == {"workflow": {"lag_ms": 0.0}}
        assert told["intents"] == {"held": 0, "dead": 0}
        assert told["shards"] == {"all": 1, "here": 1}
        assert told["store"]["answered_ms"] >= 0

    watched(ORDERS, story)


def test_an_intent_that_waits_for_a_person_degrades_it_and_it_stays_ready(place: Path) -> None:
    async def story(engine: WiredEngine, health: Health) -> None:
        await engine.submit("jobs:1", "blow")
        await engine.idle()
        page = await health.report()
        assert (page.status, page.body["status"]) == (200, "degraded")
        assert [name for name, passing in checks(page).items() if not passing] == ["intents"]
        assert page.body["intents"] == {"held": 0, "dead": 1}
        assert (await health.ready()).status == 200

    watched(JOBS, story)


def test_attempts_that_fail_too_often_degrade_it(place: Path) -> None:
    async def story(engine: WiredEngine, health: Health) -> None:
        await engine.submit("job:1", "plain", {"what": "refused for now"})
        await engine.idle()
        page = await health.report()
        assert [name for name, passing in checks(page).items() if not passing] == ["attempts"]
        assert page.body["status"] == "degraded"

    watched(JOB, story)


def test_a_target_that_is_left_alone_degrades_it_and_is_named() -> None:
    async def down(intent: ModelIntent[BaseModel]) -> None:
        raise EffectUnknown("503")

    async def go() -> None:
        health = Health("memory:")
        opening = onex.open("memory:", CALLS, executors={"bank": down})
        async with await health.opened(opening) as engine:
            assert "targets" not in checks(await health.report())
            await engine.submit("calls:1", "go", {"calls": 3})
            while engine.counters.breakers_opened == 0:
                await asyncio.sleep(0.01)
            page = await health.report()
            assert not checks(page)["targets"]
            assert "left alone for a while: calls.bank" in str(page.body["checks"])
            assert left_alone(engine) == ["calls.bank"]
            assert checks(await health.ready()) == {"engine": True, "store": True}
        await health.close()

    asyncio.run(go())


def test_calls_that_find_no_room_degrade_it(place: Path) -> None:
    async def story(engine: WiredEngine, health: Health) -> None:
        with pytest.raises(Overloaded):
            await engine.submit_many([("jobs:1", "blow", None)] * (engine.service.limits.waiting + 1))
        assert [name for name, passing in checks(await health.report()).items() if not passing] == ["load"]

    watched(JOBS, story)


def test_the_rate_forgets_what_failed_two_windows_ago(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(engine: WiredEngine, health: Health) -> None:
        await engine.submit("job:1", "plain", {"what": "refused for now"})
        await engine.idle()
        monkeypatch.setattr(health_room, "WINDOW_S", 0.0)
        await health.report()
        assert checks(await health.report())["attempts"]

    watched(JOB, story)


def test_it_is_healthy_again_after_three_good_answers_in_a_row(place: Path) -> None:
    async def story(engine: WiredEngine, health: Health) -> None:
        with pytest.raises(Overloaded):
            await engine.submit_many([("jobs:1", "blow", None)] * (engine.service.limits.waiting + 1))
        assert (await health.report()).body["status"] == "degraded"
        engine.counters.overloaded = 0
        shown = [(await health.report()).body["status"] for _ in range(3)]
        assert shown == ["degraded", "degraded", "healthy"]

    watched(JOBS, story)


def test_a_part_that_hangs_is_named_and_the_others_are_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(engine: WiredEngine, health: Health) -> None:
        async def never() -> float:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

        view = await engine.materialize()
        await health.report()
        monkeypatch.setattr(view, "lag_ms", never)
        assert health._probes is not None
        health._probes.late_ms.within_s = 0.02
        page = await health.report()
        assert [name for name, passing in checks(page).items() if not passing] == ["projections"]
        assert "has not answered" in str(page.body["checks"])
        assert (await health.ready()).status == 200

    watched(ORDERS, story)


def test_a_projection_that_stands_still_degrades_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECTION_LAG_THRESHOLD_MS", "1")

    def never(entry: LogEntry) -> ProjectionRow | None:
        raise ValueError("no row")

    async def story(engine: WiredEngine, health: Health) -> None:
        await engine.materialize("stuck", never)
        await engine.submit("orders:1", "place", {"items": ITEMS})
        while checks(page := await health.report())["projections"]:
            await asyncio.sleep(0.002)
        assert (page.status, page.body["status"]) == (200, "degraded")
        assert "stuck" in str(page.body["checks"])

    watched(ORDERS, story)


def test_an_engine_that_closes_is_alive_and_not_ready(place: Path) -> None:
    async def go() -> None:
        health = Health("memory:")
        engine = await health.opened(onex.open("memory:", ORDERS))
        closing = asyncio.create_task(engine.close())
        while not engine.is_closing:
            await asyncio.sleep(0)
        assert (await health.ready()).status == 503
        assert (await health.live()).status == 200
        await closing
        page = await health.report()
        assert (page.status, page.body["status"]) == (503, "unhealthy")
        await health.close()

    asyncio.run(go())


def test_many_who_ask_at_once_are_served_by_one_look(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(engine: WiredEngine, health: Health) -> None:
        looks, ask = 0, engine.reader.outbox

        async def outbox(
            states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
        ) -> Sequence[OutboxRow]:
            nonlocal looks
            looks += 1
            return await ask(states, key, after, limit)

        monkeypatch.setattr(engine.reader, "outbox", outbox)
        pages = await asyncio.gather(*(health.ready() for _ in range(30)))
        assert {page.status for page in pages} == {200}
        assert looks == 1
        assert health._probes is not None
        health._probes.stopped.fresh_s = 3600.0
        await asyncio.gather(*(health.report() for _ in range(30)))
        assert looks == 1

    watched(ORDERS, story, "sqlite:///store.db")


def test_a_server_that_is_away_makes_it_unready_until_it_is_back(place: Path) -> None:
    with running_server() as server:

        async def story(engine: WiredEngine, health: Health) -> None:
            assert (await health.ready()).status == 200
            server.stop()
            page = await health.report()
            assert (page.status, page.body["status"]) == (503, "unhealthy")
            assert not checks(page)["store"]
            assert (await health.live()).status == 200
            server.start()
            while (await health.ready()).status != 200:
                await asyncio.sleep(0.05)
            assert await engine.submit("orders:1", "place", {"items": ITEMS})

        watched(ORDERS, story, server.url())


def test_a_worker_is_ready_when_it_has_the_shards_that_belong_to_it(place: Path) -> None:
    with running_server() as server:
        url = f"{server.url()}&shards=8"

        async def go() -> None:
            first, second = Health(url), Health(url)
            one = await first.opened(open_worker(url, ORDERS, lease_s=600))
            assert (await first.ready()).status == 200
            two = await second.opened(open_worker(url, ORDERS, lease_s=600))
            while not two.service.fences or len(one.service.fences) + len(two.service.fences) < 8:
                await asyncio.sleep(0.01)
            page = await second.report()
            assert (page.status, checks(page)["shards"]) == (200, True)
            assert page.body["shards"] == {"all": 8, "here": len(two.service.fences)}
            metrics = EngineMetrics(two, EngineProbes(two))
            assert f"onex_shards_owned {len(two.service.fences)}.0".encode() in await metrics.text()
            await first.close()
            await one.close()  # its shards are free, and belong to the other, who takes them at its next look
            while len(two.service.fences) < 8:
                await asyncio.sleep(0.01)
            assert (await second.ready()).status == 200
            await second.close()
            await two.close()

        asyncio.run(go())


def test_a_worker_that_was_not_heard_of_for_its_lease_is_not_ready(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_server() as server:

        async def go() -> None:
            health = Health(server.url())
            engine = await health.opened(open_worker(server.url(), ORDERS, lease_s=0.3))
            assert (await health.ready()).status == 200
            server_side = await asyncpg.connect(server.url().partition("?")[0])
            await server_side.execute("delete from onex.workers")
            page = await health.ready()
            assert (page.status, checks(page)["shards"]) == (503, False)
            await server_side.close()
            await health.close()
            await engine.close()

        asyncio.run(go())


def told(where: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(where) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def test_onex_run_serves_its_health_until_it_ends(place: Path, processes: type[Process]) -> None:
    run = processes("run", ORDERS, "--listen", "127.0.0.1:0", "--projection")
    where = run.until("health on").split()[-1]
    assert told(f"{where}/live") == (200, {"status": "alive"})
    status, ready = told(f"{where}/ready")
    assert (status, ready["status"]) == (200, "ready")
    status, body = told(where)
    assert (status, body["status"]) == (200, "healthy")
    assert body["engine"]["pid"] == run.popen.pid
    assert body["store"]["url"] == "sqlite:///store.db"
    with urllib.request.urlopen(where.removesuffix("/health") + "/metrics") as page:
        assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b"onex_store_up 1.0" in page.read()
    assert told(f"{where}/metrics")[0] == 404
    assert run.end(signal.SIGTERM).code == 0


def test_the_setting_says_where_to_listen(
    place: Path, processes: type[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEX_LISTEN", "127.0.0.1:0")
    run = processes("run", ORDERS)
    where = run.until("health on").split()[-1]
    assert told(f"{where}/live") == (200, {"status": "alive"})
    assert run.end(signal.SIGTERM).code == 0


def test_onex_run_listens_nowhere_unless_it_is_told_to(place: Path, processes: type[Process]) -> None:
    run = processes("run", ORDERS)
    run.until("running")
    listening = [line for line in Path(f"/proc/{run.popen.pid}/net/tcp").read_text().splitlines() if " 0A " in line]
    its = {link.readlink().name for link in Path(f"/proc/{run.popen.pid}/fd").iterdir() if link.is_symlink()}
    inodes = {f"socket:[{line.split()[9]}]" for line in listening}
    assert not its & inodes
    assert run.end(signal.SIGTERM).code == 0


def test_an_address_that_is_none_or_taken_ends_the_run_before_it_has_touched_a_store(commands: Commands) -> None:
    misused = commands("run", ORDERS, "--listen", "here")
    assert misused.code == 2
    assert "HOST:PORT" in misused.err
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = commands("run", ORDERS, "--listen", str(port))
    assert taken.code == 3
    assert f"--listen 127.0.0.1:{port}" in taken.err
    assert "choose another" in taken.err
    assert not Path("store.db").exists()
