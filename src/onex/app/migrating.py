"""The migrations of one workflow, gathered from its ``migrations.py`` and held against its contract."""

from __future__ import annotations

import inspect
from types import ModuleType

from ..contracts.compile import Compiled
from ..contracts.contract import ModelContractWorkflow
from ..contracts.problem import suggest
from ..kernel.migration import MIGRATES, Migration, Migrations, Step
from .report import Report


def migrations_of(
    module: ModuleType, contract: ModelContractWorkflow, compiled: Compiled, report: Report
) -> Migrations:
    """What the marked functions of ``module`` come to; everything wrong with them goes into ``report``."""
    steps: dict[Step, Migration] = {}
    for function in [value for value in vars(module).values() if inspect.isfunction(value)]:
        for step in getattr(function, MIGRATES, ()):
            _judge(step, function, contract, compiled, report)
            if step in steps and steps[step] is not function:
                other = report.of(steps[step])
                message = f"two functions migrate {step.what} from schema {step.of}; the other is on line {other.line}"
                report.error("duplicate", report.of(function), message, "keep one of them")
            steps[step] = function
    made = Migrations(steps)
    lowest = min((step.of for step in steps), default=contract.state_schema)
    for n in made.missing(lowest, contract.state_schema):
        last = max((step for step in steps if step.of < n), key=lambda step: step.of)
        message = f"there is a migration from schema {last.of}, and none from {n} to {n + 1}"
        report.error("migration_missing", report.of(steps[last]), message, f"write one, marked @migrate({n})")
    return made


def _judge(
    step: Step, function: Migration, contract: ModelContractWorkflow, compiled: Compiled, report: Report
) -> None:
    spot = report.of(function)
    if step.of >= contract.state_schema:
        message = f"a migration to schema {step.of + 1}, but the contract says state_schema: {contract.state_schema}"
        report.error("migration_schema", spot, message, f"write state_schema: {step.of + 1}, or remove the migration")
    triggers = list(contract.payloads)
    if step.what.payload and step.what.payload not in triggers:
        fix = suggest(step.what.payload, triggers) or f"the contract has {', '.join(triggers)}"
        report.error("unknown_trigger", spot, f"a migration for the trigger {step.what.payload!r}, which is gone", fix)
    names = [] if compiled.reducer is None else list(compiled.reducer.intents.by_name)
    if step.what.intent and compiled.reducer is not None and step.what.intent not in names:
        fix = suggest(step.what.intent, names) or f"the contract has {', '.join(names) or 'no intents'}"
        report.error("unknown_intent", spot, f"a migration for the intent {step.what.intent!r}, which is gone", fix)
    waits = inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function)
    if waits or len(inspect.signature(function).parameters) != 1:
        told = getattr(function, "__name__", "this function")
        message = f"{told} must take one value, as a dict, and return the next one at once"
        report.error("migration", spot, message, f"write def {told}(value: dict) -> dict")
