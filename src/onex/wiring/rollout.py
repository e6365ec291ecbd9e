"""RolloutFollower: one engine's part in a rollout. It reads how far the rollout is, acts by that, and tells what it measures.

The rollout itself is an instance of ``onex:canary``, `onex_canary:app`, in the same store, and decides (``workflows/canary``).
Every ``LOOK_S`` each engine does this:

1. It reads that instance. No such instance, or one that names neither code of this engine: nothing is done.
2. A release that the instance names and that is not loaded yet is loaded from the folder of releases, and may judge from now on.
3. ``Versions.roll`` gets the shares: which code is the base, which the new one, and how many of those that begin go there.
4. In ``proposed`` it tells that it has both versions, and which codes it runs (``adopt``); or why it cannot load the new one.
5. In ``rolling`` it tells what its versions did since it last told (``sampled``). Each sample has an id of its own, so it counts
   once; what could not be told is told with the next one.

What may go wrong, and why the end is still right: this process is killed. What it had not told is lost, and the judgement is made
of what was told; the stage goes on with the next engine. The release is not at hand in this process: instances begin under
the base here, and an event says so. The store does not answer: the shares stay as they were, and it is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ValidationError

from ..adapters.clock import UuidV7
from ..app import App, load_app
from ..engine.intake import write_wire
from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.registry import Workflow
from ..engine.version_counts import VersionCounts, VersionFigures
from ..engine.versions import SHARES, Rollout, Versions
from ..kernel.action import ModelAction, WorkflowKey
from ..kernel.errors import OnexError
from ..kernel.route import shard_of
from ..ports import Sender, Stored
from ..repository.releases import Release, Releases
from ..workflows.canary.judge import Figures, Growth
from ..workflows.canary.payloads import Adopt, Canary, StageSample, Why
from .served import ServedApp

CANARY: Final = "onex_canary"
CANARY_APP: Final = "onex:canary"
ROLLOUT: Final = WorkflowKey(CANARY, "app")
"""The rollout of the one app that runs on a store."""
LOOK_S: Final = 1.0


def canary_of(stored: Stored | None) -> Canary | None:
    """None where nothing was rolled out, or where newer code wrote it."""
    if stored is None or not stored.version:
        return None
    try:
        return Canary.model_validate_json(stored.state)
    except ValidationError:
        return None


def codes_of(app: App) -> Mapping[str, bytes]:
    return {name: one.code.digest for name, one in app.workflows.items()}


def rollouts_of(canary: Canary) -> Mapping[str, Rollout]:
    """What each workflow's instances run on. A workflow whose code is the same in both versions has no rollout."""
    found: dict[str, Rollout] = {}
    for name, codes in canary.codes.items():
        base, new = bytes.fromhex(codes.base), bytes.fromhex(codes.new)
        if not base or base == new:
            continue
        if canary.status == "promoted":
            found[name] = Rollout(new, new, 0, ended=True)
        else:
            share = round(canary.share * SHARES / 100) if canary.status == "rolling" else 0
            found[name] = Rollout(base, new, share, ended=canary.status == "rolled_back")
    return found


async def followed(engine: ReducerPatternEngine, sender: Sender, served: ServedApp, folder: Path) -> RolloutFollower:
    """The follower of an engine that has not started yet, whose own app is kept in ``folder``. Raises ReleaseUnusable."""
    registry, releases = engine.registry, Releases(folder)
    for workflow in served._replace(app=load_app(CANARY_APP)).workflows():
        registry.register(workflow)
    own = releases.keep(served.app.root, served.app.digest, codes_of(served.app))
    follower = RolloutFollower(engine, sender, own, releases, served)
    await follower.begin()
    return follower


