"""Branch: one instance under the other code, beside what the record has under way at the same version.

Promise 36 is decided here: which recorded actions the branch may be given. A client's action may always be given: the
client would have sent it. An outcome or a timer is an answer to something, so it may be given only where the other code
asked the same. For that the branch keeps, on both sides, the intents that wait for an outcome and the timers that are set.

For each recorded action, in this order:

1. ``origin``: which intent or timer it answers. The log does not name it, but the action's id is made of the intent's id.
   So the id is made again for each number an intent of that name may have, and compared.
2. ``kind_for``: may it be given? No, where a timer that only the other code set would have fired before it; where the
   other code has no such intent, emitted it with another payload, or not at all; where a timer is set for another time.
   ``Blocked`` then carries the reason, and the branch is open from here on: nothing behind is compared.
3. ``step``: the action is folded. A refusal of a client's action is a result, and folding goes on behind it. What an
   effect gave back and the other code cannot read is Blocked, since what its own effect would give is not recorded.
4. ``take``: the intent that was answered waits no more. What either side emitted is under way from here.

A branch that begins at a kept state (the log before it was compacted) does not know what was under way there. An outcome
of an intent from before is then taken as agreed: nothing shows that it is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from ..engine.encode import encode_intents
from ..engine.fold import FAILURES_TO_HOLD, INTENTS_PER_STEP
from ..engine.refold import Refold
from ..engine.registry import Workflow
from ..engine.schema_upgrade import logged_trigger
from ..kernel.action import EPOCH, ID_BYTES, WorkflowKey
from ..kernel.errors import (
    InvalidPayload,
    MigrationFailed,
    OnexError,
    ReducerFailed,
    StateConsistencyError,
    StateTooNew,
)
from ..kernel.intent import EnumIntentType, IntentSpec, intent_id, outcome_id, sent_id
from ..kernel.step import State
from ..kernel.user_code import caught
from ..ports import LogRow
from .value_diff import RecordedIntent, recorded_intents

TIMER: Final = EnumIntentType.TIMER
OUTCOME: Final = "intent:"
"""What the issuer of every outcome begins with; the intent's name follows."""


