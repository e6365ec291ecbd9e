"""Three checks that are made while a run goes on: of projections, of times, and of what an operator is answered.

Each is told of every commit, at the instant it is applied. None of them asks the engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import orjson

from ..adapters.store_limits import storable
from ..engine.encode import ordinals
from ..kernel.action import WorkflowKey
from ..kernel.intent import CANCEL, EnumIntentType, IntentSpec, intent_id, outcome_id
from ..ports import (
    Commit,
    EnumOutboxState,
    KeyChange,
    LogEntry,
    LogRow,
    Pointer,
    ProjectionRow,
    Rejection,
    RejectionRow,
)
from ..replay.audit import SeenEffect
from .sim_store import SimStore


class ProjectionChecks:
    """What the projection must show, from the versions and statuses of the commits, row by row of the log."""

    def __init__(self, violated: Callable[[str], None]) -> None:
        self.violated = violated
        self.watermark = 0
        self._log: list[ProjectionRow] = []
        self._newest: dict[WorkflowKey, ProjectionRow] = {}

    def committed(self, change: KeyChange) -> None:
        for version, row in enumerate(change.rows, change.based_on + 1):
            self._log.append(ProjectionRow(change.key, version, row.status, row.kind, b"{}"))

    def moved(self, name: str, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> None:
        """The watermark went from ``from_n`` to ``to_n``; ``rows`` are all rows it shows now."""
        if from_n != self.watermark or to_n <= from_n:
            self.violated(f"projection {name} went from {from_n} to {to_n}, and stood at {self.watermark}")
        if to_n > len(self._log):
            self.violated(f"projection {name} is at {to_n}, and the log ends at {len(self._log)}")
        for row in self._log[self.watermark : to_n]:
            self._newest[row.key] = row
        self.watermark = to_n
        wrong = [str(row.key) for row in rows if self._newest.get(row.key) != row]
        if wrong or len(rows) != len(self._newest):
            self.violated(f"projection {name} at {to_n} is not what the log says: {wrong or 'instances are missing'}")


class TimeChecks:
    """Nothing happens before its time nor after its end, and the time written beside it never goes back.

    The engine writes a timer's time itself, so its row proves nothing. The latest time that an engine's clock has ever shown
    decides: the clock may have been set back since.
    """

    def __init__(self, violated: Callable[[str], None]) -> None:
        self.violated = violated
        self.latest_us: Callable[[], int] = lambda: 0
        self._expires: dict[bytes, int] = {}
        self._issued: dict[WorkflowKey, int] = {}
        self._ended: set[WorkflowKey] = set()
        self._timers: dict[tuple[WorkflowKey, bytes], int] = {}
        self._effects: dict[SeenEffect, int] = {}

    def sending(self, action_id: UUID, expires_us: int) -> None:
        """This action must not be applied after that."""
        self._expires[action_id.bytes] = expires_us

    def emitted(self, key: WorkflowKey, action_id: bytes, what: SeenEffect, due_us: int, *, timer: bool) -> None:
        """A commit has this intent, which is due at ``due_us``; 0: at once."""
        if timer:
            awaited = outcome_id(intent_id(UUID(bytes=action_id), key, what.name, what.n)).bytes
            self._timers[key, awaited] = due_us
        elif due_us:
            self._effects[what] = due_us

    def committed(self, change: KeyChange, at_us: int) -> None:
        """A change that was applied, at ``at_us`` by the engine's clock."""
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

    def check_timers(self, log: Sequence[LogEntry], spec_of: Callable[[WorkflowKey, str], IntentSpec | None]) -> None:
        """A timer fires once, not before its time, and not after it was replaced, cancelled or ended with its state."""
        waiting: dict[tuple[WorkflowKey, str], tuple[bytes, int]] = {}
        over: dict[tuple[WorkflowKey, bytes], str] = {}
        for entry in log:
            fired = (entry.key, entry.row.action_id)
            at = f"{entry.key} version {entry.version}"
            if fired in over:
                self.violated(f"{at}: timer {over[fired]!r} fired though it no longer waited")
            for (key, name), (awaited, due_us) in list(waiting.items()):
                if (key, awaited) == fired:
                    if entry.row.issued_us < due_us:
                        self.violated(f"{at}: timer {name!r} fired before its time")
                    del waiting[key, name]
            for item, n in numbered(entry.row):
                name = item["name"]
                spec = spec_of(entry.key, name)
                if spec is not None and spec.kind != EnumIntentType.TIMER:
                    continue
                gone = waiting.pop((entry.key, name), None)
                if gone is not None:
                    over[entry.key, gone[0]] = name
                if "cancel" not in item:
                    awaited = outcome_id(intent_id(UUID(bytes=entry.row.action_id), entry.key, name, n)).bytes
                    waiting[entry.key, name] = (awaited, item["due_us"])


