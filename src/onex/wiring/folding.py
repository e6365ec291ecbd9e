"""An app for folding only: its effects are replaced by one counter."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from ..adapters.watchdog import Watchdog
from ..app import load_app
from ..engine.registry import ReducerRegistry, Workflow
from ..engine.step_budget import Budgeted
from ..kernel.errors import EffectFailed
from ..kernel.intent import ModelIntent
from ..kernel.quota import ResourceLimits
from ..ports import Result
from ..settings import read_settings
from .alert_workflows import ALERT_TYPES, ALERTS_APP
from .rollout import CANARY, CANARY_APP
from .served import with_step_guard


class Boundary:
    """Stands in for every effect. It counts calls and runs nothing; after any fold ``fired`` must be 0."""

    def __init__(self) -> None:
        self.fired = 0

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        self.fired += 1
        raise EffectFailed(f"{intent.name!r} was to run in a process that only folds", code="folding")


class InertApp:
    """The code of a folder, for folding only. A step that exceeds its budget is ended."""

    def __init__(self, app: Path, *, beside: bool = False) -> None:
        """``beside``: with the workflows that an engine runs beside it, for alerts and rollouts. Raises ContractError."""
        self.boundary = Boundary()
        self._watchdog = Watchdog(read_settings().step_budget_s)
        self.app = load_app(app)
        apps = [self.app]
        for types, name in ((ALERT_TYPES, ALERTS_APP), ((CANARY,), CANARY_APP)):
            if beside and not set(types) & set(self.app.workflows):
                apps.append(load_app(name))
        self.registry = ReducerRegistry(
            tuple(
                Workflow(
                    Budgeted(one.reducer, self._guard(one.limits)),
                    one.code,
                    dict.fromkeys((*one.effects, *one.computes), self.boundary),
                    one.unleased,
                    with_step_guard(one.migrations, self._guard(one.limits)),
                    one.public,
                )
                for loaded in apps
                for one in loaded.workflows.values()
            )
        )

    def _guard(self, limits: ResourceLimits) -> Watchdog:
        """Its own budget only where that is longer: what was committed under it is folded again, and not judged again."""
        return self._watchdog.of(max(limits.step_budget_ms or 0, round(1000 * self._watchdog.budget_s)))

    def close(self) -> None:
        self._watchdog.close()
