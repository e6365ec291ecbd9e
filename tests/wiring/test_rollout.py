"""A rollout in a real engine: stages, judgement, rollback, and a restart in between. Stages last tenths of a second here."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import JsonValue

import onex
from onex.app import load_app
from onex.kernel.action import WorkflowKey
from onex.repository.releases import Releases
from onex.wiring import rollout
from onex.wiring.engine import WiredEngine
from onex.wiring.rollout import canary_of, codes_of
from onex.workflows.canary.judge import Criteria
from onex.workflows.canary.payloads import Canary, Codes, Propose
from tests.app.apps import edit
from tests.wiring.version_apps import acts, parcel_app

KEY = "onex_canary:app"
FOUND: dict[str, JsonValue] = {}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "LOOK_S", 0.05)


class Shop:
    """An engine of the old app on a store in ``folder``, and a new version that is to go live."""

    def __init__(self, folder: Path, old: Path, new: Path) -> None:
        self.url, self.folder, self.old, self.new = f"sqlite:///{folder}/store.db", folder / "releases", old, new
        self.number = 0

    @asynccontextmanager
    async def engine(self, app: Path | None = None) -> AsyncIterator[WiredEngine]:
        opened = onex.open(self.url, app or self.old, releases=self.folder, check_all=True)
        async with asyncio.timeout(30), await opened as engine:
            yield engine

    async def propose(self, engine: WiredEngine, criteria: Criteria, stage_s: float = 0.15) -> None:
        app = load_app(self.new)
        Releases(self.folder).keep(self.new, app.digest, codes_of(app))
        codes = {name: Codes(new=code.hex()) for name, code in codes_of(app).items()}
        asked = Propose(new_app=app.digest, codes=codes, criteria=criteria, stages=(25.0, 50.0, 100.0), stage_s=stage_s)
        await engine.submit(KEY, "propose", asked.model_dump(mode="json"))
        await self.until(engine, lambda now: now.status == "checking")
        await engine.submit(KEY, "checked", FOUND)
        await engine.submit(KEY, "shadowed", FOUND)

    async def canary(self, engine: WiredEngine) -> Canary:
        now = canary_of(await engine.stored(KEY))
        assert now is not None
        return now

    async def until(self, engine: WiredEngine, reached: Callable[[Canary], bool], work: bool = False) -> Canary:
        while not reached(now := await self.canary(engine)):
            if work:
                await self.work(engine)
            else:
                await asyncio.sleep(0.02)
        return now

    async def obeyed(self, engine: WiredEngine, status: str) -> None:
        """Returns when the engine has seen that the rollout stands so."""
        while engine.rollout is None or engine.rollout.shown is None or engine.rollout.shown.status != status:
            await asyncio.sleep(0.02)

    async def work(self, engine: WiredEngine, many: int = 20) -> list[str]:
        """So many parcels from begin to end."""
        keys = [f"parcel:{self.number + n}" for n in range(many)]
        self.number += many
        await self.begin(engine, keys)
        await engine.submit_many(acts(keys, "note"))
        await engine.submit_many(acts(keys, "pay"))
        return keys

    async def begin(self, engine: WiredEngine, keys: list[str]) -> None:
        await engine.submit_many(acts(keys, "sent", {"grams": 3}))
        await asyncio.gather(*(engine.wait(key, "weighed") for key in keys))

    async def versions(self, engine: WiredEngine, keys: list[str]) -> Counter[str]:
        """Under which version each began."""
        states = [await engine.state(key) for key in keys]
        return Counter(str(getattr(state, "by", "")).partition(",")[0] for state in states)


FEW = Criteria(min_actions=20, latency_p99_ms=60_000)


def test_a_good_version_goes_to_all_and_survives_a_restart_of_the_old_one(tmp_path: Path) -> None:
    shop = Shop(tmp_path, parcel_app(tmp_path, "1.0.0"), parcel_app(tmp_path, "2.0.0"))

    async def script() -> None:
        async with shop.engine() as engine:
            assert await shop.versions(engine, await shop.work(engine)) == {"1.0.0": 20}
            await shop.propose(engine, FEW)
            await shop.until(engine, lambda now: now.stage >= 1, work=True)
        async with shop.engine() as engine:  # in the middle of it
            await shop.until(engine, lambda now: now.status == "promoted", work=True)
            await shop.obeyed(engine, "promoted")
            assert await shop.versions(engine, await shop.work(engine)) == {"2.0.0": 20}
        async with shop.engine() as engine:  # a supervisor still starts the old folder: it does not go back by accident
            assert await shop.versions(engine, await shop.work(engine)) == {"2.0.0": 20}

    asyncio.run(script())


def test_a_version_that_fails_goes_back_at_its_first_stage_and_nothing_is_lost(tmp_path: Path) -> None:
    new = parcel_app(tmp_path, "2.0.0")
    head = "def note(parcel: Parcel, action: Action[Note]) -> Step[Parcel]:\n"
    edit(new / "app.py", head, f"{head}    raise KeyError('gone')\n")
    shop = Shop(tmp_path, parcel_app(tmp_path, "1.0.0"), new)

    async def script() -> None:
        async with shop.engine() as engine:
            await shop.propose(engine, FEW, stage_s=30)
            await shop.until(engine, lambda now: now.share == 25)
            began: list[str] = []
            while (await shop.canary(engine)).status == "rolling":
                keys = [f"parcel:{shop.number + n}" for n in range(20)]
                shop.number += 20
                began += keys
                await shop.begin(engine, keys)
                await engine.submit_many(acts(keys, "note"))
                await asyncio.sleep(0.05)
            now = await shop.canary(engine)
            assert (now.status, now.share) == ("rolled_back", 0.0)
            assert "error rate" in now.reason
            await shop.obeyed(engine, "rolled_back")
            assert await shop.versions(engine, await shop.work(engine)) == {"1.0.0": 20}
            # the instances that began under it go on under the old code, which reads their state
            done = await engine.submit_many(acts(began, "pay"))
            assert {getattr(one, "status", one) for one in done} == {"paid"}

    asyncio.run(script())


def test_a_state_that_grows_without_end_goes_back(tmp_path: Path) -> None:
    new = parcel_app(tmp_path, "2.0.0")
    text = (new / "app.py").read_text()
    (new / "app.py").write_text(text.replace("note 2.0.0", "note 2.0.0" + " and much more of it" * 30))
    shop = Shop(tmp_path, parcel_app(tmp_path, "1.0.0"), new)

    async def script() -> None:
        async with shop.engine() as engine:
            await shop.propose(engine, FEW, stage_s=30)
            now = await shop.until(engine, lambda now: now.status == "rolled_back", work=True)
            assert "grows" in now.reason

    asyncio.run(script())


def test_a_version_that_no_engine_can_load_is_taken_back_with_the_reason(tmp_path: Path) -> None:
    new = parcel_app(tmp_path, "2.0.0")
    shop = Shop(tmp_path, parcel_app(tmp_path, "1.0.0"), new)

    async def script() -> None:
        async with shop.engine() as engine:
            app = load_app(new)
            release = Releases(shop.folder).keep(new, app.digest, codes_of(app))
            source = next(release.app.rglob("app.py"))
            source.write_text(source.read_text() + "\n# changed behind its digest\n")
            codes = {name: Codes(new=code.hex()) for name, code in codes_of(app).items()}
            await engine.submit(KEY, "propose", Propose(new_app=app.digest, codes=codes).model_dump(mode="json"))
            now = await shop.until(engine, lambda now: now.status == "rolled_back")
            assert "digest" in now.reason
            assert await shop.versions(engine, await shop.work(engine)) == {"1.0.0": 20}

    asyncio.run(script())


def test_an_operator_promotes_and_takes_back(tmp_path: Path) -> None:
    shop = Shop(tmp_path, parcel_app(tmp_path, "1.0.0"), parcel_app(tmp_path, "2.0.0"))

    async def script() -> None:
        async with shop.engine() as engine:
            await shop.propose(engine, FEW, stage_s=30)
            await engine.submit(KEY, "promote")
            await shop.obeyed(engine, "promoted")
            assert await shop.versions(engine, await shop.work(engine)) == {"2.0.0": 20}
            await engine.submit(KEY, "roll_back", {"reason": "too many calls"})
            await shop.obeyed(engine, "rolled_back")
            assert await shop.versions(engine, await shop.work(engine)) == {"1.0.0": 20}
            registry = engine.registry
            assert registry.chosen(WorkflowKey("parcel", "x"), 0).code.contract_version == "1.0.0"

    asyncio.run(script())


RENDER = """
name: render
contract_version: {{major: {version}, minor: 0, patch: 0}}
node_type: REDUCER_GENERIC
state_machine:
  initial_state: new
  terminal_states: [done]
  transitions:
    - {{from_state: new, to_state: at_work, trigger: begin}}
    - {{from_state: at_work, to_state: done, trigger: finish}}
start: {{trigger: begin, concurrency: 2}}
"""


def test_the_queue_of_a_version_that_went_live_begins_its_runs(tmp_path: Path) -> None:
    old, new = tmp_path / "1" / "render", tmp_path / "2" / "render"
    for version, home in enumerate((old, new), 1):
        home.mkdir(parents=True)
        (home / "contract.yaml").write_text(RENDER.format(version=version))
    shop = Shop(tmp_path, old, new)

    async def script() -> None:
        async with shop.engine() as engine:
            await shop.propose(engine, FEW, stage_s=30)
            await engine.submit(KEY, "promote")
            await shop.obeyed(engine, "promoted")
            assert engine.registry["render_start"].code.contract_version == "2.0.0"
            await engine.submit("render_start:all", "ask", {"id": "one"})
            await engine.wait("render:one", "at_work")

    asyncio.run(script())
