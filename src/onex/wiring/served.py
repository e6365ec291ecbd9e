"""What serves the intents of an app in this process: its own functions, built-in effects by the blocks of ``targets``, compute
workers, and what the program gave instead.

What the program gives wins over the app's own function of that target, so that a test never reaches the outside by mistake.
A target that no intent has is refused: a misspelled one would leave the real function where it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from pydantic import BaseModel

from ..adapters.watchdog import Watchdog
from ..app import App, LoadedWorkflow
from ..contracts.guard.problem import suggest
from ..effects.build import built_executor
from ..effects.context import EffectContext
from ..engine.registry import Workflow
from ..engine.step_budget import Budgeted
from ..engine.versions import Versions
from ..kernel.errors import EffectFailed
from ..kernel.intent import EnumIntentType, EnumOutcome, ModelIntent
from ..kernel.migration import Migrations
from ..nodes.compute import Workers
from ..nodes.compute_call import ResultCache
from ..nodes.compute_executor import ComputeExecutor
from ..nodes.effect import NOBODY, ContainedExecutor, FunctionExecutor
from ..nodes.given import GivenEffect, InvalidExecutor, given_executor
from ..nodes.isolated_call import RunSync
from ..ports import Blobs, Executor, Result, StepGuard
from .schedules import Schedules

INSIDE = (EnumIntentType.TIMER, EnumIntentType.ACTION_SEND)
"""The engine serves these itself."""


def with_step_guard(migrations: Migrations, guard: StepGuard) -> Migrations:
    """The same migrations under the guard: a function that never returns fails its value, not the engine."""
    return replace(migrations, budget=guard)


def targets_of(app: App) -> tuple[str, ...]:
    """Targets that a function serves, compute functions included, in the order of the contracts."""
    specs = [spec for one in app.workflows.values() for spec in one.reducer.intents.by_name.values()]
    return tuple(dict.fromkeys(spec.target for spec in specs if spec.kind not in INSIDE and spec.target))


def check_targets(app: App, given: Collection[str]) -> None:
    """Raises InvalidExecutor for the first target that the app does not have."""
    known = targets_of(app)
    for target in given:
        if target not in known:
            words = (suggest(target, known), f"it has {', '.join(known)}" if known else "it has no target at all")
            raise InvalidExecutor(
                f"executors: the app {app.name} has no target {target!r}; {' '.join(filter(None, words))}"
            )


class NoOutside:
    """Stands for a built-in effect where there is no outside: in virtual time."""

    def __init__(self, target: str) -> None:
        self._target = target

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed."""
        raise EffectFailed(
            f"{self._target!r} is outside, and a run in virtual time reaches nothing there; give a function for it: "
            f"executors={{{self._target!r}: lambda intent: ...}}",
            code="not_reached",
        )


class ServedApp(NamedTuple):
    """What makes the executors of one app. ``run_sync`` runs functions that are not async; ``workers`` run compute functions.

    ``context`` is for built-in effects, and is closed by the engine; None where nothing outside may be reached. ``schedules`` fires
    those of the app.
    """

    app: App
    blobs: Blobs
    run_sync: RunSync
    workers: Workers | None
    given: Mapping[str, GivenEffect]
    watchdog: Watchdog
    context: EffectContext | None
    schedules: Schedules | None = None

    def registry(self, others: Sequence[App] = ()) -> Versions:
        """``others``: versions of the app beside it, whose instances it serves too. Raises InvalidExecutor."""
        check_targets(self.app, self.given)
        return Versions(self.workflows(), [one for app in others for one in self._replace(app=app).workflows()])

    def workflows(self) -> Iterator[Workflow]:
        """Each workflow of the app, with what serves its intents."""
        return map(self._workflow, self.app.workflows.values())

    def _workflow(self, one: LoadedWorkflow) -> Workflow:
        executors: dict[str, Executor] = {}
        at_once: dict[str, int] = {}
        events = NOBODY if self.context is None else self.context.events
        for spec in one.reducer.intents.by_name.values():
            at_once[spec.target] = max(spec.concurrency, at_once.get(spec.target, 1))
        policies = one.policies
        at_once |= {target: policy.concurrency for target, policy in policies.items() if policy.concurrency}
        for target, function in one.effects.items():
            executors[target] = FunctionExecutor(
                function, self.blobs, self.run_sync, target=target, concurrency=at_once.get(target, 1), events=events
            )
        if self.workers is not None:
            cache = ResultCache()
            for name, function in one.computes.items():
                where = (str(self.app.root), self.app.digest, one.name, name)
                specs = one.reducer.intents.by_name.values()
                limit_s = max((spec.timeout_s for spec in specs if spec.target == name), default=None)
                executors[name] = ComputeExecutor(
                    self.workers, self.blobs, where=where, function=function, timeout_s=limit_s, cache=cache
                )

        def result_model(intent: ModelIntent[BaseModel]) -> type[BaseModel] | None:
            trigger = one.reducer.intents.by_name[intent.name].outcomes.get(EnumOutcome.SUCCEEDED)
            return None if trigger is None else one.reducer.payloads.get(trigger)

        for target, declared in one.contract.targets.items():
            if declared.blocks and target not in self.given:
                calls = {call.name: call for call in one.contract.intents if call.target == target}
                if self.context is None:
                    executors[target] = NoOutside(target)
                    continue
                built = built_executor(target, declared, calls, result_model, self.context)
                executors[target] = ContainedExecutor(built, target, at_once.get(target, 1))
        asked = {spec.target for spec in one.reducer.intents.by_name.values()}
        all_fired = {} if self.schedules is None else self.schedules.effects
        fired = {target: effect for target, effect in all_fired.items() if target in asked}
        for target, given in {**fired, **self.given}.items():  # of another version it may be a target too many
            executors[target] = given_executor(
                given, target, at_once.get(target, 1), self.blobs, self.run_sync, result_model, events
            )
        bus = one.contract.event_bus
        if self.context is not None and bus is not None and bus.required and bus.subscribe_topics:
            self.context.bus.needed_by(f"{one.name} reads {bus.subscribe_topics[0].topic} from")
        guard = self.watchdog.of(one.limits.step_budget_ms)
        return Workflow(
            Budgeted(one.reducer, guard),
            one.code,
            executors,
            one.unleased,
            with_step_guard(one.migrations, guard),
            one.public,
            one.limits,
            policies,
            one.ends,
            one.consumed,
            one.search,
            one.pinned,
        )