class OperatorChecks:
    """A release that was answered is written. A dead intent that is re-driven starts at attempt 1. A refusal stands under the
    sender's key and counts how often it happened.
    """

    def __init__(self, violated: Callable[[str], None]) -> None:
        self.violated = violated
        self._written: Counter[WorkflowKey] = Counter()
        self._dead: set[Pointer] = set()
        self.crashes: dict[Pointer, int] = {}
        """By waiting outbox row: how many processes it has ended."""
        self.on_refused: Callable[[Rejection], None] = lambda one: None
        self._refused: Counter[tuple[str, bytes, str]] = Counter()

    def committed(self, commit: Commit, applied: Sequence[KeyChange]) -> None:
        """``applied`` are those changes of the commit that met no conflict."""
        self._written.update(change.key for change in applied)
        notes = (*commit.notes, *(note for change in applied for note in change.notes))
        # after a lost answer all notes are written again: the last one of a row counts
        for note in {note.pointer: note for note in notes}.values():
            if note.state is EnumOutboxState.DEAD:
                self._dead.add(note.pointer)
                self.crashes.pop(note.pointer, None)
            elif note.pointer in self._dead:
                self._dead.discard(note.pointer)
                if note.attempt > 1:
                    self.violated(f"{note.pointer} was dead, and is driven again from attempt {note.attempt}")
            elif note.state is EnumOutboxState.WAITING:
                before = self.crashes.get(note.pointer, 0)
                if note.crashes < before:
                    self.violated(f"{note.pointer} was running at {before} crashes, and then at {note.crashes}")
                self.crashes[note.pointer] = note.crashes
        refused = (*commit.rejections, *(one for change in applied for one in change.rejections))
        for one in refused:
            self.on_refused(one)
        self._refused.update((one.key, one.action_id, one.code) for one in map(storable, refused))

    async def release(self, truth: SimStore, key: WorkflowKey, release: Callable[[], Awaitable[None]]) -> None:
        """Releasing a held instance is a commit, durable before the answer. Raises what ``release`` raises."""
        before = self._written[key]
        stored = (await truth.load([key])).get(key)
        await release()
        if stored is not None and stored.held and self._written[key] == before:
            self.violated(f"release of {key} was answered, and nothing was written")

    def check(self, rows: Sequence[RejectionRow]) -> None:
        """Every rejection there is, at the end."""
        for row in rows:
            times = self._refused[row.key, row.action_id, row.code]
            if row.times != times:
                self.violated(f"{row.key} refused {row.action_id.hex()} {times} times, and its row says {row.times}")
            if not row.key or row.key.startswith(":"):
                self.violated(f"a refusal with {row.code} stands under {row.key!r}, which nobody sent")


def numbered(row: LogRow) -> Iterator[tuple[dict[str, Any], int]]:
    """Each intent of a row as written, with its number among those of its name."""
    return ((item, n) for _, item, n in placed(row))


def placed(row: LogRow) -> Iterator[tuple[int, dict[str, Any], int]]:
    """The same, with its place in the row first. To cancel an intent is none."""
    items = orjson.loads(row.intents or b"[]")
    for ordinal, (item, n) in enumerate(zip(items, ordinals([item["name"] for item in items]), strict=True)):
        if item["name"] != CANCEL:
            yield ordinal, item, n
