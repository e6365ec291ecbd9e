"""What a workflow in one file says of values that its earlier schemas have stored.

``@orders.migrate(1)`` and ``orders.renames(1, ...)`` belong to ``orders``, since a file may declare several workflows. In a file
with one, ``onex.migrate`` and ``onex.renames`` do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..kernel.migration import M, Migration, MigrationStep, migration_step
from ..kernel.rename import Renames, ValueKind, checked_renames
from .intents import SourcePlace


class SchemaChanges:
    """Collects the steps from each schema of a workflow to the next."""

    def __init__(self) -> None:
        self.migrations: list[tuple[MigrationStep, Migration]] = []
        self.renamed: list[Renames] = []

    def migrate(self, of: int, *, payload: str = "", intent: str = "") -> Callable[[M], M]:
        """This function is the step from schema ``of`` to ``of + 1``; it is returned unchanged.

        It takes the value as JSON (a dict) and returns the next one: the state, what a trigger ``payload`` carried, or what an
        ``intent`` carries. Names are those of schema ``of``. Raises ContractError for a schema below 1, and when both are given.
        """
        step = migration_step(of, payload, intent)

        def mark(function: M) -> M:
            self.migrations.append((step, function))
            return function

        return mark

    def renames(
        self,
        of: int,
        *,
        statuses: Mapping[str, str] | None = None,
        triggers: Mapping[str, str] | None = None,
        intents: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        payload: str = "",
        intent: str = "",
    ) -> None:
        """Names of schema ``of`` that are called otherwise from ``of + 1`` on: ``{"old": "new"}``.

        ``fields`` are those of the state, or of one payload or intent. Raises ContractError for a schema below 1, for names that
        are not text, and for a call without names.
        """
        place = SourcePlace.of_caller(1)
        maps = {"statuses": statuses, "triggers": triggers, "intents": intents, "fields": fields}
        self.renamed.append(checked_renames(of, maps, ValueKind(payload, intent), place.path, place.line))
