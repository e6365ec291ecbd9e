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
    LeaseConflictError,
    LeaseExpiredError,
    LeaseValidationError,
    OnexError,
    PayloadTooLarge,
    ReducerFailed,
    Refused,
)
from ..kernel.intent import Emitted, EnumIntentType
from ..kernel.step import State
from ..kernel.user_code import plain_text
from ..ports import EnumOutboxState, KeyChange, LogRow, NewIntent, Note, Pointer, Stored
from .due import by_the_clock
from .encode import (
    BLOB_MARK,
    STATE_BYTES,
    check_state,
    decode,
    encode,
    encode_intents,
    named_blobs,
    state_hash,
)
from .mailbox import Entry, Pending
from .upcast import standing_timers, stored_state

FAILURES_TO_HOLD = 3
SNAPSHOT_EVERY = 1000
INTENTS_PER_STEP = 64
CHECK_EVERY = 100
TIMER = EnumIntentType.TIMER

made = tuple.__new__  # of a NamedTuple: its own way costs three times the tuple, and there are several per action


class TimerGone(Refused):
    """The timer was replaced, cancelled, or its instance has ended: it is dropped and counted."""

    code = "timer_gone"


class Rules(NamedTuple):
    """What a fold needs beside the entry. ``check_all`` is for tests and simulation (SEMANTICS 33)."""

    code_id: int
    env_id: int
    now_us: int
    check_all: bool = False


def fill(entry: Entry, stored: Stored | None) -> None:
    """Take what the store holds. A state this code cannot read makes every action of the key refused, not the engine stop."""
    entry.forget()
    entry.loaded = True
    reducer = entry.workflow.reducer
    if stored is None:
        entry.state = reducer.initial()
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
    entry.timers = standing_timers(entry.workflow, stored.timers)
    if stored.version == 0:
        entry.state = reducer.initial()
        return
    try:
        entry.state = stored_state(entry.workflow, stored.state_schema, stored.state)
    except OnexError as error:
        entry.unreadable = error


def fold(entry: Entry, pendings: Sequence[Pending], rules: Rules) -> Folded:
    """Judge and step ``pendings`` on ``entry``, which is left at the state after them. Raises nothing for bad input."""
    before = entry.folded()
    try:
        folded = Folded(entry, pendings, rules).run()
        if len(entry.state_bytes) <= STATE_BYTES or folded.change is None or not folded.change.rows:
            return folded
    except InvalidPayload:
        pass
    # some action made a state that cannot be kept: fold again, writing each, so that only the guilty ones are refused
    entry.unfold(before)
    return Folded(entry, pendings, rules, measure=True).run()


