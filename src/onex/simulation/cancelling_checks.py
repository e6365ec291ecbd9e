"""Checks of what is cancelled, by a step or by the end of an instance (promise 44), made at the instant of each commit.

Theory of operation
    ``_open`` has every outbox row that the commits made and did not settle, timers aside, and what notes said of it since.
    So of each row it is known whether it surely waits: it is due later than any clock of an engine has ever shown.
    A commit that ends an instance must settle every such row of it, unless the intent is detached. A row that is due may be
    under way, so it may stay. One whose effect runs outside must stay, and must not be noted as cancelled.
    Of what the same batch emitted before the step that ends it, only what is detached gets a row.
    That what was settled never runs is checked at each attempt, as for every other row.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

import orjson

from ..kernel.action import WorkflowKey
from ..kernel.intent import CANCEL, IntentSpec, intent_id, outcome_id
from ..ports import EnumOutboxState, KeyChange, LogRow, Note, Pointer
from ..replay.audit import SeenEffect
from .host import current_host
from .running_checks import TimeChecks, placed

SpecOf = Callable[[WorkflowKey, str], IntentSpec | None]


class _OpenRow(NamedTuple):
    """``waits``: nothing has stopped it; else it is dead, held or cancelled. ``due_us``: not tried earlier; 0: at once."""

    what: SeenEffect
    key: WorkflowKey
    intent_id: UUID
    due_us: int
    detached: bool
    waits: bool = True

    def is_named(self, names: Container[str]) -> bool:
        return self.what.name in names or str(self.intent_id) in names


class CancellingChecks:
    """``is_running``: whether an effect runs at this instant. ``reads_all``: the engine can read each of its rows; one that it
    cannot read stays, also when its instance ends.
    """

    def __init__(self, violated: Callable[[str], None], times: TimeChecks) -> None:
        self.violated, self.times = violated, times
        self.is_running: Callable[[SeenEffect], bool] = lambda what: False
        self.reads_all = True
        self._open: dict[Pointer, _OpenRow] = {}
        self._cancelled: dict[SeenEffect, int] = {}

    def was_cancelled_before(self, what: SeenEffect, fence: int) -> bool:
        """Whether a step cancelled it under an owner before this one."""
        return self._cancelled.get(what, fence) < fence

    def beside(self, notes: Iterable[Note], settled: Iterable[Pointer]) -> None:
        """What a commit says of rows beside its changes. Call it before ``committed``."""
        self._note(notes)
        for pointer in settled:
            self._open.pop(pointer, None)

    def committed(self, change: KeyChange, first_n: int, fence: int, spec_of: SpecOf) -> None:
        """A change that was applied; its rows begin at position ``first_n``."""
        names = {name for row in change.rows for name in _named(row)}
        ends = change.terminal and bool(change.rows)
        self._check_told(change, names)
        self._settle(change, names, ends=ends)
        before = [one for one in self._open.values() if one.key == change.key] if names or ends else []
        self._cancelled.update((one.what, fence) for one in before if one.is_named(names))
        if ends:
            self._check_waiting(before)
        for n, row in enumerate(change.rows):
            self._add(change, n, row, Pointer(0, first_n + n, 0), spec_of, ends=ends)

    def _note(self, notes: Iterable[Note]) -> None:
        for note in notes:
            row = self._open.get(note.pointer)
            if row is not None:
                waits = note.state is EnumOutboxState.WAITING
                self._open[note.pointer] = row._replace(due_us=note.due_us, waits=waits)

    def _check_told(self, change: KeyChange, names: Container[str]) -> None:
        for note in change.notes:
            row = self._open.get(note.pointer)
            if row is not None and note.state is EnumOutboxState.CANCELLED and not row.is_named(names):
                self.violated(f"{row.what} runs, and was cancelled by a step that does not name it")
        self._note(change.notes)

    def _settle(self, change: KeyChange, names: Container[str], *, ends: bool) -> None:
        came = {row.action_id for row in change.rows} | {one.action_id for one in change.rejections}
        for pointer in change.settled:
            row = self._open.pop(pointer, None)
            if row is None or row.key != change.key or not ends or outcome_id(row.intent_id).bytes in came:
                continue
            if self.is_running(row.what):
                self.violated(f"{row.what} runs, and the end of its instance has settled its row")
            if row.detached and not row.is_named(names):
                self.violated(f"{row.what} is detached, and the end of its instance has cancelled it")

    def _check_waiting(self, left: Sequence[_OpenRow]) -> None:
        shown_us = max(current_host().clock.now_us(), self.times.latest_us())
        for row in left:
            if self.reads_all and row.waits and not row.detached and row.due_us > shown_us:
                self.violated(f"{row.what} waits, though its instance has ended")

    def _add(self, change: KeyChange, n: int, row: LogRow, at: Pointer, spec_of: SpecOf, *, ends: bool) -> None:
        items = {ordinal: (item, of_name) for ordinal, item, of_name in placed(row)}
        for new in row.outbox:
            if new.timer:
                continue
            item, of_name = items[new.ordinal]
            what = SeenEffect(str(change.key), change.based_on + n + 1, item["name"], of_name)
            spec = spec_of(change.key, item["name"])
            detached = spec is not None and spec.detached
            if ends and n + 1 < len(change.rows) and not detached:
                self.violated(f"{what} gets a row, though its instance ends in the same batch")
            name = intent_id(UUID(bytes=row.action_id), change.key, item["name"], of_name)
            self._open[at._replace(ordinal=new.ordinal)] = _OpenRow(what, change.key, name, new.due_us, detached)


def _named(row: LogRow) -> Iterable[str]:
    """The names and ids that the step of this row cancels."""
    return (item["to"] for item in orjson.loads(row.intents or b"[]") if item["name"] == CANCEL)