class Blocked(Exception):
    """The branch cannot be given this action: it would not have come, or would have come otherwise."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class IntentOrigin(NamedTuple):
    """The intent that an action is the outcome of, or the timer that fired: by the action that emitted it, name and number."""

    action_id: bytes
    name: str
    n: int


class InstanceBranch:
    """One instance under the other code.

    ``waiting[origin]`` says of each intent that waits for its outcome whether the recorded one asks the same;
    ``timers[name] -> due_us`` of the other code, ``recorded_timers`` of the record. ``failures`` counts those in a row, of
    which the third would hold the instance (promise 17). ``refused``: ids of messages that are refused where they arrive.
    ``begun``: it starts at a kept state, and what was under way there is not known.
    """

    def __init__(
        self, key: WorkflowKey, refold: Refold, state: State, *, begun: bool, refused: Collection[bytes] = ()
    ) -> None:
        self._refused, self._refold = refused, refold
        workflow = refold.workflow
        self.key, self.workflow, self.state, self.begun = key, workflow, state, begun
        self.specs: Mapping[str, IntentSpec] = workflow.reducer.intents.by_name
        self._migrations, self._schema = workflow.migrations, workflow.code.state_schema
        self.waiting: dict[IntentOrigin, bool] = {}
        self.timers: dict[str, int] = {}
        self.recorded_timers: dict[str, int] = {}
        self.failures = 0
        self._seen: set[bytes] | None = set() if begun else None

    def status(self, row: LogRow) -> str:
        """The recorded status, as the other code calls it."""
        return self._refold.status(row)

    # --- may it be given this action? -----------------------------------------------------------------------------------

    def origin(self, row: LogRow) -> IntentOrigin | None:
        """What ``row`` is the outcome of; None: a client or another instance sent it.

        The issuer is the intent's name in the schema of the row; its id may be made of an older one.
        """
        if row.cause is None or not row.issuer.startswith(OUTCOME):
            return None
        name = row.issuer.removeprefix(OUTCOME)
        cause_id = row.cause[:ID_BYTES]
        names, cause = self._migrations.names.intents, UUID(bytes=cause_id)
        for emitted_as in (name, *names.former(name, row.payload_schema)):
            for n in range(INTENTS_PER_STEP):
                if outcome_id(intent_id(cause, self.key, emitted_as, n)).bytes == row.action_id:
                    return IntentOrigin(cause_id, self._migrations.intent(name, row.payload_schema, self._schema), n)
        return None

    def kind_for(self, row: LogRow, origin: IntentOrigin | None) -> str:
        """The trigger under which it arrives. Raises Blocked when it would not have come (promise 36)."""
        self._check_early(row)
        kind = logged_trigger(self.workflow, row.kind, row.payload_schema)
        if origin is None:
            return kind
        name = origin.name
        spec = self.specs.get(name)
        if spec is None:
            raise Blocked(f"it comes of {name!r}, which the other code does not have")
        # emitted before the branch begins: whether the other code emitted it too is not known, and it is given
        before_history = self._seen is not None and origin.action_id not in self._seen
        if spec.kind == TIMER:
            if not before_history:
                self._check_timer(name)
            return spec.trigger
        if spec.kind == EnumIntentType.ACTION_SEND and self._is_refused(origin):
            raise Blocked(f"it is the outcome of {name!r}, which the other code refuses where it arrives")
        if kind not in spec.outcomes.values():
            raise Blocked(f"no outcome of {name!r} is called {kind!r} in the other code")
        agrees = self.waiting.get(origin, before_history)
        if not agrees:
            how = "emits with another payload" if origin in self.waiting else "does not emit there"
            raise Blocked(f"it is the outcome of {name!r}, which the other code {how}")
        return kind

    def _is_refused(self, origin: IntentOrigin) -> bool:
        names, cause = self._migrations.names.intents, UUID(bytes=origin.action_id)
        ever = (origin.name, *names.former(origin.name, self._schema))
        return any(sent_id(intent_id(cause, self.key, name, origin.n)).bytes in self._refused for name in ever)

    def _check_timer(self, name: str) -> None:
        mine, theirs = self.timers.get(name), self.recorded_timers.get(name)
        if mine is None:
            raise Blocked(f"timer {name!r} is not set in the other code")
        if mine != theirs:
            recorded = "not at all" if theirs is None else time_text(theirs)
            raise Blocked(f"timer {name!r} is set for {time_text(mine)} in the other code, recorded is {recorded}")

    def _check_early(self, row: LogRow) -> None:
        """Raises Blocked: a timer that only the other code set, and that is due before this action, would have fired first."""
        for name, due_us in self.timers.items():
            if due_us <= row.issued_us and self.recorded_timers.get(name) != due_us:
                raise Blocked(
                    f"timer {name!r} of the other code, set for {time_text(due_us)}, would have fired before it"
                )

    def take(
        self,
        row: LogRow,
        origin: IntentOrigin | None,
        recorded: Iterable[RecordedIntent],
        emitted: Iterable[RecordedIntent],
    ) -> None:
        """An action was folded on both sides: what it answered is no longer under way, what it emitted is."""
        if origin is not None:
            self.waiting.pop(origin, None)
            self.timers.pop(origin.name, None)
            self.recorded_timers.pop(origin.name, None)
        if self._seen is not None:
            self._seen.add(row.action_id)
        theirs = {(item.name, item.n): item for item in recorded}
        for item in theirs.values():
            if item.name in self.specs and self.specs[item.name].kind == TIMER:
                _set(self.recorded_timers, item)
        for item in emitted:
            spec = self.specs[item.name]
            if spec.kind == TIMER:
                _set(self.timers, item)
            elif spec.outcomes:
                other = theirs.get((item.name, item.n))
                agrees = other is not None and item.asks_the_same(other)
                self.waiting[IntentOrigin(row.action_id, item.name, item.n)] = agrees
        if self.state.status in self.workflow.reducer.terminal:
            self.timers.clear()

    # --- the step --------------------------------------------------------------------------------------------------------

    def step(self, row: LogRow, kind: str, origin: IntentOrigin | None) -> list[RecordedIntent]:
        """What the other code emits; ``state`` is the one after. Raises OnexError when it refuses.

        Raises Blocked when it cannot read what an effect gave back, or when nothing migrates what stands in the log.
        """
        try:
            if origin is not None and self.specs[origin.name].kind == TIMER:
                action = self._refold.timer(self.key, row, kind)
            else:
                action = self._refold.action(self.key, row)
        except OnexError as error:
            if origin is not None or isinstance(error, (StateTooNew, MigrationFailed)):
                raise Blocked(f"what was recorded does not fit the other code: {error.message}") from error
            if isinstance(error, StateConsistencyError):
                raise InvalidPayload(f"the recorded payload does not fit the other code: {error.message}") from error
            raise
        try:
            done = self._refold.delta(self.state, action)
            if len(done.intents) > INTENTS_PER_STEP:
                raise ReducerFailed(f"{kind!r} emits {len(done.intents)} intents; the limit is {INTENTS_PER_STEP}")
            items = recorded_intents(encode_intents(done.intents))
        except OnexError as error:
            self.failures = self.failures + 1 if isinstance(error, ReducerFailed) else self.failures
            raise
        except BaseException as error:  # a reducer made by hand, or a value that is no JSON: the engine refuses it too
            what = caught(error)
            self.failures += 1
            raise ReducerFailed(f"{kind!r} failed: {what}") from error
        self.state, self.begun, self.failures = done.state, True, 0
        return items

    # --- the end ----------------------------------------------------------------------------------------------------------

    def stranded(self, sent: frozenset[str]) -> str:
        """Why nothing would change it any more, or ''. ``sent``: triggers that other workflows send to this one.

        A trigger that only an outcome or a timer of its own brings counts only while such an intent is under way.
        """
        if not self.begun or self.state.status in self.workflow.reducer.terminal:
            return ""
        if self.failures >= FAILURES_TO_HOLD:
            return f"it would be held: its reducer failed {self.failures} times in a row"
        return movers(self.workflow, self.state, sent).stranded({*(one.name for one in self.waiting), *self.timers})


class Movers(NamedTuple):
    """What moves an instance on from where it stands: ``accepted`` triggers, those of them that come from ``outside``, and
    ``by`` which of its own intents and timers the others come."""

    status: str
    terminal: bool
    accepted: tuple[str, ...]
    outside: tuple[str, ...]
    by: frozenset[str]

    def stranded(self, under_way: Collection[str]) -> str:
        """Why nothing would move it any more, or ''. ``under_way``: names of intents and timers."""
        if self.terminal or self.outside or not self.by.isdisjoint(under_way):
            return ""
        if not self.accepted:
            return f"in {self.status!r} nothing is accepted, and it is not terminal"
        triggers = ", ".join(sorted(self.accepted))
        return f"in {self.status!r} only {triggers} would move it, and nothing is under way that brings it"


def movers(workflow: Workflow, state: State, sent: frozenset[str]) -> Movers:
    """``sent``: triggers that other workflows send to this one."""
    reducer = workflow.reducer
    accepted = set(reducer.accepts(state))
    arrive = {spec.name: set(arrivals(spec)) for spec in reducer.intents.by_name.values()}
    inner = {trigger for triggers in arrive.values() for trigger in triggers} - sent - workflow.public
    return Movers(
        state.status,
        state.status in reducer.terminal,
        tuple(sorted(accepted)),
        tuple(sorted(accepted - inner)),
        frozenset(name for name, triggers in arrive.items() if accepted & triggers),
    )


def _set(timers: dict[str, int], item: RecordedIntent) -> None:
    timers.pop(item.name, None)
    if not item.cancels:
        timers[item.name] = item.due_us


def arrivals(spec: IntentSpec) -> tuple[str, ...]:
    """The triggers under which the outcomes of an intent return to the instance that emitted it."""
    return (spec.trigger,) if spec.kind == TIMER else tuple(spec.outcomes.values())


def time_text(due_us: int) -> str:
    """Microseconds since 1970 UTC as a date and time, to the second."""
    return (EPOCH + timedelta(microseconds=due_us)).isoformat(timespec="seconds").replace("+00:00", "Z")
