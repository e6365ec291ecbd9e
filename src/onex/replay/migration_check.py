"""Migration check: an app's migrations tried on everything a store holds, before an engine runs on it.

It finds the states, open intents and held outcomes that migrations fail on, and the instances that would stand where
nothing is accepted. It only reads: nothing is written, and no effect is fired.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from ..engine.delivery import stored_delivery
from ..engine.encode import read_intents
from ..engine.registry import ReducerRegistry
from ..engine.schema_upgrade import stored_state
from ..kernel.action import WorkflowKey
from ..kernel.data_key import EnumUnreadable, InstanceErased, unreadable
from ..kernel.errors import OnexError
from ..ports import EnumOutboxState, OutboxRow, Pointer, Stored
from .stranded_rows import EVERY, EnumStranded, Standing, Stranded, check_held, held_trigger, nowhere, stranded

PAGE = 1000
NAMES = 10_000


class EnumMigrated(StrEnum):
    """``failed``: the state cannot be migrated. ``intent_failed``: one of its open intents cannot, or its held outcome
    cannot be delivered. ``stranded``: the state can, but no trigger is accepted there."""

    FAILED = "failed"
    INTENT_FAILED = "intent_failed"
    STRANDED = "stranded"


class MigrationProblem(NamedTuple):
    """One instance that an engine with this code could not go on with. ``name`` is of the intent, else of the status."""

    key: WorkflowKey
    version: int
    status: str
    schema: int
    what: EnumMigrated
    reason: str
    name: str = ""


@dataclass(slots=True)
class MigrationCheckResult:
    """What was tried: ``migrated`` were of an older schema, ``foreign`` of a type this app does not have.

    ``names`` has every problem by name: how often, the first of it, and what to do. Of more than 10,000 names the first.
    """

    instances: int = 0
    migrated: int = 0
    intents: int = 0
    foreign: int = 0
    troubles: dict[str, int] = field(default_factory=dict)
    names: dict[tuple[str, str, str, int], Stranded] = field(default_factory=dict)


class StoredInstances(Standing, Protocol):
    """What the check asks of a store; any Reader answers it."""

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]: ...


class MigrationCheck:
    """``result`` grows while ``run`` is followed; memory is bounded by a page of rows, and by names."""

    def __init__(self, reader: StoredInstances, registry: ReducerRegistry) -> None:
        self.reader, self.registry = reader, registry
        self.result = MigrationCheckResult()

    async def run(self, workflow_type: str | None = None) -> AsyncIterator[MigrationProblem]:
        """The problems, instance by instance, then of the open intents. ``result.names`` has them by name."""
        advice = {
            (one.what, one.workflow_type, one.name, one.schema): one
            for one in await stranded(self.reader, self.registry, workflow_type)
        }
        after: WorkflowKey | None = None
        while rows := await self.reader.instances(workflow_type, None, after, PAGE):
            for stored in rows:
                problem = self._instance(stored)
                if problem is not None:
                    yield self._counted(problem, EnumStranded.STATE)
            after = rows[-1].key
        at: Pointer | None = None
        while found := await self.reader.outbox(EVERY, None, at, PAGE):
            for row in found:
                mine = workflow_type in (None, row.key.workflow_type)
                failed = self._intent(row) if mine else None
                if failed is not None:
                    yield self._counted(*failed)
            at = found[-1].pointer
        names = self.result.names
        for (
            name,
            one,
        ) in advice.items():  # ``stranded`` knows what to do about a name; how many there are was counted here
            counted = names.get(name)
            if counted is not None:
                names[name] = one._replace(rows=counted.rows, first=counted.first)
            elif one.what in (EnumStranded.INBOX, EnumStranded.WORKFLOW):
                names[name] = one

    def _counted(self, problem: MigrationProblem, kind: EnumStranded) -> MigrationProblem:
        result = self.result
        what = str(problem.what)
        result.troubles[what] = result.troubles.get(what, 0) + 1
        own = problem.key.workflow_type
        name = (kind, own, problem.name, problem.schema)
        first = result.names.get(name)
        if first is not None:
            result.names[name] = first._replace(rows=first.rows + 1)
        elif len(result.names) < NAMES:
            result.names[name] = Stranded(kind, own, problem.name, problem.schema, 1, str(problem.key), problem.reason)
        return problem

    def _instance(self, stored: Stored) -> MigrationProblem | None:
        self.result.instances += 1
        if stored.key.workflow_type not in self.registry:
            self.result.foreign += 1
            return None
        workflow = self.registry[stored.key.workflow_type]
        if stored.version == 0 or unreadable(stored.state) is EnumUnreadable.ERASED:
            return None
        self.result.migrated += stored.state_schema < workflow.code.state_schema
        begins = (stored.key, stored.version, stored.status, stored.state_schema)
        try:
            state = stored_state(workflow, stored.state_schema, stored.state)
        except OnexError as error:
            return MigrationProblem(*begins, EnumMigrated.FAILED, error.message, stored.status)
        if stored.terminal:
            return None
        reason = nowhere(workflow, state)
        return MigrationProblem(*begins, EnumMigrated.STRANDED, reason, stored.status) if reason else None

    def _intent(self, row: OutboxRow) -> tuple[MigrationProblem, EnumStranded] | None:
        if row.key.workflow_type not in self.registry:
            return None
        self.result.intents += 1
        workflow = self.registry[row.key.workflow_type]
        begins = (row.key, row.version, str(row.state), row.payload_schema, EnumMigrated.INTENT_FAILED)
        try:
            stored_delivery(row, self.registry, 0)
        except InstanceErased:
            return None
        except OnexError as error:
            kind = EnumStranded.TIMER if row.timer else EnumStranded.INTENT
            return MigrationProblem(*begins, error.message, _name(row)), kind
        if row.state is EnumOutboxState.HELD and row.result and not row.timer:
            try:
                check_held(workflow, row)
            except OnexError as error:
                trigger, schema = held_trigger(row.result)
                problem = MigrationProblem(*begins, error.message, trigger)._replace(schema=schema)
                return problem, EnumStranded.OUTCOME
        return None


def _name(row: OutboxRow) -> str:
    if row.timer:
        return row.timer
    try:
        return str(read_intents(row.intents)[row.pointer.ordinal]["name"])
    except (OnexError, IndexError):
        return "?"
