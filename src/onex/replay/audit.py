"""Audit: how every intent that the log committed has ended, read from the store and compared with what the outside saw.

A committed intent ends in one way that has a name: its outcome, its arrival, a refusal, an outbox row that still waits, or
for a timer: replaced, cancelled, removed with its instance. One that ended in none of these is lost, which must never be.

Order: the log is read once, from its first row. Each row may end an intent, and begins those that it emitted. An arrival
may be read before the step that sent it, because the receiver's shard comes first; it is kept until then. What is open at
the end is looked for in the outbox, then among the rejections. Memory grows with the open intents only.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

import orjson

from ..engine.encode import ordinals
from ..engine.registry import ReducerRegistry
from ..kernel.action import WorkflowKey
from ..kernel.intent import CANCEL, EnumIntentType, EnumOutcome, IntentSpec, intent_id, outcome_id, sent_id
from ..ports import REJECTION_KEPT_US, EnumOutboxState, LogEntry, OutboxRow, Pointer, Position, Reader

PAGE = 1000
SURELY_KEPT_US: Final = REJECTION_KEPT_US - 24 * 3600 * 1_000_000
"""A rejection is kept so long by every clock: those of two owners may show times that are hours apart."""
INSIDE = frozenset({EnumIntentType.TIMER, EnumIntentType.ACTION_SEND, EnumIntentType.COMPUTE_TASK})
"""Kinds the engine serves itself: nobody outside sees them."""


class SeenEffect(NamedTuple):
    """One effect as the outside knows it: the intent ``name``, ``n``-th of its step, of the version that emitted it."""

    key: str
    version: int
    name: str
    n: int

    def __str__(self) -> str:
        return f"{self.key} version {self.version} {self.name}/{self.n}"


class LostIntent(NamedTuple):
    """An intent that came to no end, and what was found instead."""

    what: SeenEffect
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(slots=True)
class Audit:
    """How the committed intents of a log ended: those from ``ended`` to ``lost`` make up ``intents``.

    ``ended`` have an outcome or arrived, ``refused`` have an outcome that the machine refused (there is a rejection),
    ``removed`` are timers replaced, cancelled or gone with their instance, and intents that were cancelled while they waited,
    by a step or by the end of their instance, ``silent`` are fire and forget without a
    row, ``unreadable`` belong to no contract at hand, ``past`` have neither an end nor a row, and are older than
    rejections are kept: one that was refused left no other trace. Beside them: ``unsettled`` outbox rows of intents that
    have ended, ``strays`` that the outside saw and no log row emitted, ``forgotten`` actions that were acknowledged and
    are not in the log.
    """

    actions: int = 0
    intents: int = 0
    ended: int = 0
    refused: int = 0
    removed: int = 0
    silent: int = 0
    waiting: int = 0
    held: int = 0
    dead: int = 0
    past: int = 0
    unreadable: int = 0
    lost: list[LostIntent] = field(default_factory=list)
    unsettled: int = 0
    strays: list[SeenEffect] = field(default_factory=list)
    forgotten: list[tuple[WorkflowKey, UUID]] = field(default_factory=list)


async def audit(
    reader: Reader,
    registry: ReducerRegistry,
    drained_us: int | None,
    *,
    seen: Collection[SeenEffect] | None = None,
    acknowledged: Collection[tuple[WorkflowKey, UUID]] = (),
) -> Audit:
    """Walk the whole log, then the outbox. Memory grows with the open intents and with ``seen``.

    ``drained_us`` is when the engine had nothing due any more: a row that was due by then and still waits is lost.
    None: it may still be working, so nothing is late. ``seen`` is every effect the outside saw: one that calls itself
    done and is not among them is lost. None: nobody watched. ``acknowledged`` are actions answered as committed.
    """
    walk = _LogAudit(registry, seen, acknowledged)
    for shard in range(reader.shards):
        after = Position(shard, 0)
        while entries := await reader.log(after, PAGE):
            for entry in entries:
                walk.take(entry)
            after = entries[-1].position
    return await walk.close(reader, drained_us)


class _Open(NamedTuple):
    """A committed intent whose end is looked for: the action ``awaited`` at ``at``; None for fire and forget."""

    key: WorkflowKey
    what: SeenEffect
    pointer: Pointer
    spec: IntentSpec
    at: WorkflowKey
    awaited: bytes | None
    issued_us: int
    intent_id: UUID


class _LogAudit:
    def __init__(
        self,
        registry: ReducerRegistry,
        seen: Collection[SeenEffect] | None,
        acknowledged: Collection[tuple[WorkflowKey, UUID]],
    ) -> None:
        self.registry = registry
        self.audit = Audit()
        self._seen = None if seen is None else frozenset(seen)
        self._strays = set(seen or ())
        self._forgotten = {(key, action_id.bytes) for key, action_id in acknowledged}
        self._open: dict[tuple[WorkflowKey, bytes], _Open] = {}
        self._silent: list[_Open] = []
        self._timers: dict[WorkflowKey, dict[str, bytes]] = {}
        # arrivals read before the step that sent them: the receiver's shard may come first
        self._early: set[tuple[WorkflowKey, bytes]] = set()
        self._newest_us = 0
        # of instances, the names and ids of intents that a step cancelled
        self._cancelled: set[tuple[str, str]] = set()

    # --- the log ------------------------------------------------------------------------------------------------------

    def take(self, entry: LogEntry) -> None:
        row = entry.row
        self.audit.actions += 1
        self._newest_us = max(self._newest_us, row.issued_us)
        self._forgotten.discard((entry.key, row.action_id))
        self._end(entry)
        if row.intents:
            self._begin(entry)

    def _end(self, entry: LogEntry) -> None:
        """The row may be what an open intent waits for."""
        row = entry.row
        found = self._open.pop((entry.key, row.action_id), None)
        if found is None:
            if row.cause is not None:
                self._early.add((entry.key, row.action_id))
            return
        if found.spec.kind == EnumIntentType.TIMER:
            self._forget_timer(entry.key, found.spec.name)
        outcomes = found.spec.outcomes
        done = outcomes.get(EnumOutcome.SUCCEEDED)
        # two outcomes may share a trigger: then the log does not say which of them it was
        says_done = row.kind == done and list(outcomes.values()).count(row.kind) == 1
        if says_done and self._seen is not None and found.spec.kind not in INSIDE and found.what not in self._seen:
            self.audit.lost.append(LostIntent(found.what, "its outcome says it was done, and nobody outside saw it"))
        else:
            self.audit.ended += 1

    def _begin(self, entry: LogEntry) -> None:
        items = orjson.loads(entry.row.intents)
        known = entry.key.workflow_type in self.registry
        table = self.registry[entry.key.workflow_type].reducer.intents.by_name if known else {}
        for ordinal, (item, n) in enumerate(zip(items, ordinals([item["name"] for item in items]), strict=True)):
            if item["name"] == CANCEL:
                self._cancelled.add((str(entry.key), item.get("to", "")))
                continue
            spec = table.get(item["name"])
            if spec is None:
                self.audit.intents += 1
                self.audit.unreadable += 1
                continue
            if spec.kind == EnumIntentType.TIMER:
                self._remove(entry.key, spec.name)
                if "cancel" in item:
                    continue
            self.audit.intents += 1
            self._add(entry, ordinal, n, spec, item.get("to", ""))

    def _add(self, entry: LogEntry, ordinal: int, n: int, spec: IntentSpec, to: str) -> None:
        key = entry.key
        what = SeenEffect(str(key), entry.version, spec.name, n)
        self._strays.discard(what)
        pointer = Pointer(*entry.position, ordinal)
        name = intent_id(UUID(bytes=entry.row.action_id), key, spec.name, n)
        at, awaited = key, outcome_id(name).bytes
        if spec.kind == EnumIntentType.ACTION_SEND and not spec.outcomes:
            at, awaited = WorkflowKey(spec.target, to), sent_id(name).bytes
        elif spec.kind == EnumIntentType.TIMER:
            self._timers.setdefault(key, {})[spec.name] = awaited
        elif not spec.outcomes:
            self._silent.append(_Open(key, what, pointer, spec, at, None, entry.row.issued_us, name))
            return
        if (at, awaited) in self._early:
            self.audit.ended += 1
            return
        self._open[at, awaited] = _Open(key, what, pointer, spec, at, awaited, entry.row.issued_us, name)

    def _remove(self, key: WorkflowKey, name: str) -> None:
        awaited = self._forget_timer(key, name)
        if awaited is not None and self._open.pop((key, awaited), None) is not None:
            self.audit.removed += 1

    def _forget_timer(self, key: WorkflowKey, name: str) -> bytes | None:
        timers = self._timers.get(key)
        awaited = None if timers is None else timers.pop(name, None)
        if not timers:
            self._timers.pop(key, None)
        return awaited

    # --- the outbox ---------------------------------------------------------------------------------------------------

    async def close(self, reader: Reader, drained_us: int | None) -> Audit:
        done = self.audit
        rows = await _outbox(reader)
        gone = [found for found in (*self._open.values(), *self._silent) if found.pointer not in rows]
        ended_at = await _ended_at(reader, {found.key for found in gone if not self._is_silent(found)})
        for found in gone:
            if self._was_cancelled(found):
                done.removed += 1
            elif self._is_silent(found):
                done.silent += 1
            elif found.spec.kind == EnumIntentType.TIMER and found.key in ended_at:
                done.removed += 1
            elif found.awaited is not None and await reader.rejections(str(found.at), found.awaited, 0, 1):
                done.refused += 1
            elif found.what.version < ended_at.get(found.key, 0) and not found.spec.detached:
                done.removed += 1  # it waited when its instance ended
            elif found.awaited is None:
                why = "fire and forget, without an outbox row, and nobody outside saw it"
                done.lost.append(LostIntent(found.what, why))
            elif found.issued_us <= max(self._newest_us, drained_us or 0) - SURELY_KEPT_US:
                done.past += 1
            else:
                done.lost.append(LostIntent(found.what, "it has neither an outcome nor an outbox row"))
        for found in (*self._open.values(), *self._silent):
            row = rows.pop(found.pointer, None)
            if row is not None:
                self._judge_row(found, row, drained_us)
        done.lost.sort()
        done.unsettled = len(rows)
        done.strays = sorted(self._strays)
        done.forgotten = sorted((key, UUID(bytes=action_id)) for key, action_id in self._forgotten)
        return done

    def _was_cancelled(self, found: _Open) -> bool:
        """It had neither an outcome nor a row, and a step cancelled it or one of its name: it runs no more."""
        named = {(found.what.key, found.what.name), (found.what.key, str(found.intent_id))}
        return not named.isdisjoint(self._cancelled)

    def _judge_row(self, found: _Open, row: OutboxRow, drained_us: int | None) -> None:
        if row.state is EnumOutboxState.HELD:
            self.audit.held += 1
        elif row.state is EnumOutboxState.DEAD:
            self.audit.dead += 1
        elif drained_us is not None and row.due_us <= drained_us:
            self.audit.lost.append(LostIntent(found.what, "it still waits though it is due and nothing runs"))
        else:
            self.audit.waiting += 1

    def _is_silent(self, found: _Open) -> bool:
        """Fire and forget, of which nothing is known that speaks against its having been done."""
        watched = self._seen is not None and found.spec.kind not in INSIDE
        return found.awaited is None and (not watched or found.what in (self._seen or ()))


async def _outbox(reader: Reader) -> dict[Pointer, OutboxRow]:
    rows: dict[Pointer, OutboxRow] = {}
    after: Pointer | None = None
    while page := await reader.outbox(tuple(EnumOutboxState), None, after, PAGE):
        rows.update((row.pointer, row) for row in page)
        after = page[-1].pointer
    return rows


async def _ended_at(reader: Reader, keys: set[WorkflowKey]) -> dict[WorkflowKey, int]:
    """The last version of those in a terminal status: the one that entered it."""
    ended_at: dict[WorkflowKey, int] = {}
    left = sorted(keys)
    while left:
        page, left = left[:PAGE], left[PAGE:]
        ended_at.update((key, stored.version) for key, stored in (await reader.load(page)).items() if stored.terminal)
    return ended_at
