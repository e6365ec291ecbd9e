"""The functions that serve a workflow's intents: the app's marked functions, checked against the classes the contract names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from types import ModuleType

from ..contracts.compile import CompiledReducer, LocatedContract, PythonPlace
from ..contracts.guard.problem import suggest
from ..contracts.model.schedule import TARGET, WATCH_TARGET
from ..contracts.text.yaml_tree import place_of
from ..kernel.action import Nothing
from ..kernel.errors import ContractError
from ..kernel.intent import EnumIntentType, EnumOutcome, IntentSpec
from ..kernel.target_policy import NO_POLICY, contradictions
from ..nodes.compute import COMPUTE, ComputeIO
from ..nodes.effect import EFFECT, EffectIO, policy_of
from ..nodes.io import Function, FunctionShape, compute_shape, effect_shape
from .load_report import LoadReport
from .target_checks import TargetChecks

Twice = Callable[[str, Function, Function], None]


def marked(module: ModuleType, mark: str, twice: Twice | None = None) -> dict[str, Function]:
    """Functions by the name they were marked with, in the order of the file. ``twice`` is called for the second one of a name."""
    found: dict[str, Function] = {}
    for value in vars(module).values():
        name = getattr(value, mark, None) if inspect.isfunction(value) else None
        if isinstance(name, str):
            if twice is not None and name in found and found[name] is not value:
                twice(name, found[name], value)
            found.setdefault(name, value)
    return found


class Executors:
    """The functions for one workflow. ``known_targets`` are served outside of the app."""

    def __init__(self, report: LoadReport, known_targets: Collection[str]) -> None:
        self.report = report
        self.known_targets = known_targets
        self.effects: dict[str, Function] = {}
        self.computes: dict[str, Function] = {}

    def take(self, part: str, module: ModuleType) -> None:
        """The marked functions of ``effects`` or ``compute``."""
        mark, found = (EFFECT, self.effects) if part == "effects" else (COMPUTE, self.computes)
        for target, function in marked(module, mark, self._twice).items():
            if target in found and found[target] is not function:
                self._twice(target, found[target], function)
            found[target] = function

    def _twice(self, target: str, first: Function, second: Function) -> None:
        other = self.report.of(first)
        message = f"two functions serve {target!r}; the other is {other.path}:{other.line}"
        self.report.error("duplicate", self.report.of(second), message, "give one of them another name")

    def check(self, located: LocatedContract, compiled: CompiledReducer, others: Mapping[str, CompiledReducer]) -> None:
        """Checks that each intent has a function, with the classes its triggers carry. ``others``: by workflow type."""
        if compiled.reducer is None:
            return
        targets = TargetChecks(self.report, located)
        targets.settings()
        for n, declared in enumerate(located.contract.intents):
            spec = compiled.reducer.intents.by_name[declared.name]
            if targets.serves(spec.target):
                succeeded = spec.outcomes.get(EnumOutcome.SUCCEEDED)
                answer = None if succeeded is None else compiled.payloads.get(succeeded)
                targets.call(n, spec, self.effects.get(spec.target), answer)
            elif spec.kind == EnumIntentType.ACTION_SEND:
                self._send(located, n, spec, others)
                self._accepted(located, n, spec, compiled)
            elif spec.kind != EnumIntentType.TIMER:
                self._serve(located, n, spec, compiled)

    def idle(self, named: Mapping[str, set[str]]) -> None:
        """Warns of marked functions that no intent names. ``named[mark]``: the targets of all contracts of the app."""
        for mark, functions in ((EFFECT, self.effects), (COMPUTE, self.computes)):
            for target, function in functions.items():
                if target not in named[mark]:
                    message = f"no intent has the target {target!r}, so {function.__name__} is never called"
                    fix = suggest(target, sorted(named[mark])) or "add an intent to the contract"
                    self.report.warning("unused_function", self.report.of(function), message, fix)

    def _serve(self, located: LocatedContract, n: int, spec: IntentSpec, compiled: CompiledReducer) -> None:
        computed = spec.kind == EnumIntentType.COMPUTE_TASK
        functions = self.computes if computed else self.effects
        function = functions.get(spec.target)
        if spec.target in (TARGET, WATCH_TARGET):
            return  # the engine does
        if function is None:
            if computed or spec.target not in self.known_targets:
                mark, file = ("compute", "compute.py") if computed else ("effect", "effects.py")
                fix = suggest(spec.target, list(functions))
                fix = fix or f'write a function marked @{mark}("{spec.target}") in {file}'
                message = f"nothing serves {spec.target!r}: {file} has no such function"
                self._at(located, n, "target", "no_executor", message, fix)
            return
        declared = located.contract.targets.get(spec.target)
        differ = contradictions(NO_POLICY if declared is None else declared.policy, policy_of(function))
        if differ:
            message = f"the contract and {function.__name__} differ in {' and '.join(differ)} of {spec.target!r}"
            self.report.error("two_policies", self.report.of(function), message, "say it in one place")
        try:
            shape = compute_shape(function, ComputeIO) if computed else effect_shape(function, EffectIO)
        except ContractError as error:
            self.report.failed(error, error.message)
            return
        self._fits(spec, function, shape, compiled)

    def _fits(self, spec: IntentSpec, function: Function, shape: FunctionShape, compiled: CompiledReducer) -> None:
        spot = self.report.of(function)
        sent = spec.payload or Nothing
        if sent is not shape.payload:
            message = f"{shape.name} takes {shape.payload.__name__}; intent {spec.name!r} carries {sent.__name__}"
            fix = f"annotate it {sent.__name__}, or change the contract"
            self.report.error("function_payload", spot, message, fix)
        succeeded = spec.outcomes.get(EnumOutcome.SUCCEEDED)
        if succeeded is None:
            return
        wanted = compiled.payloads.get(succeeded, Nothing)
        if wanted is not shape.result:
            gives = "nothing" if shape.result is Nothing else shape.result.__name__
            takes = "nothing" if wanted is Nothing else wanted.__name__
            fix = f"return {'None' if wanted is Nothing else takes}"
            if shape.result is not Nothing:
                fix += f", or write payload: {gives} at the transitions of {succeeded!r}"
            message = f"{shape.name} returns {gives}; {succeeded!r}, which its success fires, carries {takes}"
            self.report.error("function_result", spot, message, fix)

    def _send(self, located: LocatedContract, n: int, spec: IntentSpec, others: Mapping[str, CompiledReducer]) -> None:
        other = others.get(spec.target)
        if other is None:
            if spec.target not in self.known_targets:
                fix = suggest(spec.target, list(others)) or f"it has {', '.join(others)}"
                message = f"this app has no workflow {spec.target!r}"
                self._at(located, n, "target", "unknown_workflow", message, fix)
            return
        if other.reducer is None:
            return
        taken = other.payloads.get(spec.trigger)
        sent = spec.payload or Nothing
        if taken is None:
            known = list(other.payloads)
            fix = suggest(spec.trigger, known) or f"it has {', '.join(known)}"
            message = f"{spec.target} has no trigger {spec.trigger!r}"
            self._at(located, n, "trigger", "unknown_trigger", message, fix)
        elif sent is not taken:
            message = (
                f"{spec.target}.{spec.trigger} carries {taken.__name__}; intent {spec.name!r} sends {sent.__name__}"
            )
            fix = f"from ..{spec.target}.payloads import {taken.__name__}, and name it here"
            self._at(located, n, "payload", "send_payload", message, fix)

    def _accepted(self, located: LocatedContract, n: int, spec: IntentSpec, compiled: CompiledReducer) -> None:
        """A send that succeeded says only that the action was applied, so its trigger carries nothing."""
        succeeded = spec.outcomes.get(EnumOutcome.SUCCEEDED, "")
        carried = compiled.payloads.get(succeeded, Nothing)
        if carried is not Nothing:
            message = f"{succeeded!r} carries {carried.__name__}; a send that was applied brings nothing back"
            place = place_of(located.tree, ("intents", n, "outcomes", "succeeded"))
            fix = "name a trigger without payload"
            self.report.error("outcome_payload", PythonPlace(*place.spot(located.path)), message, fix)

    def _at(self, located: LocatedContract, n: int, key: str, code: str, message: str, fix: str) -> None:
        place = place_of(located.tree, ("intents", n, key))
        self.report.error(code, PythonPlace(*place.spot(located.path)), message, fix)
