"""Migrations: how a stored value of one schema becomes a value of the next, one step at a time. JSON in, JSON out.

A workflow has one schema number, the contract's ``state_schema``. It counts changes of the state, of the payloads of actions
and intents, and of their names (docs/decisions/0012). A migration is pure, and is only called with a value of its own schema.

    @migrate(1)                       # the state, from schema 1 to 2
    @migrate(1, payload="place")      # what a logged ``place`` carried
    @migrate(1, intent="charge")      # what a ``charge`` that is still open carries
    renames(1, statuses={"asked": "waiting"})   # only a name has changed: see ``rename``

``Migrations.apply`` goes from schema to schema. In each step the function runs first, on the old names; then fields are renamed;
then the name of the value itself, since the next step looks for it under the new one. A migration is code of the user: it
may raise, run for ever, or return an object that is no plain JSON. Each of these is MigrationFailed of this one value, and
the stored value is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from pydantic import JsonValue

from .errors import ContractError, MigrationFailed, StateTooNew
from .plain_json import NotPlainJson, plain_json
from .rename import Renames, RenameTables, ValueKind
from .user_code import StepGuard, StepOverrun, caught

MIGRATES = "__onex_migrates__"
"""The attribute of a marked function that holds its ``MigrationStep`` values."""

Json = dict[str, JsonValue]
Migration = Callable[[Json], Json]
M = TypeVar("M", bound=Migration)


class MigrationStep(NamedTuple):
    """From schema ``of`` to ``of + 1``."""

    of: int
    what: ValueKind


def migrate(of: int, *, payload: str = "", intent: str = "") -> Callable[[M], M]:
    """Mark a function of ``migrations.py`` as the step from schema ``of`` to ``of + 1``; it is returned unchanged.

    It takes the value as JSON (a dict) and returns the next one. Names are those of schema ``of``. Raises ContractError for
    a schema below 1, and when both ``payload`` and ``intent`` are given.
    """
    step = migration_step(of, payload, intent)

    def mark(function: M) -> M:
        setattr(function, MIGRATES, (*getattr(function, MIGRATES, ()), step))
        return function

    return mark


def migration_step(of: int, payload: str, intent: str) -> MigrationStep:
    """Raises ContractError for a schema below 1, and when both ``payload`` and ``intent`` are given."""
    if of < 1 or (payload and intent):
        raise ContractError("@migrate(n) is a step from schema n, 1 or more, of the state, one payload or one intent")
    return MigrationStep(of, ValueKind(payload, intent))


@dataclass(frozen=True, slots=True)
class Migrations:
    """The migrations and renames of one workflow. ``budget`` ends a function that does not end by itself."""

    steps: Mapping[MigrationStep, Migration] = field(default_factory=dict)
    renames: tuple[Renames, ...] = ()
    budget: StepGuard | None = field(default=None, compare=False)
    names: RenameTables = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", RenameTables(self.renames))

    def missing(self, of: int, to: int) -> list[int]:
        """The schemas between ``of`` and ``to`` without any migration or rename: most likely one was forgotten."""
        covered = {step.of for step in self.steps} | {one.of for one in self.renames}
        return [n for n in range(of, to) if n not in covered]

    def trigger(self, name: str, of: int, to: int) -> str:
        return self.names.triggers.at(name, of, to)

    def status(self, name: str, of: int, to: int) -> str:
        return self.names.statuses.at(name, of, to)

    def intent(self, name: str, of: int, to: int) -> str:
        """Also for the timer of a status: ``@asked`` is renamed with its status."""
        return self.names.intents.at(name, of, to)

    def apply(self, what: ValueKind, value: Json, of: int, to: int) -> Json:
        """``value`` of schema ``of`` as a value of schema ``to``. A step that says nothing about it leaves it as it is.

        Raises StateTooNew when ``of`` is beyond ``to``; MigrationFailed when a function raises, does not end, or does not
        return a JSON object.
        """
        if of > to:
            raise StateTooNew(f"{what} was written by schema {of}; this code knows up to {to}. Run newer code")
        for n in range(of, to):
            step = self.steps.get(MigrationStep(n, what))
            if step is not None:
                value = self._run(step, what, value, n)
            fields = self.names.fields.get((n, what))
            if fields is not None:
                value = _renamed(value, fields, what, n)
            if not what.payload and not what.intent:
                status = value.get("status")
                if isinstance(status, str):
                    value["status"] = self.names.statuses.at(status, n, n + 1)
            else:
                what = ValueKind(
                    self.names.triggers.at(what.payload, n, n + 1), self.names.intents.at(what.intent, n, n + 1)
                )
        return value

    def _run(self, function: Migration, what: ValueKind, value: Json, n: int) -> Json:
        """The only place that calls a migration. Whatever it raises or returns wrongly fails this value alone."""
        step = f"migrating from schema {n} to {n + 1}"
        try:
            made = self._within_budget(function, value)
            plain = plain_json(made) if issubclass(type(made), dict) else None  # isinstance would run code of the value
        except StepOverrun:
            raise MigrationFailed(f"{what}: {step} did not end within its step budget and was ended") from None
        except NotPlainJson as error:
            raise MigrationFailed(f"{what}: what {step} returned cannot be kept: {error}") from error
        except BaseException as error:
            reason = caught(error)
            raise MigrationFailed(f"{what}: {step} raised {reason}") from error
        if not isinstance(plain, dict):
            raise MigrationFailed(f"{what}: {step} returned {type(made).__name__}, not a dict")
        return plain

    def _within_budget(self, function: Migration, value: Json) -> Json:
        budget = self.budget
        if budget is None:
            return function(value)
        budget.enter()
        try:
            return function(value)
        finally:
            budget.leave()


def _renamed(value: Json, fields: Mapping[str, str], what: ValueKind, n: int) -> Json:
    """The same fields in the same order, renamed. Raises MigrationFailed for a field that is there under both names."""
    moved = {name for name in value if name in fields}
    for old in moved:
        if fields[old] in value and fields[old] not in moved:
            raise MigrationFailed(
                f"{what}: from schema {n} to {n + 1} {old!r} is renamed to {fields[old]!r}, and it has both"
            )
    return {fields.get(name, name): part for name, part in value.items()}
