"""Migrations: how stored values of one schema become those of the next, one step at a time. JSON in, JSON out.

A workflow has one schema number, the contract's ``state_schema``: it counts changes of its state, of what its actions
carry and of what its intents carry. A migration is pure, and is never asked about a value of another schema.

    @migrate(1)                       # the state, from schema 1 to 2
    @migrate(1, payload="place")      # what a logged ``place`` carried
    @migrate(1, intent="charge")      # what a ``charge`` that is still open carries
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from pydantic import JsonValue

from .errors import ContractError, MigrationFailed, StateTooNew

MIGRATES = "__onex_migrates__"
"""The attribute under which a marked function carries its ``Steps``."""

Json = dict[str, JsonValue]
Migration = Callable[[Json], Json]
M = TypeVar("M", bound=Migration)


class What(NamedTuple):
    """What a migration is for: a trigger's payload, an intent's payload, or, with neither, the state."""

    payload: str = ""
    intent: str = ""

    def __str__(self) -> str:
        if self.payload:
            return f"the payload of {self.payload!r}"
        return f"the payload of intent {self.intent!r}" if self.intent else "the state"


class Step(NamedTuple):
    """From schema ``of`` to ``of + 1``."""

    of: int
    what: What


def migrate(of: int, *, payload: str = "", intent: str = "") -> Callable[[M], M]:
    """Mark a function of ``migrations.py`` as the step from schema ``of`` to ``of + 1``; it is returned unchanged.

    It takes the value as JSON (a dict) and returns the next one. Raises ContractError for a schema below 1 and for both
    ``payload`` and ``intent``.
    """
    if of < 1 or (payload and intent):
        raise ContractError("@migrate(n) is a step from schema n, 1 or more, of the state, one payload or one intent")

    def mark(function: M) -> M:
        steps = (*getattr(function, MIGRATES, ()), Step(of, What(payload, intent)))
        setattr(function, MIGRATES, steps)
        return function

    return mark


@dataclass(frozen=True, slots=True)
class Migrations:
    """``steps[step]``: all that one workflow knows of its earlier schemas."""

    steps: Mapping[Step, Migration] = field(default_factory=dict)

    def missing(self, of: int, to: int) -> list[int]:
        """The steps between two schemas about which nothing at all is said: forgotten, most likely."""
        told = {step.of for step in self.steps}
        return [n for n in range(of, to) if n not in told]

    def apply(self, what: What, value: Json, of: int, to: int) -> Json:
        """``value`` of schema ``of`` as one of schema ``to``; where a step says nothing of it, it stays as it is.

        Raises StateTooNew when ``of`` is beyond ``to``; MigrationFailed when a function raises, or returns no dict.
        """
        if of > to:
            raise StateTooNew(f"{what} was written by schema {of}; this code knows up to {to}. Run newer code")
        for n in range(of, to):
            step = self.steps.get(Step(n, what))
            if step is None:
                continue
            try:
                value = step(value)
            except Exception as error:  # whatever a user's function raises
                raise MigrationFailed(
                    f"{what}: migrating from schema {n} to {n + 1} raised {type(error).__name__}: {error}"
                ) from error
            if not isinstance(value, dict):
                raise MigrationFailed(
                    f"{what}: the migration from schema {n} to {n + 1} returned {type(value).__name__}, not a dict"
                )
        return value
