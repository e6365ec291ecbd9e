"""Bugs in the fold: what is accepted, what a step leaves behind, and which timers and intents follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from pydantic import BaseModel

import onex.engine.batch
import onex.engine.encode
import onex.engine.fold
import onex.engine.schema_upgrade
import onex.replay.segment
from onex.adapters.memory.store import MemoryStore
from onex.engine.fold import Folded
from onex.engine.mailbox import Entry, Loaded
from onex.engine.pending import Pending
from onex.kernel.action import Action, WorkflowKey
from onex.kernel.errors import OnexError
from onex.kernel.intent import Emitted
from onex.kernel.machine import MachineReducer
from onex.kernel.step import ROLLBACK, Done
from onex.ports import KeyChange, LogRow, NewIntent, Stored
from tests.engine_sim.sample_workflow import SampleState
from tests.simulation.planting import planted, swapped

Verdict = OnexError | None


@planted
def timer_fires_though_it_was_cancelled() -> Iterator[None]:
    with swapped(Folded, "_timer_waits", lambda self, pending: True):
        yield


@planted
def every_third_intent_of_a_step_gets_no_row() -> Iterator[None]:
    right = Folded._queue_intents

    def wrong(self: Folded, row: int, emitted: tuple[Emitted, ...], terminal: bool) -> tuple[NewIntent, ...]:
        return tuple(new for new in right(self, row, emitted, terminal) if new.ordinal != 2)

    with swapped(Folded, "_queue_intents", wrong):
        yield


@planted
def state_hash_without_the_one_before() -> Iterator[None]:
    right = onex.engine.encode.state_hash
    with swapped(onex.engine.fold, "state_hash", lambda before, *rest: right(b"", *rest)):
        yield


@planted
def timer_left_when_it_is_set_again() -> Iterator[None]:
    """Nobody removes the row of the first, and a timer is known by its name alone: both fire."""

    def keep(self: Folded, name: str) -> None:
        self._new_timers.pop(name, None)

    def waits(self: Folded, pending: Pending) -> bool:
        return pending.timer in self.timers

    def left(self: MemoryStore, key: WorkflowKey, name: str | None) -> None:
        return None

    with (
        swapped(Folded, "_remove_timer", keep),
        swapped(Folded, "_timer_waits", waits),
        swapped(MemoryStore, "_remove_timers", left),
    ):
        yield


@planted
def timers_left_by_a_terminal_status() -> Iterator[None]:
    right = MemoryStore._remove_timers

    def named_only(self: MemoryStore, key: WorkflowKey, name: str | None) -> None:
        if name is not None:
            right(self, key, name)

    with (
        swapped(Folded, "_drop_timers", lambda self: None),
        swapped(MemoryStore, "_remove_timers", named_only),
    ):
        yield


@contextmanager
def judged(look: Callable[[Folded, Pending, Callable[[Folded, Pending], Verdict]], Verdict]) -> Iterator[None]:
    """``look`` in place of the judgement of every action; it is given the right one to ask."""
    right = Folded._check
    with swapped(Folded, "_check", lambda self, pending: look(self, pending, right)):
        yield


@planted
def expiry_not_checked() -> Iterator[None]:
    def wrong(self: Folded, pending: Pending, right: Callable[[Folded, Pending], Verdict]) -> Verdict:
        pending.expires_us = 0  # type: ignore[misc]  # nothing changes a Pending; this bug does
        return right(self, pending)

    with judged(wrong):
        yield


@planted
def expected_version_not_compared() -> Iterator[None]:
    def wrong(self: Folded, pending: Pending, right: Callable[[Folded, Pending], Verdict]) -> Verdict:
        if not pending.timer:
            pending.expected_version = None  # type: ignore[misc]  # nothing changes a Pending; this bug does
        return right(self, pending)

    with judged(wrong):
        yield


@planted
def epoch_not_compared() -> Iterator[None]:
    def wrong(self: Folded, pending: Pending, right: Callable[[Folded, Pending], Verdict]) -> Verdict:
        pending.epoch = None  # type: ignore[misc]  # nothing changes a Pending; this bug does
        return right(self, pending)

    with judged(wrong):
        yield


@planted
def lease_that_ran_out_accepted() -> Iterator[None]:
    def wrong(self: Folded, pending: Pending, right: Callable[[Folded, Pending], Verdict]) -> Verdict:
        until_us = self.lease_until_us
        if pending.lease_id is not None:
            self.lease_until_us = 2**60
        try:
            return right(self, pending)
        finally:
            self.lease_until_us = until_us

    with judged(wrong):
        yield


@planted
def lease_not_required() -> Iterator[None]:
    """Whoever comes without one is nobody's rival."""
    right = Folded._check_lease

    def wrong(self: Folded, pending: Pending) -> Verdict:
        return None if pending.lease_id is None else right(self, pending)

    with swapped(Folded, "_check_lease", wrong):
        yield


