"""The app under test: one app made ready to be simulated, with what its ``simulation.py`` says of clients and the outside.

Beside an app that is the file ``billing.py``, ``billing_simulation.py`` comes before ``simulation.py``.

    actions(rng, key, state) -> (trigger, payload) | None      what a client does next; None: it is drawn
    effects = {target: function(intent, rng) -> result}        what answers instead of the outside
    def never_charged_twice(world) -> str | None: ...          each function with the one parameter ``world`` is an invariant

All of it may be missing. The app's own effects are never called; its compute functions only where that is asked for.
"""

from __future__ import annotations

import ast
import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from types import ModuleType
from typing import cast

from pydantic import BaseModel

from ...app import App, LoadedWorkflow, load_app
from ...app.finder import FINDER, import_module
from ...app.folder import AppFolder
from ...contracts.load import load_contract
from ...engine.internal_triggers import internal_triggers
from ...engine.registry import ReducerRegistry, Workflow
from ...engine.step_budget import Budgeted
from ...kernel.action import Nothing, WorkflowKey
from ...kernel.errors import ContractError
from ...kernel.finding import EnumSeverity, Finding
from ...kernel.intent import EnumIntentType, EnumOutcome, IntentSpec, ModelIntent
from ...kernel.step import ROLLBACK, State
from ...kernel.user_code import a_type
from ...ports import Executor, StepGuard
from ...repository.contract_files import ONE_FILE
from .values import drawable
from .world import Invariant

FILES = ("simulation", "simulate")

Actions = Callable[[Random, WorkflowKey, State], "tuple[str, BaseModel | None] | None"]
StandIn = Callable[[ModelIntent[BaseModel], Random], BaseModel | Mapping[str, object] | None]


@dataclass(frozen=True, slots=True)
class AppUnderTest:
    """``triggers[workflow_type]`` are those that clients send; ``undrawable`` says why some are not sent."""

    app: App
    actions: Actions | None = None
    stand_ins: Mapping[str, StandIn] = field(default_factory=dict)
    invariants: Mapping[str, Invariant] = field(default_factory=dict)
    triggers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    undrawable: Mapping[str, str] = field(default_factory=dict)
    real_compute: bool = False
    shown: str = ""
    """The app as its user named it."""

    @property
    def workflows(self) -> Mapping[str, LoadedWorkflow]:
        return self.app.workflows

    def registry(self, outside: Executor, guard: StepGuard) -> ReducerRegistry:
        """``outside`` serves every intent; ``guard`` ends a step that does not end by itself."""
        return ReducerRegistry(tuple(self._workflow(one, outside, guard) for one in self.workflows.values()))

    def _workflow(self, one: LoadedWorkflow, outside: Executor, guard: StepGuard) -> Workflow:
        targets = {spec.target: outside for spec in one.reducer.intents.by_name.values() if spec.target}
        return Workflow(
            Budgeted(one.reducer, guard), one.code, targets, one.unleased, public=one.public, policies=one.policies
        )

    def spec(self, intent: ModelIntent[BaseModel]) -> IntentSpec:
        assert intent.workflow_key is not None, "an intent that is served has a key"
        return self.workflows[intent.workflow_key.workflow_type].reducer.intents.by_name[intent.name]

    def result_model(self, workflow_type: str, spec: IntentSpec) -> type[BaseModel]:
        """The class of the intent's result; Nothing where its success has no trigger."""
        trigger = spec.outcomes.get(EnumOutcome.SUCCEEDED)
        payloads = self.workflows[workflow_type].reducer.payloads
        return Nothing if trigger is None else payloads[trigger]


def load_app_under_test(path: Path | str, *, real_compute: bool = False) -> AppUnderTest:
    """The app of a folder, with its ``simulation.py``. Raises ContractError, which names file and line, and Undrawable."""
    folder = AppFolder(Path(path))
    FINDER.forget(
        FINDER.mount(folder, folder.digest)
    )  # simulation.py is no code of the app's: it may have changed alone
    app = load_app(path, _targets(folder))
    app = replace(app, workflows=app.written)  # schedules are the engine's, and are simulated with it
    module = _module(folder, app)
    found = vars(module) if module is not None else {}
    actions = found.get("actions")
    stand_ins = found.get("effects", {})
    if not isinstance(stand_ins, Mapping):
        raise _wrong(module, f"effects is {a_type(stand_ins)}", "write effects = {'target': function}")
    targets = {spec.target for one in app.workflows.values() for spec in one.reducer.intents.by_name.values()}
    for target in stand_ins:
        if target not in targets:
            known = ", ".join(sorted(filter(None, targets))) or "none"
            raise _wrong(module, f"effects names {target!r}, which no intent has as its target", f"there is {known}")
    invariants = {
        name: one
        for name, one in found.items()
        if inspect.isfunction(one) and list(inspect.signature(one).parameters) == ["world"]
    }
    _check_asked(module, found, invariants, [actions, *stand_ins.values()])
    triggers = {name: _own_triggers(one, app) for name, one in app.workflows.items()}
    undrawable: dict[str, str] = {}
    for name, one in app.workflows.items():
        for trigger in triggers[name]:
            why = drawable(one.reducer.payloads[trigger], blobs=False)
            if why:
                undrawable[f"{name}.{trigger}"] = why
    under_test = AppUnderTest(
        app,
        cast("Actions | None", actions),
        cast("Mapping[str, StandIn]", stand_ins),
        invariants,
        {name: tuple(one for one in own if f"{name}.{one}" not in undrawable) for name, own in triggers.items()},
        undrawable,
        real_compute,
        str(path),
    )
    _check_results(under_test, module)
    return under_test