class Folded:
    """What one key's batch came to. ``change`` is None when nothing is to be written for the key itself.

    ``stepped[i]`` is the pending that became ``change.rows[i]``, and what it emitted.
    """

    __slots__ = (
        "_based_on", "_begun", "_begun_schema", "_failures", "_held", "_measure", "_new_timers", "_row_blobs", "_rows", "_rules",
        "_settled", "_timed", "change", "entry", "notes", "pendings", "refused", "stepped",
    )  # fmt: skip

    def __init__(self, entry: Entry, pendings: Sequence[Pending], rules: Rules, *, measure: bool = False) -> None:
        self.entry = entry
        self.pendings = pendings
        self.change: KeyChange | None = None
        self.stepped: list[tuple[Pending, tuple[Emitted, ...]]] = []
        self.refused: list[tuple[Pending, OnexError]] = []
        self.notes: list[Note] = []
        self._rules = rules
        self._measure = measure
        self._based_on = entry.version
        self._begun, self._begun_schema = entry.state_bytes, entry.state_schema
        self._rows: list[LogRow] = []
        self._settled: list[Pointer] = []
        self._row_blobs: list[tuple[int, bytes]] = []
        # timers set in this very batch, by name: (row, ordinal, due); they have no pointer before the commit
        self._new_timers: dict[str, tuple[int, int, int]] = {}
        self._timed = False
        self._failures = entry.failures
        self._held = entry.held
        if measure:  # a first fold may have changed the state it began with
            self._step_back()
        if entry.release:  # an operator's word, or new code (SEMANTICS 17)
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
        """SEMANTICS 5, in its order; dedup is judged by the store. Outcomes and timers need no lease, epoch or expiry."""
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
        waits = self.entry.timers.get(pending.timer)
        return waits is not None and waits[0] == pending.settles and pending.timer not in self._new_timers

    def _step(self, pending: Pending) -> None:
        entry = self.entry
        state = entry.state
        assert state is not None, "a loaded entry has a state"
        issued_us = pending.issued_us if pending.issued_us > entry.last_us else entry.last_us
        kind, body = pending.kind, pending.body
        reducer = entry.workflow.reducer
        action: Action[BaseModel] = made(
            Action,
            (
                entry.key, kind, pending.payload, pending.id, issued_us, pending.correlation, pending.issuer,
                pending.cause,
            ),
        )  # fmt: skip
        done = reducer.delta(state, action)
        after, emitted = done.state, done.intents
        status = after.status
        terminal = status in reducer.terminal
        if len(emitted) > INTENTS_PER_STEP:
            raise ReducerFailed(f"{kind!r} emitted {len(emitted)} intents; the limit is {INTENTS_PER_STEP}")
        try:
            intents = encode_intents(emitted) if emitted else b""
            if self._measure and len(encode(after)) > STATE_BYTES:
                raise PayloadTooLarge(
                    f"the state of {entry.key} would pass {STATE_BYTES} bytes; keep large data in a Blob"
                )
            if self._rules.check_all or (entry.version + 1) % CHECK_EVERY == 0:
                check_state(encode(after), reducer.state_type, after)
        except PayloadTooLarge:
            raise
        except Exception as error:  # text or values that are no JSON: the encoders raise what they like
            told = error.message if isinstance(error, OnexError) else f"{type(error).__name__}: {error}"
            raise ReducerFailed(f"{reducer.workflow_type}.{kind}: {told}") from error
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
        logged: LogRow = made(
            LogRow,
            (
                pending.id, kind, body, issued_us, pending.correlation, pending.cause, pending.issuer,
                pending.body_hash, intents, status, outbox, entry.workflow.code.state_schema,
            ),
        )  # fmt: skip
        self._rows.append(logged)
        self.stepped.append((pending, emitted))
        entry.state = after
        entry.version += 1
        entry.last_us = issued_us
        entry.terminal = terminal
        entry.failures = 0
        if pending.lease_id is not None:
            entry.epoch += 1

    def _step_back(self) -> None:
        """A handler may have changed a list or dict of its state in place before it failed: fold what stands from bytes."""
        entry = self.entry
        reducer = entry.workflow.reducer
        state: State = (
            stored_state(entry.workflow, self._begun_schema, self._begun) if self._based_on else reducer.initial()
        )
        for row in self._rows:
            payload = decode(entry.workflow.payload_model(row.kind), row.payload)
            action = Action(
                entry.key, row.kind, payload, row.action_id, row.issued_us, row.correlation, row.issuer, row.cause
            )
            state = reducer.delta(state, action).state
        entry.state = state

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
            outbox.append(made(NewIntent, (ordinal, one.priority.rank, one.due_us, name)))
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
        if pending.settles is None or pending.sent:  # who sent it hears why, and decides
            return
        if isinstance(error, ConcurrentModificationError | TimerGone):
            return  # its row is settled with what replaced it; or it is held, which the entry does not know, and stays
        if isinstance(error, (ReducerFailed, InstanceHeld)) or entry.unreadable is not None:
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
        before = entry.state_bytes
        if rows:
            assert entry.state is not None
            entry.state_bytes = encode(entry.state)
            digest = entry.workflow.code.digest
            entry.state_hash = state_hash(entry.state_hash, entry.key, digest, rows, entry.state_bytes)
        changed_code = bool(rows) and self._based_on > 0 and entry.code_id != self._rules.code_id
        schema = entry.workflow.code.state_schema if rows else entry.state_schema
        code_id = self._rules.code_id if rows else entry.code_id
        change = KeyChange(
            entry.key,
            entry.instance,
            self._based_on,
            rows,
            entry.state_bytes,
            schema,
            entry.state_hash,
            entry.state.status if entry.state is not None else "",
            entry.terminal,
            code_id,
            self._rules.env_id,
            entry.epoch,
            entry.failures,
            entry.held,
            tuple(self._settled),
            tuple(self._row_blobs),
            before if changed_code else None,
            self._based_on // SNAPSHOT_EVERY != entry.version // SNAPSHOT_EVERY,
            entry.lease_id,
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
