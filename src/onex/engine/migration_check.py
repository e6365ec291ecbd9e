"""Migrations tried on everything a store holds, before an engine runs on it: which states and open intents they fail on,
and which instances would stand where nothing can move them. Only reads; nothing is written, no effect is fired.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..ports import EnumOutboxState, OutboxRow, Pointer, Stored
from .registry import ReducerRegistry
from .upcast import logged_intents, stored_state

PAGE = 1000
OPEN = (EnumOutboxState.WAITING, EnumOutboxState.HELD, EnumOutboxState.DEAD)


class EnumMigrated(StrEnum):
    """``failed``: the state cannot be brought up. ``intent_failed``: one of its open intents cannot. ``stranded``: it
    can, but no trigger is accepted there and no timer waits."""

    FAILED = "failed"
    INTENT_FAILED = "intent_failed"
    STRANDED = "stranded"


class Trouble(NamedTuple):
    """One instance that an engine with this code would not get along with."""

    key: WorkflowKey
    version: int
    status: str
    schema: int
    what: EnumMigrated
    reason: str


@dataclass(slots=True)
class Checked:
    """What was tried: ``migrated`` were of an older schema, ``foreign`` of a type this app does not have."""

    instances: int = 0
    migrated: int = 0
    intents: int = 0
    foreign: int = 0
    troubles: dict[str, int] = field(default_factory=dict)


class Held(Protocol):
    """What the check asks of a store; any Reader answers it."""

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]: ...

    async def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]: ...


class MigrationCheck:
    """``result`` grows while ``run`` is followed; memory is bounded by a page of rows."""

    def __init__(self, reader: Held, registry: ReducerRegistry) -> None:
        self.reader, self.registry = reader, registry
        self.result = Checked()

    async def run(self, workflow_type: str | None = None) -> AsyncIterator[Trouble]:
        """What is wrong, instance by instance, then the open intents."""
        after: WorkflowKey | None = None
        while rows := await self.reader.instances(workflow_type, None, after, PAGE):
            for stored in rows:
                trouble = self._instance(stored)
                if trouble is not None:
                    yield self._told(trouble)
            after = rows[-1].key
        at: Pointer | None = None
        while found := await self.reader.outbox(OPEN, None, at, PAGE):
            for row in found:
                mine = workflow_type in (None, row.key.workflow_type)
                trouble = self._intent(row) if mine else None
                if trouble is not None:
                    yield self._told(trouble)
            at = found[-1].pointer

    def _told(self, trouble: Trouble) -> Trouble:
        what = str(trouble.what)
        self.result.troubles[what] = self.result.troubles.get(what, 0) + 1
        return trouble

    def _instance(self, stored: Stored) -> Trouble | None:
        self.result.instances += 1
        if stored.key.workflow_type not in self.registry:
            self.result.foreign += 1
            return None
        workflow = self.registry[stored.key.workflow_type]
        if stored.version == 0:
            return None
        self.result.migrated += stored.state_schema < workflow.code.state_schema
        told = (stored.key, stored.version, stored.status, stored.state_schema)
        try:
            state = stored_state(workflow, stored.state_schema, stored.state)
        except OnexError as error:
            return Trouble(*told, EnumMigrated.FAILED, error.message)
        if stored.terminal or state.status in workflow.reducer.terminal or stored.timers:
            return None
        if workflow.reducer.accepts(state):
            return None
        reason = f"in status {state.status!r} nothing is accepted, and no timer waits"
        return Trouble(*told, EnumMigrated.STRANDED, reason)

    def _intent(self, row: OutboxRow) -> Trouble | None:
        if row.key.workflow_type not in self.registry:
            return None
        self.result.intents += 1
        try:
            logged_intents(self.registry[row.key.workflow_type], row.payload_schema, row.intents)
        except OnexError as error:
            told = (row.key, row.version, str(row.state), row.payload_schema)
            return Trouble(*told, EnumMigrated.INTENT_FAILED, error.message)
        return None
