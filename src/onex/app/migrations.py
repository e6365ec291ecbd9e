"""The migrations and renames of one workflow, collected from its ``migrations.py`` and checked against its contract."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from ..contracts.compile import CompiledReducer, PythonPlace
from ..contracts.guard.problem import suggest
from ..contracts.model.contract import ModelContractWorkflow
from ..kernel.intent import EnumIntentType
from ..kernel.machine import state_timer
from ..kernel.migration import MIGRATES, Migration, Migrations, MigrationStep
from ..kernel.rename import RENAMES, STATE, NameChanges, Renames, ValueKind
from .load_report import LoadReport


class DeclaredChanges(NamedTuple):
    """The migrations and renames that were declared for one workflow, in their order, not yet checked."""

    functions: tuple[tuple[MigrationStep, Migration], ...] = ()
    renames: tuple[Renames, ...] = ()


def changes_in(module: ModuleType) -> DeclaredChanges:
    """Those that a module marks and declares for the one workflow it belongs to."""
    functions = [value for value in vars(module).values() if inspect.isfunction(value)]
    steps = [(step, function) for function in functions for step in getattr(function, MIGRATES, ())]
    return DeclaredChanges(tuple(steps), _renames(module))


def migrations_of(
    changes: DeclaredChanges, contract: ModelContractWorkflow, compiled: CompiledReducer, report: LoadReport
) -> Migrations:
    """Everything that is wrong with them goes into ``report``."""
    steps: dict[MigrationStep, Migration] = {}
    renames = changes.renames
    judge = _Judge(Migrations({}, renames), contract, compiled, report)
    for one in renames:
        judge.rename(one)
    judge.timers(renames)
    for step, function in changes.functions:
        judge.function(step, function)
        if step in steps and steps[step] is not function:
            other = report.of(steps[step])
            message = f"two functions migrate {step.what} from schema {step.of}; the other is on line {other.line}"
            report.error("duplicate", report.of(function), message, "keep one of them")
        steps[step] = function
    made = Migrations(steps, renames)
    judge.fields(renames, steps)
    spots = {one.of: judge.spot(one) for one in renames} | {step.of: report.of(steps[step]) for step in steps}
    lowest = min(spots, default=contract.state_schema)
    for n in made.missing(lowest, contract.state_schema):
        last = max(of for of in spots if of < n)
        message = f"there is a migration from schema {last}, and none from {n} to {n + 1}"
        report.error("migration_missing", spots[last], message, f"write one, marked @migrate({n})")
    return made


def _renames(module: ModuleType) -> tuple[Renames, ...]:
    """In the order declared: first those made in the module, then those it imported under a name."""
    own = getattr(module, RENAMES, [])
    found = [*own, *(value for value in vars(module).values() if isinstance(value, Renames))]
    return tuple({id(one): one for one in found if isinstance(one, Renames)}.values())


class _Judge:
    def __init__(
        self, migrations: Migrations, contract: ModelContractWorkflow, compiled: CompiledReducer, report: LoadReport
    ) -> None:
        self.names, self.contract, self.compiled, self.report = migrations.names, contract, compiled, report
        self.now = contract.state_schema
        self.triggers = list(contract.payloads)
        reducer = compiled.reducer
        self.intents = [one.name for one in contract.intents]
        self.statuses = [] if reducer is None else list(reducer.machine.statuses)
        self._taken: dict[tuple[str, int, str], Renames] = {}
        self._given: dict[tuple[str, int, str], Renames] = {}

    def spot(self, one: Renames) -> PythonPlace:
        return PythonPlace(self.report.folder.show(Path(one.path)), one.line)

    # --- renames ------------------------------------------------------------------------------------------------------

    def rename(self, one: Renames) -> None:
        """Each new name must be one of today's or be renamed to one later. No two intents, and no two fields, may become one."""
        if not self._schema(one.of, self.spot(one), "renames"):
            return
        self._duplicates(one, "status", one.statuses)
        self._duplicates(one, "trigger", one.triggers)
        self._duplicates(one, "intent", one.intents, single=True)
        self._duplicates(one, f"field of {one.what}", one.fields, single=True)
        if self.compiled.reducer is not None:
            self._known(one, "status", one.statuses, self.names.statuses, self.statuses)
        self._known(one, "trigger", one.triggers, self.names.triggers, self.triggers)
        self._known(one, "intent", one.intents, self.names.intents, self.intents)
        self._what(one.of, one.what, self.spot(one))

    def _known(self, one: Renames, what: str, renamed: Mapping[str, str], names: NameChanges, today: list[str]) -> None:
        for old, new in renamed.items():
            last = names.at(new, one.of + 1, self.now)
            if last not in today:
                fix = suggest(last, today) or f"the contract has {', '.join(today) or 'none'}"
                message = f"the {what} {old!r} is to be called {last!r}, which the contract does not have"
                self.report.error(f"unknown_{what}", self.spot(one), message, fix)

    def _duplicates(self, one: Renames, what: str, renamed: Mapping[str, str], *, single: bool = False) -> None:
        for old, new in renamed.items():
            other = self._taken.setdefault((what, one.of, old), one)
            if other is not one:
                message = f"the {what} {old!r} of schema {one.of} is renamed on line {other.line} already"
                self.report.error("duplicate", self.spot(one), message, "keep one of them")
            elif single:
                same = [name for name, called in renamed.items() if called == new and name != old]
                other = self._given.setdefault((what, one.of, new), one)
                if same or other is not one:
                    message = f"two names become the {what} {new!r}: one of the two values, or timers, would be lost"
                    self.report.error("two_to_one", self.spot(one), message, "give each a name of its own")

    def fields(self, renames: Sequence[Renames], steps: Mapping[MigrationStep, Migration]) -> None:
        """A field's new name must be one of today's class, unless a later migration function may change it."""
        for one in renames:
            last, model = self._model(one.what, one.of)
            if model is None or any(
                step.of > one.of and step.what == self._at(one.what, one.of, step.of) for step in steps
            ):
                continue
            for old, new in one.fields.items():
                final, what = new, one.what
                for n in range(one.of + 1, self.now):
                    what = self._at(one.what, one.of, n)
                    final = self.names.fields.get((n, what), {}).get(final, final)
                if final not in model:
                    fix = suggest(final, model) or f"it has {', '.join(model) or 'no fields'}"
                    message = f"the field {old!r} is to be called {final!r}, which {last} does not have"
                    self.report.error("unknown_field", self.spot(one), message, fix)

    def _at(self, what: ValueKind, of: int, to: int) -> ValueKind:
        return ValueKind(self.names.triggers.at(what.payload, of, to), self.names.intents.at(what.intent, of, to))

    def _model(self, what: ValueKind, of: int) -> tuple[str, list[str] | None]:
        last = self._at(what, of, self.now)
        reducer = self.compiled.reducer
        if reducer is None:
            return str(last), None
        if last == STATE:
            return str(last), list(reducer.state_type.model_fields)
        if last.payload:
            model = reducer.payloads.get(last.payload)
        else:
            spec = reducer.intents.by_name.get(last.intent)
            model = None if spec is None else spec.payload
        return str(last), None if model is None else list(model.model_fields)

    def timers(self, renames: Sequence[Renames]) -> None:
        """A stored timer is known by its name only, so one name must never have meant two timers."""
        reducer = self.compiled.reducer
        if reducer is None:
            return
        table = reducer.intents.by_name
        for old in self.names.intents.olds():
            found = self.names.ambiguous(old, today=old in table)
            timers = [name for name in found if name in table and table[name].kind == EnumIntentType.TIMER]
            if len(found) > 1 and timers:
                one = next(
                    one for one in reversed(renames) if old in one.intents or old in map(state_timer, one.statuses)
                )
                message = f"a stored timer {old!r} could be {' or '.join(map(repr, found))} of today"
                fix = "do not use the name of a timer, or of a status with a timeout, again for another one"
                self.report.error("ambiguous_timer", self.spot(one), message, fix)

    # --- functions ------------------------------------------------------------------------------------------------------

    def function(self, step: MigrationStep, function: Migration) -> None:
        spot = self.report.of(function)
        self._schema(step.of, spot, "a migration")
        self._what(step.of, step.what, spot)
        waits = inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function)
        if waits or len(inspect.signature(function).parameters) != 1:
            name = getattr(function, "__name__", "this function")
            message = f"{name} must take one value, as a dict, and return the next one at once"
            self.report.error("migration", spot, message, f"write def {name}(value: dict) -> dict")

    def _schema(self, of: int, spot: PythonPlace, what: str) -> bool:
        if of < self.now:
            return True
        message = f"{what} to schema {of + 1}, but the contract says state_schema: {self.now}"
        self.report.error("migration_schema", spot, message, f"write state_schema: {of + 1}, or remove it")
        return False

    def _what(self, of: int, what: ValueKind, spot: PythonPlace) -> None:
        """Checks that schema ``of`` had this trigger or intent, as far as today's contract and the renames tell."""
        if what.payload:
            self._named("trigger", what.payload, of, self.names.triggers, self.triggers, spot)
        if what.intent:
            self._named("intent", what.intent, of, self.names.intents, self.intents, spot)

    def _named(self, what: str, name: str, of: int, names: NameChanges, today: list[str], spot: PythonPlace) -> None:
        older = [old for n in range(of, self.now) for old, new in names.steps.get(n, {}).items() if new == name]
        if older and not any(name in names.steps.get(n, {}) for n in range(of, self.now)):
            message = f"schema {of} does not call the {what} {name!r} yet"
            self.report.error(f"unknown_{what}", spot, message, f"write {older[0]!r}, its name in that schema")
        elif names.at(name, of, self.now) not in today:
            fix = suggest(name, today) or f"the contract has {', '.join(today) or f'no {what}s'}"
            fix += f'; if it is called otherwise now, write renames(n, {what}s={{"{name}": ...}}) beside it'
            self.report.error(f"unknown_{what}", spot, f"a migration for the {what} {name!r}, which is gone", fix)