def _targets(folder: AppFolder) -> set[str]:
    """Every target that the app or its opener serves. Here stand-ins serve them, so nobody needs to give an executor."""
    inside = (EnumIntentType.COMPUTE_TASK, EnumIntentType.ACTION_SEND)
    loaded = [
        load_contract(data.decode(errors="replace"), path) for path, data in map(folder.contract, folder.workflows)
    ]
    contracts = [one.contract for one in loaded if one.contract is not None]
    return {one.target or "" for contract in contracts for one in contract.intents if one.type not in inside}


def _own_triggers(one: LoadedWorkflow, app: App) -> tuple[str, ...]:
    """Those that clients may send: no outcome, timer or message brings them, or the contract lists them under ``public``."""
    internal = internal_triggers({name: other.reducer.intents for name, other in app.workflows.items()})
    ours = {ROLLBACK, *internal[one.name]} - one.public
    return tuple(trigger for trigger in one.reducer.payloads if trigger not in ours)


def _check_asked(
    module: ModuleType | None, found: Mapping[str, object], invariants: Mapping[str, Invariant], others: list[object]
) -> None:
    """Every function must be an invariant, or be called by something: an invariant that is never asked would always hold."""
    if module is None:
        return
    own = {
        name: one
        for name, one in found.items()
        if inspect.isfunction(one) and one.__module__ == module.__name__ and not name.startswith("_")
    }
    named = {
        one.id if isinstance(one, ast.Name) else one.attr
        for one in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")))
        if isinstance(one, ast.Name | ast.Attribute)
    }
    for name, one in own.items():
        line = one.__code__.co_firstlineno
        if name in invariants:
            if inspect.iscoroutinefunction(one) or inspect.isgeneratorfunction(one):
                raise _wrong(
                    module, f"{name} is async or yields, so it returns no answer", "write a plain function", line
                )
        elif name not in named and one not in others:
            fix = f"write def {name}(world), or _{name} for what is none"
            raise _wrong(module, f"{name} is no invariant, and nothing calls it", fix, line)


def _check_results(under_test: AppUnderTest, module: ModuleType | None) -> None:
    """Every target without a function of the user's can be answered with a drawn value."""
    for name, one in under_test.workflows.items():
        for spec in one.reducer.intents.by_name.values():
            model = under_test.result_model(name, spec)
            if spec.target not in under_test.stand_ins and (why := drawable(model, blobs=True)):
                fix = (
                    f"write in simulation.py: effects = {{{spec.target!r}: function(intent, rng) -> {model.__name__}}}"
                )
                raise _wrong(module, f"no answer can be drawn for {spec.target!r}: {why}", fix)


def _module(folder: AppFolder, app: App) -> ModuleType | None:
    named = folder.source not in ("", ONE_FILE.removesuffix(".py"))  # one of several apps in a folder
    names = (*(f"{folder.source}_{name}" for name in FILES if named), *FILES)
    name = next((name for name in names if (module := folder.module(name)) and module.path.is_file()), None)
    if name is None:
        return None
    package = FINDER.mount(folder, app.digest)
    try:
        return import_module(package, name)
    except Exception as error:
        root = f"{folder.root}/"
        frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(root)]
        line = frames[-1].lineno or 0 if frames else getattr(error, "lineno", 0) or 0
        place = folder.show(Path(frames[-1].filename)) if frames else f"{folder.shown}/{name}.py"
        finding = Finding(
            "import_failed", EnumSeverity.ERROR, place, line, 0,
            f"importing {name}.py failed: {type(error).__name__}: {error}", "fix it, or delete it: it is optional",
        )  # fmt: skip
        raise ContractError(f"{place} cannot be used: {finding.message}", (finding,)) from error


def _wrong(module: ModuleType | None, message: str, fix: str, line: int = 0) -> ContractError:
    place = str(getattr(module, "__file__", None) or "simulation.py")
    return ContractError(
        f"{place}: {message}", (Finding("simulation", EnumSeverity.ERROR, place, line, 0, message, fix),)
    )