@planted
def outcomes_refused_without_a_lease() -> Iterator[None]:
    """They have none, so what an effect came to is refused, and lost."""

    def wrong(self: Folded, pending: Pending, right: Callable[[Folded, Pending], Verdict]) -> Verdict:
        is_outcome = pending.settles is not None and not pending.sent and not pending.timer
        return (self._check_lease(pending) if is_outcome else None) or right(self, pending)

    with judged(wrong):
        yield


@planted
def finished_instance_takes_a_rollback() -> Iterator[None]:
    def wrong(self: Folded, pending: Pending, right: Callable[[Folded, Pending], Verdict]) -> Verdict:
        if pending.kind == ROLLBACK:
            self.terminal = False
        return right(self, pending)

    with judged(wrong):
        yield


@planted
def time_goes_back_with_the_clock() -> Iterator[None]:
    """The last time of an instance is not loaded with it."""
    right = Entry.load

    def wrong(self: Entry, stored: Stored | None) -> Loaded:
        self.loaded = right(self, stored)._replace(last_us=0)
        return self.loaded

    with swapped(Entry, "load", wrong):
        yield


@planted
def failed_step_not_taken_back() -> Iterator[None]:
    """A handler that changed its state in place before it failed has changed it."""
    with swapped(Folded, "_step_back", lambda self: None):
        yield


@planted
def intents_of_one_name_share_a_number() -> Iterator[None]:
    def wrong(names: list[str]) -> list[int]:
        return [0 for _ in names]

    with swapped(onex.engine.batch, "ordinals", wrong), swapped(onex.engine.schema_upgrade, "ordinals", wrong):
        yield


@planted
def outcome_that_failed_settles_its_row() -> Iterator[None]:
    """What the reducer could not digest is forgotten, instead of held until it is fixed."""
    right = Folded._refuse

    def wrong(self: Folded, pending: Pending, error: OnexError) -> None:
        right(self, pending, error)
        if self.notes and self.notes[-1].pointer == pending.settles:
            self._settled.append(self.notes.pop().pointer)

    with swapped(Folded, "_refuse", wrong):
        yield


@planted
def reducer_that_counts_its_calls() -> Iterator[None]:
    right, calls = MachineReducer.delta, count()

    def wrong(self: MachineReducer[SampleState], state: SampleState, action: Action[BaseModel]) -> Done[SampleState]:
        done = right(self, state, action)
        counted = done.state.count + next(calls) % 2
        return Done(done.state.evolve(count=counted), done.intents) if action.kind == "add" else done

    with swapped(MachineReducer, "delta", wrong):
        yield


@planted
def code_changed_without_a_snapshot() -> Iterator[None]:
    right = Folded._change

    def wrong(self: Folded) -> KeyChange | None:
        change = right(self)
        return None if change is None else change._replace(snapshot_before=None)

    with swapped(Folded, "_change", wrong):
        yield


@planted
def hash_without_the_issuer() -> Iterator[None]:
    """No fold can tell, because no reducer sees the difference: only the hash keeps it."""
    right = onex.engine.encode.state_hash

    def wrong(before: bytes, key: WorkflowKey, code: bytes, rows: Sequence[LogRow], state: bytes) -> bytes:
        return right(before, key, code, [row._replace(issuer="", correlation=b"") for row in rows], state)

    with swapped(onex.engine.fold, "state_hash", wrong), swapped(onex.replay.segment, "state_hash", wrong):
        yield
