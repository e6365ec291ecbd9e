"""What became of an action, read from the store: the log, the outbox and the rejections. An action itself never changes.

    pending       nobody has judged it yet: it waits in the inbox, or on a bus, or was never sent
    in_progress   it was applied, and something that its step asked for is not done yet
    completed     it was applied, and all that its step asked for has ended
    failed        it was refused, or an intent of its step is dead or held
    cancelled     it expired before its turn came

A refused action may be sent again under its id: what stands in the log counts before what stands in the rejections.
"""

from __future__ import annotations

from typing import Final, Protocol
from uuid import UUID

from ..kernel.action import EnumActionStatus, WorkflowKey
from ..kernel.errors import ActionExpiredError
from ..ports import EnumOutboxState, LogEntry, Pointer, Reader

_OPEN: Final = (EnumOutboxState.WAITING, EnumOutboxState.DEAD, EnumOutboxState.HELD)
_PAGE: Final = 500


class AppliedActions(Protocol):
    """What knows the log row of an action: any store."""

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None: ...


async def action_status(store: AppliedActions, reader: Reader, key: WorkflowKey, action_id: UUID) -> EnumActionStatus:
    """Of one action to one instance, as of now: ``action_status(engine.store, engine.reader, key, action_id)``."""
    entry = await store.applied(key, action_id.bytes)
    if entry is None:
        refused = [one for one in await reader.rejections(None, action_id.bytes, 0, _PAGE) if one.key == str(key)]
        if not refused:
            return EnumActionStatus.PENDING
        expired = refused[0].code == ActionExpiredError.code
        return EnumActionStatus.CANCELLED if expired else EnumActionStatus.FAILED
    states: set[EnumOutboxState] = set()
    after: Pointer | None = None
    while rows := await reader.outbox(_OPEN, key, after, _PAGE):
        states |= {row.state for row in rows if row.version == entry.version and not row.timer}
        after = rows[-1].pointer
    if states - {EnumOutboxState.WAITING}:
        return EnumActionStatus.FAILED
    return EnumActionStatus.IN_PROGRESS if states else EnumActionStatus.COMPLETED