class RolloutFollower:
    """Of one engine. ``served`` makes the executors of a version that is loaded later."""

    def __init__(
        self,
        engine: ReducerPatternEngine,
        sender: Sender,
        own: Release,
        releases: Releases,
        served: ServedApp,
    ) -> None:
        registry = engine.registry
        assert isinstance(registry, Versions), "an engine with releases knows several versions"
        self._engine, self._own, self._releases, self._served = engine, own, releases, served
        self._registry, self._sender = registry, sender
        self._ids = UuidV7()
        self.shown: Canary | None = None
        """How far it was at the last look."""
        self._refused, self._missed = set[str](), set[str]()
        self._stage: tuple[str, int] | None = None
        self._untold: dict[tuple[str, bytes], VersionFigures] = {}
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Before the engine starts: what it takes over may stand on a version that went live since, or be pinned to one."""
        pinned = {one.code.workflow_type for one in self._registry.workflows if one.pinned}
        stored = {code.digest for code in (await self._engine.reader.codes()).values() if code.workflow_type in pinned}
        for release in self._releases.all() if stored else ():
            if stored & set(release.codes.values()):
                with suppress(OnexError):
                    self._load(release.digest)
        canary = canary_of((await self._engine.reader.load([ROLLOUT])).get(ROLLOUT))
        if canary is not None and canary.known and not self._concerns(canary):
            self._engine.service.events("rollout_bypassed", version=self._own.digest[:12], live=canary.new_app[:12])
        if canary is not None and self._concerns(canary):
            for digest in (canary.base_app, canary.new_app):
                with suppress(OnexError):
                    self._load(digest)
            self._roll(canary)

    def start(self) -> None:
        self._task = asyncio.create_task(self._follow(), name="onex-rollout")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            try:
                await self.look()
            except OnexError as error:
                if self._engine.service.closed is not None:
                    return
                self._engine.service.events("rollout_not_followed", error=error.message)
            await self._engine.clock.sleep(LOOK_S)

    async def look(self) -> None:
        """One look. Raises what the store raises."""
        canary = canary_of(await self._engine.stored(ROLLOUT))
        if canary is None or not self._concerns(canary):
            return
        for digest in (canary.base_app, canary.new_app):
            await self._bring(digest, canary)
        self._roll(canary)
        if canary.status == "proposed" and self._has_new(canary):
            bases = {name: self._registry[name].code.digest.hex() for name in canary.codes if name in self._registry}
            base = canary.base_app if self._own.digest in canary.known else self._own.digest
            await self._tell("adopt", Adopt(base_app=base, bases=bases))
        if canary.status == "rolling":
            await self._sample(canary)
        else:
            self._engine.service.judged, self._stage = None, None

    def _concerns(self, canary: Canary) -> bool:
        """An engine that was started with code that never was rolled out runs that code, until something is proposed."""
        return canary.status == "proposed" or self._own.digest in canary.known

    def _has_new(self, canary: Canary) -> bool:
        return all(
            self._registry.has(name, bytes.fromhex(codes.new))
            for name, codes in canary.codes.items()
            if name in self._registry
        )

    def _roll(self, canary: Canary) -> None:
        events, before = self._engine.service.events, self.shown
        self.shown = canary
        rollouts = rollouts_of(canary)
        if rollouts != self._registry.rollouts:
            self._registry.roll(rollouts)
        if before is not None and (before.status, before.share) == (canary.status, canary.share):
            return
        events("rollout", status=canary.status, share_percent=canary.share)
        if canary.status == "rolled_back" and canary.alerts and before is not None:
            events("rollout_taken_back", version=canary.new_app[:12], reason=canary.reason)

    def _load(self, digest: str) -> list[Workflow]:
        """The versions of a release that are new here. Raises ContractError."""
        release = None if not digest or digest == self._own.digest else self._releases.find(digest)
        if release is None:
            return []
        app = load_app(release.app, digest=digest)
        served = self._served._replace(app=app)
        brought = [self._registry.bring(one) for one in served.workflows()]
        return [one for one in brought if one is not None]

    async def _bring(self, digest: str, canary: Canary) -> None:
        if not digest or digest in self._refused or digest == self._own.digest:
            return
        codes = [(name, one.new if digest == canary.new_app else one.base) for name, one in canary.codes.items()]
        if all(self._registry.has(name, bytes.fromhex(code)) for name, code in codes if code):
            return
        if self._releases.find(digest) is None:  # it may come, for example on a disk that machines share
            if digest not in self._missed:
                self._missed.add(digest)
                self._engine.service.events("release_missing", digest=digest[:16], folder=str(self._releases.folder))
            return
        try:
            brought = self._load(digest)
        except OnexError as error:
            self._refused.add(digest)
            if canary.status == "proposed" and digest == canary.new_app:
                await self._tell("roll_back", Why(reason=f"an engine cannot load it: {error.message}"[:2000]))
            return
        for workflow in brought:
            await self._engine.service.judge_by(workflow)

    async def _sample(self, canary: Canary) -> None:
        service, stage = self._engine.service, (canary.new_app, canary.stage)
        if service.judged is None or self._stage != stage:
            self._stage, self._untold = stage, {}
            service.judged = VersionCounts(service.clock, canary.criteria.latency_p99_ms / 1000)
            return
        for version, figures in service.judged.taken().items():
            self._untold.setdefault(version, VersionFigures()).add(figures)
        counted = self._untold
        old, new = Figures(), Figures()
        for name, codes in canary.codes.items():
            old = old.plus(_figures(counted.get((name, bytes.fromhex(codes.base)), VersionFigures())))
            new = new.plus(_figures(counted.get((name, bytes.fromhex(codes.new)), VersionFigures())))
        if new.judged or old.judged:
            await self._tell("sampled", StageSample(new_app=canary.new_app, stage=canary.stage, old=old, new=new))
        self._untold = {}

    async def _tell(self, trigger: str, payload: BaseModel) -> None:
        """To the rollout, through the inbox, wherever it is owned. One that is refused came too late, or another engine said it."""
        action = ModelAction(
            workflow_key=ROLLOUT,
            kind=trigger,
            command_payload=payload.model_dump(mode="json"),
            action_id=UUID(bytes=self._ids.new()),
            issuer="engine",
        )
        shard = shard_of(ROLLOUT, self._sender.shards)
        await self._sender.send(write_wire(action), self._engine.clock.now_us(), shard)


def _figures(counted: VersionFigures) -> Figures:
    growth = {name: Growth(actions=n, added=added, sizes=sizes) for name, (n, added, sizes) in counted.growth.items()}
    return Figures(actions=counted.actions, errors=counted.errors, slow=counted.slow, held=counted.held, growth=growth)
