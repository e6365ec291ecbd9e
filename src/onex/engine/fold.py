"""Fold: the actions that wait for one instance, checked and stepped in order in memory, become one ``KeyChange``.

An action is checked and stepped on the state that the one before it left; a refused one leaves no trace in it.
Nothing here waits, so a batch of a thousand instances is one turn of the event loop.

``Folded`` takes the loaded instance apart into its own fields and works on these. Per action: ``_check`` finds a refusal or none
(``action_checks``, promise 5); ``_step`` calls the reducer, encodes what it made, and only then takes it over; ``_refuse`` records
a refusal and what it means for the outbox row that the action settles. At the end ``_change`` makes the record for the store, and
the entry gets the new ``Loaded``. So an exception that leaves the fold leaves the entry with its old value.

What may go wrong, and why the end is still right:

- The reducer, a guard or an encoder raises: ReducerFailed. At ``FAILURES_TO_HOLD`` in a row the instance is held (promise 17).
- A handler changed a list or dict of its state in place before it failed: ``_step_back`` decodes the state from its bytes.
- An action is folded a second time, and its handler changed the payload in place the first time: ``_payload_again``.
- A timer is set and then replaced or cancelled within one batch. It has no outbox row yet: ``_new_timers`` knows it, and
  ``_without_dropped_timers`` leaves its row out.
- An outcome is refused. A fault of the reducer's keeps it in its row as held, to be delivered again; any other refusal ends it.
- The commit fails: the caller forgets the entry, and all of this is done again on what the store has.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Self
from uuid import UUID

from pydantic import BaseModel

from ..kernel.action import ID_BYTES, Action
from ..kernel.canonical import reloaded
from ..kernel.errors import (
    ConcurrentModificationError,
    InstanceFinished,
    InstanceHeld,
    InvalidPayload,
    KilledItsProcess,
    LeaseConflictError,
    OnexError,
    QuotaExceeded,
    ReducerFailed,
    Refused,
)
from ..kernel.intent import CANCELLING, Emitted, EnumIntentType, intent_id
from ..kernel.lease import Lease, LeaseRequest, WorkflowLease
from ..kernel.user_code import caught
from ..ports import EnumOutboxState, KeyChange, LogRow, NewIntent, Note, Pointer
from .action_checks import ActionChecks, Rules, TimerGone
from .delivery import by_the_clock
from .encode import BLOB_MARK, decode, encode_step, named_blobs, ordinals, state_hash
from .failure_trace import kept_message
from .mailbox import NO_TIMERS, Entry, Loaded
from .pending import Pending
from .schema_upgrade import held_result, stored_state

FAILURES_TO_HOLD = 3
SNAPSHOT_EVERY = 1000
INTENTS_PER_STEP = 64
TIMER = EnumIntentType.TIMER
_NO_TIMER = (None, 0)
_HOLDS = (ReducerFailed, InstanceHeld, KilledItsProcess, QuotaExceeded)
_FOR_EVER_US = 2**63

make = tuple.__new__  # of a NamedTuple: its own way costs three times the tuple, and there are several per action


def fold(
    entry: Entry,
    pendings: Sequence[Pending],
    rules: Rules,
    refusals: Mapping[Pending, OnexError],
    folded_before: Container[Pending],
) -> Folded:
    """Check and step ``pendings`` on ``entry``, which is left at the state after them. Raises nothing for bad input.

    ``refusals`` are decided already. A handler may have changed the payload of one that was ``folded_before``: it is read
    again from its bytes.
    """
    return Folded(entry, pendings, rules, refusals, folded_before).run()


class Folded(ActionChecks):
    """What one key's batch came to. ``change`` is None when nothing is to be written for the key itself.

    ``stepped[i]`` is the pending that became ``change.rows[i]``, and what it emitted. ``status_before`` is the status it began in.
    ``valid_until_us``: a lease or an action that was accepted ends then; committed later, all of it is to be judged again.
    ``granted``: requests for the lease that were met, each with what its holder is to know.
    ``unseen`` were refused before the reducer saw them.
    ``cancels`` are the names and ids of intents that these steps cancelled: those that were open before.
    """

    __slots__ = (
        "_added", "_before", "_folded_before", "_lease_ended", "_refusals", "_row_blobs", "_rows", "_searched", "_settled",
        "_stepping", "_timed", "cancels", "change", "code_id", "failures", "granted", "instance", "last_us", "notes",
        "pendings", "refused", "state_bytes", "state_hash", "state_schema", "status_before", "stepped", "unseen",
    )  # fmt: skip

    def __init__(
        self,
        entry: Entry,
        pendings: Sequence[Pending],
        rules: Rules,
        refusals: Mapping[Pending, OnexError],
        folded_before: Container[Pending],
    ) -> None:
        assert entry.loaded is not None, "what is folded was loaded"
        self.entry = entry
        self.pendings = pendings
        self.change: KeyChange | None = None
        self.stepped: list[tuple[Pending, tuple[Emitted, ...]]] = []
        self.refused: list[tuple[Pending, OnexError]] = []
        self.notes: list[Note] = []
        self.cancels: list[str] = []
        self.valid_until_us = _FOR_EVER_US
        self.unseen: tuple[Pending, ...] = ()
        self._stepping, self._added = b"", 0
        # the instance while it is folded; the entry keeps what it had until this has come to its end
        self._before = entry.loaded
        (
            self.instance, self.version, self.epoch, self.state, self.state_bytes, self.state_schema, self.state_hash,
            self.terminal, self.code_id, self.last_us, self.failures, self.held, self.lease_id, self.lease_until_us,
            timers, self.unreadable,
        ) = entry.loaded  # fmt: skip
        self.status_before = "" if self.state is None else self.state.status
        self._searched = rules.search.read(self.state) if rules.search is not None and self.version else None
        self.timers = dict(timers) if timers else {}
        self._rules = rules
        self._refusals = refusals
        self._folded_before = folded_before
        self._rows: list[LogRow] = []
        self._settled: list[Pointer] = []
        self._row_blobs: list[tuple[int, bytes]] = []
        # timers set in this very batch, by name: (row, ordinal, due); they have no pointer before the commit
        self._new_timers: dict[str, tuple[int, int, int]] = {}
        self._timed = self._lease_ended = False
        self.granted: list[tuple[Pending, WorkflowLease]] = []
        if entry.release:  # by an operator, or because the code is new (promise 17)
            self.failures, self.held, entry.release = 0, "", False

    def run(self) -> Self:
        for pending in self.pendings:
            if pending.payload.__class__ is LeaseRequest:
                self._lease(pending)
                continue
            error = (self._refusals.get(pending) if self._refusals else None) or self._check(pending)
            if error is not None:
                self.unseen += (pending,)
            else:
                try:
                    self._step(pending)
                except OnexError as raised:
                    error = raised
                    if not isinstance(error, Refused) or error.handler_ran:
                        self._step_back()
            if error is not None:
                self._refuse(pending, error)
        self.change = self._change()
        # others end a lease, in the store; commits without a lease do not check it, so the instance is loaded again
        self.entry.loaded = None if self._lease_ended else self._loaded()
        if self.entry.use is not None:
            self.entry.use.folded(self._added)
        del self._before  # a batch keeps its folds until it is durable; kept with them, old states cost 5 % of the rate
        return self

    @property
    def is_complete(self) -> bool:
        """Whether memory holds all that the store will, before it has answered: it draws instance numbers, pointers of timers."""
        return self.instance is not None and not self._new_timers and not self._lease_ended

    def _step(self, pending: Pending) -> None:
        entry = self.entry
        state = self.state
        assert state is not None, "a loaded entry has a state"
        issued_us = pending.issued_us if pending.issued_us > self.last_us else self.last_us
        kind, body = pending.kind, pending.body
        reducer = entry.workflow.reducer
        payload = pending.payload
        cause, through = pending.cause, b""
        if cause is not None and len(cause) > ID_BYTES:
            cause, through = cause[:ID_BYTES], cause[ID_BYTES:]
        if pending in self._folded_before:
            payload = self._payload_again(pending)
        action: Action[BaseModel] = make(
            Action,
            (entry.key, kind, payload, pending.id, issued_us, pending.correlation, pending.issuer, cause, through),
        )
        try:
            done = reducer.delta(state, action)
            after, emitted = done.state, done.intents
            status = after.status
            terminal = status in reducer.terminal
            if len(emitted) > INTENTS_PER_STEP:
                raise ReducerFailed(f"{kind!r} emitted {len(emitted)} intents; the limit is {INTENTS_PER_STEP}")
            kept, intents = encode_step(after, emitted)
            if self._rules.check_all:
                reloaded(after)  # it reloads equal, also where a handler changed it in place
        except InvalidPayload as error:  # of the reducer's making: so the reducer failed
            raise ReducerFailed(f"{reducer.workflow_type}.{kind}: {error.message}", trigger=kind) from error
        except OnexError:
            raise
        except BaseException as error:  # a reducer may be of any class, not only a MachineReducer
            raise ReducerFailed(f"{reducer.workflow_type}.{kind}: {caught(error)}", trigger=kind) from error
        if (use := entry.use) is not None:
            settles = pending.settles is not None and not (pending.sent or pending.timer)
            sizes = len(self.state_bytes), len(kept)
            self._added += use.check_step(entry.key, kind, sizes, emitted, self._added, settles=settles, ends=terminal)
        # from here on nothing may fail, since parts of the step are already kept
        row, self._stepping = len(self._rows), pending.id
        outbox = self._queue_intents(row, emitted, terminal) if emitted else ()
        if outbox and (pending.timer or issued_us != pending.issued_us):
            outbox = by_the_clock(outbox, issued_us, self._rules.now_us)
        if pending.settles is not None:
            self._settled.append(pending.settles)
            if pending.timer:
                self.timers.pop(pending.timer, None)
        if terminal:
            self._drop_timers()
            if row:
                self._drop_waiting()
        for data in (body, intents):
            if data.find(BLOB_MARK) >= 0:  # half the time of ``in``
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
        self.state = after
        self.state_bytes = kept
        self.version += 1
        self.last_us = issued_us
        self.terminal = terminal
        self.failures = 0
        if pending.lease_id is not None:
            self.epoch += 1

    def _lease(self, pending: Pending) -> None:
        """A request for the lease is judged where it stands among the actions: those behind it find the lease that it left."""
        error = self._refusals.get(pending) if self._refusals else None
        try:
            if error is not None:
                raise error
            self.granted.append((pending, self._lead(pending, tried_before=pending in self._folded_before)))
        except OnexError as refusal:
            self.unseen += (pending,)
            self._refuse(pending, refusal)

    def _payload_again(self, pending: Pending) -> BaseModel:
        """A handler has seen the payload, and may have changed it in place: it is decoded from its bytes."""
        return decode(self.entry.workflow.payload_model(pending.kind), pending.body)

    def _step_back(self) -> None:
        """A handler may have changed a list or dict of its state in place before it failed: what stands is in the bytes."""
        entry = self.entry
        try:
            if self._rows:
                self.state = decode(entry.workflow.reducer.state_type, self.state_bytes)
            elif self._before.version:
                self.state = stored_state(entry.workflow, self.state_schema, self.state_bytes)
            else:
                self.state = entry.initial_state()
        except OnexError as error:
            self.unreadable = error

    def _queue_intents(self, row: int, emitted: tuple[Emitted, ...], terminal: bool) -> tuple[NewIntent, ...]:
        outbox = list[NewIntent]()
        for ordinal, one in enumerate(emitted):
            name = ""
            if one.spec is CANCELLING:
                outbox = [new for new in outbox if not self._is_called(row, emitted, new.ordinal, one.to)]
                self._cancel(one.to)
                continue
            if one.spec.kind == TIMER:
                name = one.spec.name
                self._remove_timer(name)
                if one.cancelled or terminal:
                    continue
                self._new_timers[name] = (row, ordinal, one.due_us)
                self._timed = True
            outbox.append(make(NewIntent, (ordinal, one.priority.rank, one.due_us, name)))
        return tuple(outbox)

    def _cancel(self, which: str) -> None:
        """``which``: a name or an id. What an earlier action of this batch emitted gets no row; of others the batch decides."""
        self.cancels.append(which)
        for index, logged in enumerate(self._rows):
            emitted = self.stepped[index][1]
            kept = tuple(new for new in logged.outbox if not self._is_called(index, emitted, new.ordinal, which))
            if kept != logged.outbox:
                self._rows[index] = logged._replace(outbox=kept)

    def _drop_waiting(self) -> None:
        """The instance ends: what earlier actions of this batch emitted gets no row, unless it is detached (promise 44)."""
        for index, logged in enumerate(self._rows):
            if logged.outbox:
                emitted = self.stepped[index][1]
                kept = tuple(new for new in logged.outbox if new.timer or emitted[new.ordinal].spec.detached)
                self._rows[index] = logged._replace(outbox=kept)

    def _is_called(self, row: int, emitted: tuple[Emitted, ...], ordinal: int, which: str) -> bool:
        name = emitted[ordinal].spec.name
        if name == which or emitted[ordinal].spec.kind == TIMER:
            return name == which
        n = ordinals([one.spec.name for one in emitted])[ordinal]
        action_id = self._rows[row].action_id if row < len(self._rows) else self._stepping
        return str(intent_id(UUID(bytes=action_id), self.entry.key, name, n)) == which

    def _remove_timer(self, name: str) -> None:
        waits = self.timers.pop(name, None)
        if waits is not None:
            self._settled.append(waits[0])
        self._new_timers.pop(name, None)

    def _drop_timers(self) -> None:
        self._settled.extend(pointer for pointer, _ in self.timers.values())
        self.timers.clear()
        self._new_timers.clear()

    def _refuse(self, pending: Pending, error: OnexError) -> None:
        self.refused.append((pending, error))
        entry = self.entry
        if isinstance(error, ReducerFailed):
            self.failures += FAILURES_TO_HOLD if error.context.get("stuck") else 1
            # one that has not begun has no row: it is held in memory, where its steps would take everybody's time
            if self.failures >= FAILURES_TO_HOLD and (self.version or error.context.get("overrun")):
                self.held = kept_message(error, pending.payload)
        elif isinstance(error, LeaseConflictError):
            self._lease_ended = True
        if pending.settles is None or pending.sent:  # a caller or sender gets the error, and decides
            return
        if isinstance(error, TimerGone) and self.timers.get(pending.timer, _NO_TIMER)[0] == pending.settles:
            self.timers.pop(pending.timer)  # it waits, but for a status that the instance has left
            self._settled.append(pending.settles)
            return
        if isinstance(error, ConcurrentModificationError | TimerGone):
            return  # what replaced it has settled its row; or its row is held, which ``timers`` does not list, and stays
        if isinstance(error, _HOLDS) or (self.unreadable is not None and not isinstance(error, InstanceFinished)):
            held = held_result(pending.kind, pending.body, entry.workflow.code.state_schema)
            why = kept_message(error, pending.payload)
            self.notes.append(Note(pending.settles, EnumOutboxState.HELD, pending.attempt, result=held, error=why))
        else:
            self._settled.append(pending.settles)

    def _change(self) -> KeyChange | None:
        entry = self.entry
        rows = tuple(self._without_dropped_timers() if self._timed else self._rows)
        before = self._before
        kept = (self.failures, self.held) != (before.failures, before.held) and self.instance is not None
        led = (self.lease_id, self.lease_until_us) != (before.lease_id, before.lease_until_us)
        if not rows and not self._settled and not kept and not led:
            return None
        if rows:
            self.state_hash = state_hash(self.state_hash, entry.key, entry.workflow.code.digest, rows, self.state_bytes)
        changed_code = bool(rows) and self._before.version > 0 and self.code_id != self._rules.code_id
        schema = entry.workflow.code.state_schema if rows else self.state_schema
        code_id = self._rules.code_id if rows else self.code_id
        status = rows[-1].status if rows else self.state.status if self.state is not None else ""
        plan, same = self._rules.search, schema == before.state_schema  # a migration may have changed any search field
        change: KeyChange = make(
            KeyChange,
            (
                entry.key, self.instance, self._before.version, rows, self.state_bytes, schema, self.state_hash, status,
                self.terminal, code_id, self._rules.env_id, self.epoch, self.failures, self.held, tuple(self._settled),
                tuple(self._row_blobs), self._before.state_bytes if changed_code else None,
                self._before.version // SNAPSHOT_EVERY != self.version // SNAPSHOT_EVERY, before.lease_id,
                (), (), (),  # notes, rejections, answers: the batch adds them
                entry.shard, Lease(self.lease_id, self.lease_until_us) if led else None,
                plan.move(self._searched if same else None, self.state) if rows and plan is not None else None,
            ),
        )  # fmt: skip
        if rows:
            self.code_id, self.state_schema = code_id, schema
        return change

    def _loaded(self) -> Loaded:
        loaded: Loaded = make(
            Loaded,
            (
                self.instance, self.version, self.epoch, self.state, self.state_bytes, self.state_schema, self.state_hash,
                self.terminal, self.code_id, self.last_us, self.failures, self.held, self.lease_id, self.lease_until_us,
                self.timers or NO_TIMERS, self.unreadable,
            ),
        )  # fmt: skip
        return loaded

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
