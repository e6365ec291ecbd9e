"""The canonical store of the source documents, a preset over the engine and its reader: no second store.

States with versions are ``engine.stored``, a commit against an expected version is ``engine.submit``, and what was applied
under an id is a row of the log. The models here are the rows as those documents write them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic_core import from_json

from ..engine.arguments import checked, count, text, uuid_bytes, workflow_key
from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.payload_reading import PayloadInput
from ..engine.pending import Committed
from ..kernel.action import EPOCH, WorkflowKey, micros
from ..kernel.errors import ValidationError
from ..ports import LogEntry, Position, Projections, Stored

_LAST_US = micros(datetime.max.replace(tzinfo=UTC))


class Entity(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelWorkflowState(Entity):
    """A row of ``workflow_state``. ``state`` is the JSON view of the canonical bytes."""

    workflow_key: str
    version: int
    epoch: int
    status: str
    terminal: bool
    state: dict[str, JsonValue]
    schema_version: int
    held: str
    updated_at: datetime


class ModelActionDedup(Entity):
    """A row of ``action_dedup_log``: this action of this instance was applied; hashes in hex."""

    workflow_key: str
    action_id: UUID
    version: int
    body_hash: str
    result_hash: str
    processed_at: datetime
    expires_at: datetime


class ModelWorkflowProjection(Entity):
    """A row of ``workflow_projection``."""

    workflow_key: str
    version: int
    tag: str
    last_action: str
    fields: dict[str, JsonValue]


class ModelProjectionWatermark(Entity):
    """A row of ``projection_watermarks``: the last position applied."""

    name: str
    partition_id: int
    offset: int


class CanonicalStoreService:
    """States by key, and commits that say which version they were decided on."""

    def __init__(self, engine: ReducerPatternEngine) -> None:
        self.engine = engine

    async def get_state(self, key: WorkflowKey | str) -> ModelWorkflowState | None:
        """None for an instance that has not begun."""
        stored = await self.engine.stored(key)
        return None if stored is None or stored.version == 0 else state_model(stored)

    async def try_commit(
        self,
        key: WorkflowKey | str,
        kind: str,
        payload: PayloadInput = None,
        *,
        expected_version: int,
        action_id: UUID | None = None,
    ) -> Committed:
        """One action, applied only at ``expected_version`` (0: not begun). Raises ConcurrentModificationError at any other."""
        if expected_version is None:  # to ``submit`` it would mean any version
            raise ValidationError(
                "try_commit needs the version it was decided on: an int, 0 for one that has not begun"
            )
        return await self.engine.submit(key, kind, payload, action_id=action_id, expected_version=expected_version)


class ActionDedupService:
    """What was applied under an id. Kept ``Limits.dedup_hours`` at least; the log is the record."""

    def __init__(self, engine: ReducerPatternEngine) -> None:
        self.engine = engine

    async def applied(self, key: WorkflowKey | str, action_id: UUID) -> ModelActionDedup | None:
        at, given = checked(workflow_key, "key", key), checked(uuid_bytes, "action_id", action_id)
        entry = await self.engine.store.applied(at, given)
        return None if entry is None else _dedup_model(entry, self.engine.service.limits.dedup_hours)


async def projection(tables: Projections, name: str, after: WorkflowKey | None = None) -> list[ModelWorkflowProjection]:
    """The first 1,000 rows behind ``after``."""
    behind = None if after is None else checked(workflow_key, "after", after)
    rows = await tables.projected(checked(text, "name", name), None, behind, 1000)
    return [
        ModelWorkflowProjection(
            workflow_key=str(row.key),
            version=row.version,
            tag=row.tag,
            last_action=row.last_action,
            fields=from_json(row.fields),
        )
        for row in rows
    ]


async def watermark(tables: Projections, name: str, shard: int = 0) -> ModelProjectionWatermark:
    name, shard = checked(text, "name", name), checked(count, "shard", shard)
    at = Position(shard, await tables.watermark(name, shard))
    return ModelProjectionWatermark(name=name, partition_id=at.shard, offset=at.n)


def state_model(stored: Stored) -> ModelWorkflowState:
    """The stored row, its state as JSON."""
    return ModelWorkflowState(
        workflow_key=str(stored.key),
        version=stored.version,
        epoch=stored.epoch,
        status=stored.status,
        terminal=stored.terminal,
        state=from_json(stored.state),
        schema_version=stored.state_schema,
        held=stored.held,
        updated_at=_moment(stored.last_us),
    )


def _dedup_model(entry: LogEntry, kept_hours: int) -> ModelActionDedup:
    issued_us = entry.row.issued_us
    return ModelActionDedup(
        workflow_key=str(entry.key),
        action_id=UUID(bytes=entry.row.action_id),
        version=entry.version,
        body_hash=entry.row.body_hash.hex(),
        result_hash=entry.state_hash.hex(),
        processed_at=_moment(issued_us),
        expires_at=_moment(issued_us + kept_hours * 3_600_000_000),
    )


def _moment(at_us: int) -> datetime:
    """A time behind the last day of the calendar, which a timer set in 9999 may have, becomes that day's end."""
    return EPOCH + timedelta(microseconds=min(at_us, _LAST_US))
