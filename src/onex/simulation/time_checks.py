"""TimeChecks: nothing happens before its time, nor after its end, and the time written beside it never goes back.

A timer's own row says that it came in time, because the engine writes it so; what the clock of the supervisor showed says whether
that is true. That clock may have been set back since: the latest time it has ever shown is what counts.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from ..kernel.action import WorkflowKey
from ..kernel.intent import intent_id, outcome_id
from ..ports import KeyChange
from ..replay.audit import SeenEffect


class TimeChecks:
    def __init__(self, violated: Callable[[str], None]) -> None:
        self.violated = violated
        self.latest_us: Callable[[], int] = lambda: 0
        self._expires: dict[bytes, int] = {}
        self._issued: dict[WorkflowKey, int] = {}
        self._ended: set[WorkflowKey] = set()
        self._timers: dict[tuple[WorkflowKey, bytes], int] = {}
        self._effects: dict[SeenEffect, int] = {}

    def sending(self, action_id: UUID, expires_us: int) -> None:
        """This action is worth nothing after that."""
        self._expires[action_id.bytes] = expires_us

    def emitted(self, key: WorkflowKey, action_id: bytes, what: SeenEffect, due_us: int, *, timer: bool) -> None:
        """A commit has this intent, which is due then."""
        if timer:
            awaited = outcome_id(intent_id(UUID(bytes=action_id), key, what.name, what.n)).bytes
            self._timers[key, awaited] = due_us
        elif due_us:
            self._effects[what] = due_us

    def committed(self, change: KeyChange, at_us: int) -> None:
        """Each row of a change that was applied, and that was judged at ``at_us`` by the clock of the supervisor."""
        key = change.key
        if change.rows and key in self._ended:
            self.violated(f"{key} had ended, and took {change.rows[0].kind}")
        for row in change.rows:
            if row.issued_us < self._issued.get(key, 0):
                self.violated(f"{key} took {row.kind} as of {row.issued_us}, which is before what it had taken")
            self._issued[key] = row.issued_us
            expires_us = self._expires.get(row.action_id, at_us)
            if expires_us < at_us:
                self.violated(f"{key} took {row.kind} {at_us - expires_us} us after it had expired")
            self._came(f"{key}: the timer of {row.kind}", self._timers.get((key, row.action_id), 0), at_us)
        if change.terminal and change.rows:
            self._ended.add(key)

    def runs(self, what: SeenEffect, now_us: int) -> None:
        """An effect begins."""
        self._came(str(what), self._effects.get(what, 0), now_us)

    def _came(self, who: str, due_us: int, now_us: int) -> None:
        early_us = due_us - max(now_us, self.latest_us())
        if early_us > 0:
            self.violated(f"{who} came {early_us} us before its time")
