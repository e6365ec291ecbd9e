"""Deployment: what ``onex deploy`` does itself in a rollout: it checks, shadows and tells. What decides is ``workflows/canary``.

In this order, each step where the rollout stands in that status; so one that was killed goes on when it is asked for again:

1. ``none``, ``promoted`` or ``rolled_back``: the app is copied into the folder of releases, and proposed.
2. ``proposed``: an engine that has this folder loads it, and tells which code it runs itself (``wiring/rollout.py``).
3. ``checking``: recorded histories are folded on the new code (what-if), and instances in flight continued (forward check), both
   against the release that runs, and both within a budget of time.
4. ``shadowing``: the new code folds live actions beside the engine.
5. ``rolling``: engines measure and the rollout judges. This only looks.

What may go wrong: no engine has the folder, so nothing adopts the proposal: after ``ADOPT_S`` the proposal is taken back. What a
budget of time left out is counted and told. Ctrl-C leaves the rollout as it stands; in ``rolling`` it goes on by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, JsonValue

from ..app import load_app
from ..contracts.canary_config import CanaryConfig
from ..kernel.errors import OnexError, UnknownWorkflow
from ..repository.releases import Releases
from ..whatif.result import WhatIfTotals
from ..wiring.client import EngineClient
from ..wiring.recorded import RunSource
from ..wiring.rollout import ROLLOUT, canary_of, codes_of
from ..workflows.canary.judge import Criteria
from ..workflows.canary.payloads import Canary, Codes, Found, Propose, Why
from .forward_check import ForwardTask, check_forward
from .shadow_run import ShadowProcess, ShadowTask
from .whatif_run import WhatIfRun, extent_of
from .whatif_work import WhatIfTask

ADOPT_S: Final = 30.0
LOOK_S: Final = 0.2
AT_REST: Final = ("none", "promoted", "rolled_back")


class DeploymentRefused(OnexError):
    """The deployment cannot begin, or go on: another one is under way, or no engine takes part."""

    code = "deployment"


class DeployStep(NamedTuple):
    """Something to tell: ``status`` of the rollout, a sentence, and figures."""

    status: str
    text: str
    counts: Mapping[str, JsonValue] = {}


class _OutOfTime(Exception):
    """The budget of the what-if ended. Never leaves this module."""


class Deployment:
    """One app and a store. ``run`` yields what happens until the rollout is at rest; other methods ask or order once. ``by`` names
    who deploys.

    It runs its own event loop between steps, so it is for programs without one.
    """

    def __init__(self, client: EngineClient, runner: asyncio.Runner, by: str, went: Callable[[str, int], None]) -> None:
        self._client, self._runner, self._by, self._went = client, runner, by, went

    def canary(self) -> Canary:
        """How far the rollout of this app is. Raises what the store raises."""
        return canary_of(self._runner.run(self._client.stored(ROLLOUT))) or Canary()

    def order(self, trigger: str, reason: str) -> Canary:
        """``promote`` or ``roll_back``, by an operator. Raises what the engine refuses it with."""
        self._submit(trigger, Why(reason=reason))
        return self.canary()

    def run(self, app: Path, config: CanaryConfig, releases: Releases, store_url: str) -> Iterator[DeployStep]:
        """Raises DeploymentRefused, ContractError, and what the store raises."""
        loaded = load_app(app)
        codes = codes_of(loaded)
        now = self.canary()
        if now.status == "promoted" and now.new_app == loaded.digest:
            yield DeployStep("promoted", "this version is live already")
            return
        if now.status not in AT_REST and now.new_app != loaded.digest:
            raise DeploymentRefused(
                f"another version is being rolled out ({now.new_app[:12]}, {now.status}); wait for it, or take it back: "
                f"onex deploy --roll-back"
            )
        release = releases.keep(app, loaded.digest, codes)
        if now.status in AT_REST:
            try:
                yield from self._propose(release.digest, codes, config)
            except UnknownWorkflow as error:
                raise DeploymentRefused(
                    f"the engine on this store keeps no versions; start it with --releases {releases.folder}"
                ) from error
        if self.canary().status == "proposed":
            yield from self._await_engine(releases)
        if (now := self.canary()).status == "checking":
            yield from self._check(now, release.app, config, releases, store_url)
        if self.canary().status == "shadowing":
            yield from self._shadow(release.app, config, store_url)
        yield from self._watch()

    def _propose(self, digest: str, codes: Mapping[str, bytes], config: CanaryConfig) -> Iterator[DeployStep]:
        wanted = config.success_criteria
        criteria = Criteria(
            error_rate=wanted.error_rate_threshold,
            latency_p99_ms=wanted.latency_p99_threshold_ms,
            leak_bytes=wanted.memory_leak_threshold,
            held=wanted.held_threshold,
            differences=wanted.difference_threshold,
            min_actions=config.min_actions,
        )
        self._submit(
            "propose",
            Propose(
                new_app=digest,
                codes={name: Codes(new=code.hex()) for name, code in codes.items()},
                criteria=criteria,
                stages=config.shares,
                stage_s=config.stage_s,
                by=self._by,
                alerts=config.monitoring.alerting_enabled,
                dashboard=config.monitoring.dashboard_integration,
            ),
        )
        yield DeployStep("proposed", f"version {digest[:12]} is proposed; waiting for an engine that has it")

    def _await_engine(self, releases: Releases) -> Iterator[DeployStep]:
        until_s = time.monotonic() + ADOPT_S
        while (now := self.canary()).status == "proposed":
            if time.monotonic() > until_s:
                self._submit("roll_back", Why(reason="no engine took part"))
                raise DeploymentRefused(
                    f"no engine took part in {ADOPT_S:g} s; start one on this store with --releases {releases.folder}"
                )
            self._sleep()
        if now.status == "checking":
            yield DeployStep("checking", f"an engine runs {now.base_app[:12]} and has both versions")

    def _check(
        self, now: Canary, new: Path, config: CanaryConfig, releases: Releases, store_url: str
    ) -> Iterator[DeployStep]:
        base = releases.find(now.base_app)
        if base is None:
            self._submit("roll_back", Why(reason="the folder of onex deploy is not that of the engine"))
            raise DeploymentRefused(
                f"the release that runs, {now.base_app[:12]}, is not in {releases.folder}; give the folder of the engine. "
                "The proposal was taken back"
            )
        budget = config.what_if
        past = self._past(store_url, base.app, new, tuple(now.codes), budget.budget_s / 2)
        # what older code decided otherwise is no difference between these two
        today = (
            self._past(store_url, base.app, base.app, tuple(now.codes), budget.budget_s / 2) if past.differs else past
        )
        differ = max(0, past.differs - today.differs) if past.differs else 0
        counts: dict[str, int] = {
            "whatif_instances": past.instances,
            "whatif_differs": differ,
            "whatif_open": past.opened,
        }
        yield DeployStep(
            "checking",
            f"what-if: {past.instances:,} recorded instances, {past.same:,} same, {differ:,} differ from what "
            f"the version that runs decides, {past.opened:,} open",
            {**counts},
        )
        ahead = check_forward(
            ForwardTask(
                store_url, str(base.app), str(new), budget_s=max(1.0, budget.budget_s), instances=budget.instances
            ),
            lambda done, classes: self._went("continuing", 1),
        )
        found = {
            "forward_instances": ahead.instances,
            "forward_again": ahead.again,
            "forward_lost": ahead.lost,
            "forward_stranded": ahead.stranded,
            "forward_not_looked_at": ahead.not_looked_at,
        }
        yield DeployStep(
            "checking",
            f"forward: {ahead.instances:,} instances in flight, {ahead.again:,} would emit again, {ahead.lost:,} lose, "
            f"{ahead.stranded:,} strand, {ahead.not_looked_at:,} not looked at",
            {**found},
        )
        most = config.success_criteria.difference_threshold
        fault = ""
        if differ > most:
            fault = f"{differ:,} recorded instances differ; {most} may (difference_threshold). onex whatif shows them"
        elif wrong := ahead.again + ahead.lost + ahead.stranded:
            fault = f"{wrong:,} instances in flight would emit again, lose or strand: onex forward shows them"
        self._submit("checked", Found(counts={**counts, **found}, fault=fault))

    def _past(self, store_url: str, base: Path, new: Path, names: tuple[str, ...], budget_s: float) -> WhatIfTotals:
        source, until_s = RunSource(store_url=store_url), time.monotonic() + budget_s

        def went(actions: int) -> None:
            self._went("folding", actions)
            if time.monotonic() > until_s:
                raise _OutOfTime

        types, _ = self._runner.run(extent_of(source, None))
        task = WhatIfTask(source, str(new))
        run = WhatIfRun(task, task._replace(app=str(base)), [name for name in types if name in names], went=went)
        try:
            return run.run().tally.totals
        except _OutOfTime:
            return run.tally.totals

    def _shadow(self, new: Path, config: CanaryConfig, store_url: str) -> Iterator[DeployStep]:
        step, most = config.shadow, config.success_criteria.difference_threshold
        process = ShadowProcess(ShadowTask(store_url, str(new)))
        with ExitStack() as held:
            held.callback(process.close)
            until_s = time.monotonic() + step.for_s
            while process.counts.compared < step.actions and time.monotonic() < until_s:
                if process.counts.differs > most or self.canary().status != "shadowing":
                    break
                process.heard(LOOK_S)
            counts = process.stop()
            held.pop_all()  # it has ended
        fault = ""
        if counts.differs > most or counts.fired:
            why = counts.findings[0].why if counts.findings else ""
            fault = f"in the shadow {counts.differs:,} instances differ; {most} may. {why}".strip()
        told = {
            "shadow_actions": counts.compared,
            "shadow_differs": counts.differs,
            "shadow_open": counts.open,
            "shadow_fired": counts.fired,
        }
        yield DeployStep(
            "shadowing",
            f"shadow: {counts.compared:,} actions compared, {counts.differs:,} instances differ, {counts.fired} effects fired",
            {**told},
        )
        if self.canary().status == "shadowing":
            self._submit("shadowed", Found(counts=told, fault=fault))

    def _watch(self) -> Iterator[DeployStep]:
        told: tuple[str, int] | None = None
        while True:
            now = self.canary()
            if now.status == "rolling" and told != (now.status, now.stage):
                told = now.status, now.stage
                yield DeployStep("rolling", f"{now.share:g} % of the instances that begin run on it")
            elif now.status == "promoted":
                yield DeployStep("promoted", "every instance that follows runs on it")
                return
            elif now.status == "rolled_back":
                yield DeployStep("rolled_back", now.reason)
                return
            self._sleep()

    def _submit(self, trigger: str, payload: BaseModel) -> None:
        self._runner.run(self._client.submit(ROLLOUT, trigger, payload.model_dump(mode="json")))

    def _sleep(self) -> None:
        self._runner.run(asyncio.sleep(LOOK_S))
