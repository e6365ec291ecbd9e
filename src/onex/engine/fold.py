"""Fold: the actions waiting for one key, judged and stepped in order in memory, become one ``KeyChange``.

The law: an action is judged on the state the one before it left; a refused one leaves no trace in that state. Nothing
here waits, so a batch of a thousand keys is one turn of the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

from pydantic import BaseModel

from ..kernel.action import Action
from ..kernel.errors import (
    ActionExpiredError,
    ConcurrentModificationError,
    EpochMismatchError,
    InstanceFinished,
    InstanceHeld,
    InvalidPayload,
    KilledItsProcess,
    LeaseConflictError,
    LeaseExpiredError,
    LeaseValidationError,
    OnexError,
    ReducerFailed,
    Refused,
    StateConsistencyError,
)
from ..kernel.intent import Emitted, EnumIntentType
from ..kernel.machine import state_timer
from ..kernel.user_code import caught, plain_text
from ..ports import EnumOutboxState, KeyChange, LogRow, NewIntent, Note, Pointer, Stored
from .due_time import by_the_clock
from .encode import BLOB_MARK, check_state, decode, encode_step, named_blobs, state_hash
from .mailbox import Entry, Pending
from .schema_upgrade import current_timers, stored_state

FAILURES_TO_HOLD = 3
SNAPSHOT_EVERY = 1000
INTENTS_PER_STEP = 64
TIMER = EnumIntentType.TIMER
_NO_TIMER = (None, 0)

make = tuple.__new__  # of a NamedTuple: its own way costs three times the tuple, and there are several per action


class TimerGone(Refused):
    """The timer was replaced, cancelled, or its instance has ended: it is dropped and counted."""

    code = "timer_gone"


class Rules(NamedTuple):
    """What a fold needs beside the entry. ``check_all`` is for tests and simulation (promise 33)."""

    code_id: int
    env_id: int
    now_us: int
    check_all: bool = False


def fill(entry: Entry, stored: Stored | None) -> None:
    """Take what the store holds. A state this code cannot read makes every action of the key refused, not the engine stop."""
    entry.forget()
    entry.loaded = True
    if stored is None:
        _begin(entry)
        return
    entry.instance = stored.instance
    entry.version = stored.version
    entry.epoch = stored.epoch
    entry.terminal = stored.terminal
    entry.state_bytes = stored.state
    entry.state_schema = stored.state_schema
    entry.state_hash = stored.state_hash
    entry.code_id = stored.code_id
    entry.last_us = stored.last_us
    entry.failures = stored.failures
    entry.held = stored.held
    entry.lease_id = stored.lease_id
    entry.lease_until_us = stored.lease_until_us
    entry.timers = current_timers(entry.workflow, stored.timers)
    if stored.version == 0:
        _begin(entry)
        return
    try:
        entry.state = stored_state(entry.workflow, stored.state_schema, stored.state)
    except OnexError as error:
        entry.unreadable = error


def _begin(entry: Entry) -> None:
    try:
        entry.state = entry.workflow.reducer.initial()
    except OnexError as error:
        entry.unreadable = error
    except BaseException as error:
        entry.unreadable = StateConsistencyError(f"{entry.key} has no state to begin with: {caught(error)}")


def fold(entry: Entry, pendings: Sequence[Pending], rules: Rules) -> Folded:
    """Judge and step ``pendings`` on ``entry``, which is left at the state after them. Raises nothing for bad input."""
    return Folded(entry, pendings, rules).run()


class Folded:
    """What one key's batch came to. ``change`` is None when nothing is to be written for the key itself.

    ``stepped[i]`` is the pending that became ``change.rows[i]``, and what it emitted.
    """

    __slots__ = (
        "_based_on", "_before", "_failures", "_held", "_new_timers", "_row_blobs", "_rows", "_rules",
        "_settled", "_timed", "change", "entry", "notes", "pendings", "refused", "stepped",
    )  # fmt: skip

    def __init__(self, entry: Entry, pendings: Sequence[Pending], rules: Rules) -> None:
        self.entry = entry
        self.pendings = pendings
        self.change: KeyChange | None = None
        self.stepped: list[tuple[Pending, tuple[Emitted, ...]]] = []
        self.refused: list[tuple[Pending, OnexError]] = []
        self.notes: list[Note] = []
        self._rules = rules
        self._based_on = entry.version
        self._before = entry.state_bytes
        self._rows: list[LogRow] = []
        self._settled: list[Pointer] = []
        self._row_blobs: list[tuple[int, bytes]] = []
        # timers set in this very batch, by name: (row, ordinal, due); they have no pointer before the commit
        self._new_timers: dict[str, tuple[int, int, int]] = {}
        self._timed = False
        self._failures = entry.failures
        self._held = entry.held
        if entry.release:  # an operator's word, or new code (promise 17)
            entry.failures, entry.held, entry.release = 0, "", False

    def run(self) -> Self:
        for pending in self.pendings:
            error = pending.refusal or self._judge(pending)
            if error is None:
                try:
                    self._step(pending)
                except OnexError as raised:
                    error = raised
                    if not isinstance(error, Refused) or isinstance(error, ReducerFailed):
                        self._step_back()
            if error is not None:
                self._refuse(pending, error)
        self.change = self._change()
        return self

    def _judge(self, pending: Pending) -> OnexError | None:
        """promise 5, in its order; dedup is judged by the store. Outcomes and timers need no lease, epoch or expiry."""
        entry = self.entry
        if entry.unreadable is not None:
            return entry.unreadable
        if pending.timer and pending.expected_version is not None:  # it was held: its sender has read the log so far
            if pending.expected_version != entry.version:
                return ConcurrentModificationError(f"{entry.key} is at version {entry.version}; look again")
        elif pending.timer and not self._timer_waits(pending):
            return TimerGone(f"timer {pending.timer!r} of {entry.key} no longer waits")
        if entry.terminal:
            status = entry.state.status if entry.state is not None else "?"
            return InstanceFinished(f"{entry.key} is {status!r} and accepts nothing more", status=status)
        if entry.held:
            return InstanceHeld(f"{entry.key} is held: {entry.held}. Mend the reducer, or: onex release {entry.key}")
        if pending.settles is not None and not pending.sent:
            return None
        if pending.expires_us and self._rules.now_us > pending.expires_us:
            return ActionExpiredError(f"{pending.kind!r} for {entry.key} expired before it was judged")
        if pending.expected_version is not None and pending.expected_version != entry.version:
            return ConcurrentModificationError(
                f"{entry.key} is at version {entry.version}, not {pending.expected_version}; read it and decide again",
                version=entry.version,
            )
        return self._judge_lease(pending)

    def _judge_lease(self, pending: Pending) -> OnexError | None:
        entry = self.entry
        if entry.lease_id is None and pending.lease_id is None and pending.epoch is None:
            return None
        held = entry.lease_id is not None and entry.lease_until_us >= self._rules.now_us
        if pending.lease_id is not None:
            if pending.lease_id != entry.lease_id:
                return LeaseValidationError(f"{entry.key} knows no lease {pending.lease_id.hex()}")
            if not held:
                return LeaseExpiredError(f"the lease of {entry.key} ran out; take it again")
        elif held and pending.kind not in entry.workflow.unleased:
            return LeaseConflictError(f"{entry.key} is led by an orchestrator; wait, or ask it")
        if pending.epoch is not None and pending.epoch != entry.epoch:
            return EpochMismatchError(
                f"{pending.kind!r} was planned on epoch {pending.epoch}; {entry.key} is at {entry.epoch}",
                epoch=entry.epoch,
            )
        return None

    def _timer_waits(self, pending: Pending) -> bool:
        """A status's own timer counts in that status only: one may be left of a release that did not know its name."""
        entry, name = self.entry, pending.timer
        waits = entry.timers.get(name)
        if waits is None or waits[0] != pending.settles or name in self._new_timers:
            return False
        return not name.startswith("@") or (entry.state is not None and name == state_timer(entry.state.status))

    def _step(self, pending: Pending) -> None:
        entry = self.entry
        state = entry.state
        assert state is not None, "a loaded entry has a state"
        issued_us = pending.issued_us if pending.issued_us > entry.last_us else entry.last_us
        kind, body = pending.kind, pending.body
        reducer = entry.workflow.reducer
        if pending.judged:
            pending.payload = decode(entry.workflow.payload_model(kind), body)
        pending.judged = True
        action: Action[BaseModel] = make(
            Action,
            (
                entry.key, kind, pending.payload, pending.id, issued_us, pending.correlation, pending.issuer,
                pending.cause,
            ),
        )  # fmt: skip
        try:
            done = reducer.delta(state, action)
            after, emitted = done.state, done.intents
            status = after.status
            terminal = status in reducer.terminal
            if len(emitted) > INTENTS_PER_STEP:
                raise ReducerFailed(f"{kind!r} emitted {len(emitted)} intents; the limit is {INTENTS_PER_STEP}")
            kept, intents = encode_step(after, emitted)
            if self._rules.check_all:
                check_state(after)
        except InvalidPayload as error:  # of the reducer's making: it is the reducer that failed
            raise ReducerFailed(f"{reducer.workflow_type}.{kind}: {error.message}", trigger=kind) from error
        except OnexError:
            raise
        except BaseException as error:  # a reducer may be anybody's, not only a Machine's
            raise ReducerFailed(f"{reducer.workflow_type}.{kind}: {caught(error)}", trigger=kind) from error
        # nothing below may fail: the step is taken
        row = len(self._rows)
        outbox = self._queue_intents(row, emitted, terminal) if emitted else ()
        if outbox and (pending.timer or issued_us != pending.issued_us):
            outbox = by_the_clock(outbox, issued_us, self._rules.now_us)
        if pending.settles is not None:
            self._settled.append(pending.settles)
            if pending.timer:
                entry.timers.pop(pending.timer, None)
        if terminal:
            self._drop_timers()
        for data in (body, intents):
            if BLOB_MARK in data:
                self._row_blobs.extend((row, digest) for digest in named_blobs(data))
        logged: LogRow = make(
            LogRow,
            (
                pending.id, kind, body, issued_us, pending.correlation, pending.cause, pending.issuer,
                pending.body_hash, intents, status, outbox, entry.workflow.code.state_schema,
            ),
        )  # fmt: skip
        self._rows.append(logged)
        self.stepped.append((pending, emitted))
        entry.state = after
        entry.state_bytes = kept
        entry.version += 1
        entry.last_us = issued_us
        entry.terminal = terminal
        entry.failures = 0
        if pending.lease_id is not None:
            entry.epoch += 1

    def _step_back(self) -> None:
        """A handler may have changed a list or dict of its state in place before it failed: what stands is in the bytes."""
        entry = self.entry
        try:
            if self._rows:
                entry.state = decode(entry.workflow.reducer.state_type, entry.state_bytes)
            elif self._based_on:
                entry.state = stored_state(entry.workflow, entry.state_schema, entry.state_bytes)
            else:
                _begin(entry)
        except OnexError as error:
            entry.unreadable = error

    def _queue_intents(self, row: int, emitted: tuple[Emitted, ...], terminal: bool) -> tuple[NewIntent, ...]:
        outbox: list[NewIntent] = []
        for ordinal, one in enumerate(emitted):
            name = ""
            if one.spec.kind == TIMER:
                name = one.spec.name
                self._remove_timer(name)
                if one.cancelled or terminal:
                    continue
                self._new_timers[name] = (row, ordinal, one.due_us)
                self._timed = True
            outbox.append(make(NewIntent, (ordinal, one.priority.rank, one.due_us, name)))
        return tuple(outbox)

    def _remove_timer(self, name: str) -> None:
        waits = self.entry.timers.pop(name, None)
        if waits is not None:
            self._settled.append(waits[0])
        self._new_timers.pop(name, None)

    def _drop_timers(self) -> None:
        self._settled.extend(pointer for pointer, _ in self.entry.timers.values())
        self.entry.timers.clear()
        self._new_timers.clear()

    def _refuse(self, pending: Pending, error: OnexError) -> None:
        self.refused.append((pending, error))
        entry = self.entry
        if isinstance(error, ReducerFailed):
            entry.failures += 1
            if entry.failures >= FAILURES_TO_HOLD and entry.version:
                entry.held = plain_text(error.message)
        elif isinstance(error, LeaseConflictError):
            entry.loaded = (
                False  # a lease is ended elsewhere: nothing but the store says so, and no commit of this key asks it
            )
        if pending.settles is None or pending.sent:  # who sent it hears why, and decides
            return
        if isinstance(error, TimerGone) and entry.timers.get(pending.timer, _NO_TIMER)[0] == pending.settles:
            entry.timers.pop(pending.timer)  # it waits, and nothing it could ring for is left
            self._settled.append(pending.settles)
            return
        if isinstance(error, ConcurrentModificationError | TimerGone):
            return  # its row is settled with what replaced it; or it is held, which the entry does not know, and stays
        if isinstance(error, (ReducerFailed, InstanceHeld, KilledItsProcess)) or entry.unreadable is not None:
            held = held_result(pending.kind, pending.body, entry.workflow.code.state_schema)
            self.notes.append(Note(pending.settles, EnumOutboxState.HELD, result=held, error=error.message))
        else:
            self._settled.append(pending.settles)

    def _change(self) -> KeyChange | None:
        entry = self.entry
        rows = tuple(self._without_dropped_timers() if self._timed else self._rows)
        kept = (entry.failures, entry.held) != (self._failures, self._held) and entry.instance is not None
        if not rows and not self._settled and not kept:
            return None
        if rows:
            digest = entry.workflow.code.digest
            entry.state_hash = state_hash(entry.state_hash, entry.key, digest, rows, entry.state_bytes)
        changed_code = bool(rows) and self._based_on > 0 and entry.code_id != self._rules.code_id
        schema = entry.workflow.code.state_schema if rows else entry.state_schema
        code_id = self._rules.code_id if rows else entry.code_id
        change: KeyChange = make(
            KeyChange,
            (
                entry.key,
                entry.instance,
                self._based_on,
                rows,
                entry.state_bytes,
                schema,
                entry.state_hash,
                rows[-1].status if rows else entry.state.status if entry.state is not None else "",
                entry.terminal,
                code_id,
                self._rules.env_id,
                entry.epoch,
                entry.failures,
                entry.held,
                tuple(self._settled),
                tuple(self._row_blobs),
                self._before if changed_code else None,
                self._based_on // SNAPSHOT_EVERY != entry.version // SNAPSHOT_EVERY,
                entry.lease_id,
                (),  # notes, rejections, answers: the batch adds them
                (),
                (),
            ),
        )
        if rows:
            entry.code_id, entry.state_schema = code_id, schema
        return change

    def _without_dropped_timers(self) -> list[LogRow]:
        """Rows whose outbox leaves out timers that a later action of the same batch replaced or cancelled."""
        kept: list[LogRow] = []
        for index, row in enumerate(self._rows):
            outbox = tuple(
                new
                for new in row.outbox
                if not new.timer or self._new_timers.get(new.timer, (-1, -1, 0))[:2] == (index, new.ordinal)
            )
            kept.append(row._replace(outbox=outbox) if outbox != row.outbox else row)
        return kept


def held_result(kind: str, body: bytes, schema: int) -> bytes:
    """A held outcome as it is stored: what re-drive delivers again. Without a schema it is of schema 1."""
    told = b',"schema":%d' % schema if schema > 1 else b""
    return b'{"kind":"' + kind.encode() + b'","payload":' + body + told + b"}"
