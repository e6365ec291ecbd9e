"""BatchReport: what a batch did, as events for the ``Telemetry`` port, after the store has answered.

Only what is durable is reported: a change that met a conflict is folded again, and reported then. No payload and no state goes
into an event; an error's text loses what the payload's secret fields hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from ..kernel.errors import InstanceHeld, OnexError, ReducerFailed
from ..kernel.user_trace import innermost_of
from ..ports import EnumOutboxState, KeyChange
from .action_checks import TimerGone
from .batch import Batch, Settlement
from .failure_trace import failure_trace, kept_message
from .fold import Folded
from .metrics import Events
from .pending import Answer, Pending
from .version_counts import VersionCounts


def report(events: Events, batch: Batch, done: Settlement, judged: VersionCounts | None = None) -> None:
    """Raises nothing. ``judged`` counts per version, while a rollout is judged.

    Without a listener for details, only batches in which something went wrong cost more than a look."""
    if judged is not None:
        judged.take(batch, done)
    told = batch.written if events.details else [one for one in batch.written if one[2] or one[0].notes]
    applied = {id(change) for change, _ in done.applied} if told else set()
    for folded, change, refused in told:
        if id(change) not in applied:
            continue
        if events.details:
            _transitions(events, folded, change)
        if refused or folded.notes:
            _troubles(events, folded, refused)
    if batch.loose:
        _refusals(events, batch.loose)
    if events.details and batch.refused_before:
        _refusals(events, batch.refused_before)


def _transitions(events: Events, folded: Folded, change: KeyChange) -> None:
    status, version, key = folded.status_before, change.based_on, str(change.key)
    for (pending, emitted), row in zip(folded.stepped, change.rows, strict=True):
        version += 1
        events(
            "transition",
            key=key,
            trigger=row.kind,
            from_status=status,
            to_status=row.status,
            version=version,
            intents=len(emitted),
            correlation=UUID(bytes=pending.correlation),
        )
        status = row.status


def _troubles(events: Events, folded: Folded, refused: Iterable[tuple[Pending, Answer]]) -> None:
    failed = _refusals(events, refused)
    key = str(folded.entry.key)
    if failed and folded.held:
        events("instance_held", key=key, error=folded.held, release=f"onex release {key} --app APP")
    held = {note.pointer for note in folded.notes if note.state is EnumOutboxState.HELD}
    for pending, error in folded.refused:
        if pending.settles in held:
            events(
                "outcome_held",
                key=key,
                trigger=pending.kind,
                correlation=UUID(bytes=pending.correlation),
                error=kept_message(error, pending.payload),
                redrive=":".join(map(str, pending.settles)),
            )


def _refusals(events: Events, refused: Iterable[tuple[Pending, Answer]]) -> bool:
    """Whether a reducer failed."""
    failed = False
    for pending, error in refused:
        if not isinstance(error, OnexError) or isinstance(error, TimerGone):
            continue
        named: dict[str, str | UUID] = {
            "key": str(pending.key),
            "trigger": pending.kind,
            "correlation": UUID(bytes=pending.correlation),
        }
        message = kept_message(error, pending.payload)
        if isinstance(error, ReducerFailed):
            failed = True
            trace = failure_trace(error, pending.payload)
            events("reducer_failed", **named, error=message, where=innermost_of(trace), trace=trace)
        elif events.details and not isinstance(error, InstanceHeld):
            events("refused", **named, code=error.code, error=message)
    return failed
