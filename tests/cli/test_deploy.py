"""`onex deploy` with real processes: an engine, clients that go on, and kill -9 of either in the middle."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import JsonValue

import onex
from onex.contracts.canary_config import load_canary_config
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import OnexError
from onex.wiring import engine_runs, open_reader
from tests.app.apps import edit
from tests.cli.conftest import ONEX, STORE, Commands
from tests.wiring.version_apps import parcel_app

PATIENCE_S = 60.0
CANARY = """reducer_pattern_engine:
  stages: [5, 100]
  stage_s: 0.5
  min_actions: 10
  success_criteria: {latency_p99_threshold_ms: 60000, difference_threshold: %d}
  shadow: {actions: 30, for_s: 20}
  what_if: {budget_s: 20}
"""
NOTE = "def note(parcel: Parcel, action: Action[Note]) -> Step[Parcel]:\n"


class Running:
    """An engine of the old version in a process of its own, and clients that send parcels until they are told to stop."""

    def __init__(self, place: Path, old: Path) -> None:
        self.place, self.old = place, old
        self.engine = self.begin()
        self.begun: list[str] = []
        self._stop = threading.Event()
        self._clients = threading.Thread(target=lambda: asyncio.run(self._send()))
        self._clients.start()

    def begin(self) -> subprocess.Popen[bytes]:
        words = [str(word) for word in (ONEX, "run", self.old, "--releases", "releases", "-q")]
        self.engine = subprocess.Popen(words)
        while not asyncio.run(engine_runs(STORE)):
            assert self.engine.poll() is None
            time.sleep(0.05)
        return self.engine

    def kill(self) -> None:
        self.engine.kill()
        self.engine.wait()

    def end(self) -> None:
        self._stop.set()
        self._clients.join()
        self.engine.send_signal(signal.SIGTERM)
        self.engine.wait()

    async def _send(self) -> None:
        async with await onex.connect(STORE) as client:
            while not self._stop.is_set():
                keys = [f"parcel:{len(self.begun) + n}" for n in range(10)]
                self.begun += keys
                sent: dict[str, JsonValue] = {"grams": 2}
                for trigger, payload in (("sent", sent), ("note", {}), ("pay", {})):
                    await asyncio.gather(*(self._one(client, key, trigger, payload) for key in keys))

    async def _one(self, client: onex.EngineClient, key: str, trigger: str, payload: dict[str, JsonValue]) -> None:
        with suppress(OnexError):  # a bad version refuses them
            if trigger != "sent":
                await client.wait(key, "weighed", timeout_s=PATIENCE_S)
            await client.submit(key, trigger, payload, timeout_s=PATIENCE_S)

    def deploy(self, app: Path, most: int) -> subprocess.Popen[str]:
        (self.place / "canary.yaml").write_text(CANARY % most)
        options = ("--canary", "canary.yaml", "--releases", "releases", "--json")
        words = [str(word) for word in (ONEX, "deploy", app, *options)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def deployed(self, app: Path, most: int) -> tuple[int, list[dict[str, JsonValue]]]:
        out, err = (process := self.deploy(app, most)).communicate(timeout=PATIENCE_S)
        assert process.returncode in (0, 1), err
        return process.returncode, [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def running(place: Path) -> Iterator[Running]:
    shop = Running(place, parcel_app(place, "1.0.0"))
    yield shop
    shop.end()


async def versions(keys: list[str]) -> Counter[str]:
    """Under which version each parcel began; and nothing of them was done twice or is left."""
    reader = await open_reader(STORE)
    found: Counter[str] = Counter()
    try:
        for key in keys:
            rows = await reader.history(WorkflowKey.parse(key), 0, 100)
            kinds = Counter(entry.row.kind for entry in rows)
            assert kinds["sent"] == kinds["weigh.succeeded"] == 1, (key, kinds)
            stored = (await reader.load([WorkflowKey.parse(key)]))[WorkflowKey.parse(key)]
            found[json.loads(stored.state)["by"].partition(",")[0]] += 1
    finally:
        await reader.close()
    return found


def rollout(commands: Commands) -> dict[str, JsonValue]:
    return commands("deploy", "--status", "--json").row


def test_a_good_version_goes_live_though_both_processes_are_killed(running: Running, commands: Commands) -> None:
    new = parcel_app(running.place, "2.0.0")
    first = running.deploy(new, 10**6)
    while rollout(commands)["status"] in ("none", "proposed"):
        time.sleep(0.05)
    first.kill()  # while it checks
    first.communicate()
    running.kill()
    running.begin()
    code, told = running.deployed(new, 10**6)
    assert code == 0
    assert [row["status"] for row in told][-1] == "promoted"
    shadowed = next(row for row in told if row["status"] == "shadowing")
    assert shadowed["shadow_fired"] == 0 and shadowed["shadow_differs"] != 0
    running.end()
    begun = asyncio.run(versions(running.begun))
    assert begun["1.0.0"] and begun["2.0.0"]
    assert commands("verify").code == 0
    running.begin()


@pytest.mark.long
def test_a_differing_decision_is_stopped_in_the_shadow(running: Running, commands: Commands) -> None:
    while len(running.begun) < 20:
        time.sleep(0.05)
    code, told = running.deployed(parcel_app(running.place, "2.0.0"), 0)
    assert code == 1 and told[-1]["status"] == "rolled_back"
    assert "differ" in str(told[-1]["text"])
    running.end()
    assert set(asyncio.run(versions(running.begun))) == {"1.0.0"}
    running.begin()


def test_a_version_that_fails_is_taken_back_at_its_first_stage_over_a_kill(
    running: Running, commands: Commands
) -> None:
    new = parcel_app(running.place, "2.0.0")
    edit(new / "app.py", NOTE, f"{NOTE}    raise KeyError('gone')\n")
    deploying = running.deploy(new, 10**6)
    while rollout(commands)["status"] != "rolling":
        assert deploying.poll() is None
    running.kill()
    running.begin()
    out, _ = deploying.communicate(timeout=PATIENCE_S)
    assert deploying.returncode == 1
    now = rollout(commands)
    assert (now["status"], now["stage"]) == ("rolled_back", 0)
    assert "error rate" in str(now["reason"]) and "error rate" in out
    running.kill()
    running.begin()  # it knows of the rollback before it starts, and does not find out within a second
    seen = len(running.begun)
    while len(running.begun) < seen + 40:
        time.sleep(0.05)
    running.end()
    after = asyncio.run(versions(running.begun[seen + 20 :]))
    assert set(after) == {"1.0.0"}
    running.begin()


def test_what_is_wrong_is_named_and_changes_nothing(commands: Commands, place: Path) -> None:
    app = parcel_app(place, "1.0.0")
    (place / "canary.yaml").write_text("reducer_pattern_engine:\n  stagess: [5]\n")
    told = commands("deploy", app, "--canary", "canary.yaml", "--releases", "releases")
    assert told.code == 1 and "canary.yaml:2:3" in told.err and "did you mean 'stages'" in told.err
    (place / "canary.yaml").write_text("reducer_pattern_engine:\n  stages: [50, 5]\n")
    assert "must rise" in commands("deploy", app, "--canary", "canary.yaml", "--releases", "releases").err
    assert "ONEX_RELEASES" in commands("deploy", app).err
    assert commands("deploy").code == 2
    assert not (place / "releases").exists() and not (place / "store.db").exists()


def test_the_file_of_the_design_papers_is_read(place: Path) -> None:
    text = """
reducer_pattern_engine:
  rollout_strategy: "gradual"
  initial_traffic_percentage: 5
  increment_percentage: 10
  success_criteria:
    error_rate_threshold: 0.01
    latency_p99_threshold_ms: 100
    memory_leak_threshold: 0
  monitoring:
    metrics_collection_enabled: true
    alerting_enabled: true
    dashboard_integration: true
"""
    config = load_canary_config(text, "canary_deployment_config.yaml").config
    assert config is not None
    assert list(config.shares) == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 100]
    empty = load_canary_config("reducer_pattern_engine: {}\n", "x").config
    assert empty is not None and list(empty.shares) == [5, 25, 50, 100]
    unmeasured = load_canary_config("reducer_pattern_engine: {monitoring: {metrics_collection_enabled: false}}", "x")
    assert [one.code for one in unmeasured.findings] == ["unknown_value"]
