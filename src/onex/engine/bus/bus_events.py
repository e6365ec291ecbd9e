"""Bus events: what a row of the log tells the world. Pure: the same row gives the same events with the same ids, at every try.

An event says what happened, to which instance and at which version. It carries no payload and no state: who needs them
reads them, and no secret leaves the store by a topic. Its id is ``uuid5(action id, "KEY/EVENT")``.

- ``workflow_started``: version 1.
- ``workflow_step_completed``: an intent succeeded, and this is its outcome.
- ``workflow_state_transition``: the status is another than before.
- ``workflow_completed``, ``workflow_failed``: a terminal status was reached. It failed, if the failure or the unknown outcome of
  an intent brought it there, or the status is called ``failed``.
- ``state_committed``: the last row of an instance in a commit.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID, uuid5

from pydantic import JsonValue

from ...kernel.action import EPOCH
from ...kernel.envelope import OnexEnvelopeV1
from ...kernel.intent import EnumOutcome
from ...ports import LogEntry
from ..registry import Workflow
from .service import Outgoing
from .topics import BusTopics, EnumBusEvent

SOURCE = "onex"
FAILED = "failed"


class RowEvent(NamedTuple):
    """One event of a row, and what it says beside what every event says."""

    event: EnumBusEvent
    more: dict[str, JsonValue]


def events_of(entry: LogEntry, status_before: str, workflow: Workflow | None) -> list[RowEvent]:
    """In the order in which they are published. ``workflow`` is None for a type that this app does not have any more."""
    row = entry.row
    found: list[RowEvent] = []
    outcome = _outcome(entry, workflow)
    if entry.version == 1:
        found.append(RowEvent(EnumBusEvent.WORKFLOW_STARTED, {}))
    if outcome is EnumOutcome.SUCCEEDED and row.outcome_of is not None:
        step: dict[str, JsonValue] = {"intent": row.outcome_of.name, "intent_id": str(row.outcome_of.intent_id)}
        found.append(RowEvent(EnumBusEvent.WORKFLOW_STEP_COMPLETED, step))
    if row.status != status_before:
        found.append(RowEvent(EnumBusEvent.WORKFLOW_STATE_TRANSITION, {"from_status": status_before or None}))
    if workflow is not None and row.status in workflow.reducer.terminal:
        failed = row.status == FAILED or outcome in (EnumOutcome.FAILED, EnumOutcome.UNKNOWN)
        ended = EnumBusEvent.WORKFLOW_FAILED if failed else EnumBusEvent.WORKFLOW_COMPLETED
        found.append(RowEvent(ended, {}))
    if entry.state_hash:
        found.append(RowEvent(EnumBusEvent.STATE_COMMITTED, {"state_hash": entry.state_hash.hex()}))
    return found


def outgoing_of(entry: LogEntry, event: RowEvent, topics: BusTopics) -> Outgoing:
    """The event as a message: keyed by the instance, so that the events of one keep their order on each topic."""
    row, key = entry.row, str(entry.key)
    payload: dict[str, JsonValue] = {
        "workflow_key": key,
        "version": entry.version,
        "trigger": row.kind,
        "status": row.status,
        "action_id": str(UUID(bytes=row.action_id)),
        "position": f"{entry.position.shard}:{entry.position.n}",
        **event.more,
    }
    envelope = OnexEnvelopeV1(
        envelope_id=event_id(entry, event.event),
        envelope_timestamp=EPOCH + timedelta(microseconds=row.issued_us),
        event_type=event.event.value,
        correlation_id=UUID(bytes=row.correlation),
        causation_id=UUID(bytes=row.action_id),
        source_service=SOURCE,
        source_instance=key,
        partition_key=key,
        payload=payload,
    )
    return Outgoing(topics.event(event.event), key.encode(), envelope)


def event_id(entry: LogEntry, event: EnumBusEvent) -> UUID:
    """The same at every try, so that readers can drop doubles."""
    return uuid5(UUID(bytes=entry.row.action_id), f"{entry.key}/{event.value}")


def _outcome(entry: LogEntry, workflow: Workflow | None) -> EnumOutcome | None:
    """Which outcome of an intent this row is; None for any other action."""
    through = entry.row.outcome_of
    spec = None if through is None or workflow is None else workflow.reducer.intents.by_name.get(through.name)
    if spec is None or entry.row.issuer != f"intent:{spec.name}":
        return None
    return next((outcome for outcome, trigger in spec.outcomes.items() if trigger == entry.row.kind), None)
