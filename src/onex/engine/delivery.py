"""Delivery: one intent on its way from its outbox row to its outcome.

A delivery begins in one of two ways. The batch makes it as soon as the commit that emitted the intent is durable. Or
``stored_delivery`` reads it back from its outbox row: after a crash, or because memory had no room for it at first. From
there on both are treated alike. What a row knows of earlier tries are fields here: ``attempt``, ``crashes``, ``maybe_done``.

A delivery leads to two values: the ``intent`` that an effect is given, and the ``pending`` action that settles its row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from pydantic import BaseModel

from ..kernel.action import NOTHING, OutcomeOf, WorkflowKey
from ..kernel.canonical import detached_copy
from ..kernel.errors import OnexError, StateConsistencyError
from ..kernel.intent import Emitted, EnumIntentType, ModelIntent, intent_id
from ..kernel.intent_fields import EnumIntentPriority
from ..kernel.try_signals import Beat, CancelSignal
from ..ports import Clock, NewBlob, NewIntent, OutboxRow, Pointer
from .encode import body_hash, canonical_payload
from .pending import Pending
from .registry import ReducerRegistry, Workflow
from .schema_upgrade import logged_intent

PROGRESS = "progress: "
"""Stands before a progress in an outbox row, where else the reason of the last failure stands."""
AHEAD_US = 86_400_000_000  # a clock that is set right moves by less; an hour of it is not worth two times in one row


@dataclass(slots=True, eq=False)
class Delivery:
    """One intent, and what this process knows of its tries.

    ``workflow``: the version that emitted it, and whose executors serve it. ``key``, ``version``, ``action_id`` and
    ``correlation`` are those of the action that emitted it; ``n`` counts, from 0, the intents of its name in that step.
    ``due_us``: it is not run earlier. What the reducer asked for stands in ``emitted.due_us``; ``by_the_clock`` says how the
    two differ. ``queued_us``: since when it waits in this process.

    ``attempt``: the number of the current or next try, from 1. ``crashes``: how many processes ended while it ran.
    ``maybe_done``: a try so far may have had its effect. ``emitted_as``: the name its id is made of, if the contract calls it
    otherwise by now; else ''. ``alone``: it is run while nothing else of this relay runs. ``ends``: it is not run any more,
    and this is the reason. ``began_us``: when the current try began. ``redriven``: it was dead, and an operator began it anew.
    ``taken``: somebody runs it or has run it, so it does not wait. ``told`` tells its effect when it is cancelled, and ``beat``
    hears how far it is; ``progress`` is what a try told last. ``turn`` and ``answered`` are for the gate of its target
    (``target_gate``).
    """

    workflow: Workflow
    pointer: Pointer
    key: WorkflowKey
    version: int
    action_id: bytes
    correlation: bytes
    emitted: Emitted
    n: int
    due_us: int = 0
    queued_us: int = 0
    attempt: int = 1
    crashes: int = 0
    emitted_as: str = ""
    maybe_done: bool = False
    alone: bool = False
    ends: OnexError | None = None
    began_us: int = 0
    redriven: bool = False
    taken: bool = False
    told: CancelSignal | None = None
    beat: Beat | None = None
    progress: str = ""
    turn: int = 0
    answered: bool | None = None
    _id: UUID | None = None

    def __lt__(self, other: Delivery) -> bool:
        """Heaps compare two of one pointer and one time: one of them is known no more, so their order means nothing."""
        return False

    @property
    def id(self) -> UUID:
        """The id of the intent: the same for every process and every try (promise 19)."""
        found = self._id
        if found is None:
            name = self.emitted_as or self.emitted.name
            found = self._id = intent_id(UUID(bytes=self.action_id), self.key, name, self.n)
        return found

    @property
    def outcome_of(self) -> OutcomeOf:
        """What a handler is told of this intent with its outcome."""
        return OutcomeOf(self.id, self.emitted.name, self.n, self.version)

    @property
    def is_cancelled(self) -> bool:
        return self.told is not None and self.told.is_set()

    def cancel(self) -> None:
        """Tell its effect, now or as soon as it begins."""
        if self.told is None:
            self.told = CancelSignal()
        self.told.set()

    def intent(self) -> ModelIntent[BaseModel]:
        """What the effect is given."""
        emitted, name = self.emitted, self.id
        self.told = self.told or CancelSignal()
        return ModelIntent(
            intent_id=name,
            intent_type=emitted.spec.kind,
            target=emitted.spec.target,
            # a copy: an effect may change a list of its payload, and the next try must see what the first one saw
            payload=NOTHING if emitted.payload is None else detached_copy(emitted.payload),
            correlation_id=UUID(bytes=self.correlation),
            idempotency_key=emitted.idempotency_key or str(name),
            causation_id=UUID(bytes=self.action_id),
            name=emitted.name,
            workflow_key=self.key,
            version=self.version,
            n=self.n,
            attempt=self.attempt,
            priority=EnumIntentPriority(emitted.priority),
        ).told_by(self.told, self.beat, self.progress)

    def pending(
        self,
        clock: Clock,
        key: WorkflowKey,
        kind: str,
        payload: BaseModel,
        action_id: UUID,
        *,
        blobs: tuple[NewBlob, ...] = (),
        sent: bool = False,
        given_id: bool = False,
        expected_version: int | None = None,
    ) -> Pending:
        """The action that this intent leads to: its outcome, its timer's trigger, or (``sent``) its message to another instance.

        The action settles the intent's row, but for a message that has outcomes of its own: its outcome does.
        Raises InvalidPayload, PayloadTooLarge.
        """
        payload, body = canonical_payload(payload)
        emitted = self.emitted
        is_timer = emitted.spec.kind == EnumIntentType.TIMER
        now_us = clock.now_us()
        return Pending(
            key,
            kind,
            payload,
            id=action_id.bytes,
            given_id=given_id or sent,  # a message may have been applied before a crash: then it is not refused now
            issued_us=max(now_us, emitted.due_us) if is_timer else now_us,  # though the clock was set back just now
            correlation=self.correlation,
            body=body,
            # over the stored bytes: a held outcome that is delivered again has the same
            body_hash=body_hash(kind, body),
            accepted_s=clock.monotonic(),
            issuer=str(self.key) if sent else f"intent:{emitted.name}",
            cause=self.action_id + self.outcome_of.packed(),
            expected_version=expected_version,
            settles=None if sent and emitted.spec.outcomes else self.pointer,
            sent=sent,
            timer=emitted.name if is_timer else "",
            blobs=blobs,
            attempt=self.attempt,
            read_by=None if sent else self.workflow,
        )


def stored_delivery(row: OutboxRow, registry: ReducerRegistry, now_us: int) -> Delivery:
    """The delivery of a stored row, typed by this app's contract. The other intents of its step are not decoded.

    Raises UnknownWorkflow, CodeNotAtHand, StateConsistencyError, MigrationFailed, StateTooNew when this app cannot read it.
    """
    workflow = registry.chosen(row.key, row.code_id)
    emitted, was, n = logged_intent(workflow, row.payload_schema, row.intents, row.pointer.ordinal)
    spec = emitted.spec
    if (spec.kind == EnumIntentType.TIMER) != bool(row.timer):
        what = "a timer" if row.timer else "no timer"
        raise StateConsistencyError(f"intent {was!r} was stored as {what}; the contract says {spec.kind}")
    if spec.payload is not None and emitted.payload is None:
        raise StateConsistencyError(
            f"intent {was!r} was stored with no payload; the contract says {spec.payload.__name__}"
        )
    return Delivery(
        workflow,
        row.pointer,
        row.key,
        row.version,
        row.action_id,
        row.correlation,
        emitted,
        n,
        row.due_us,
        queued_us=now_us,
        attempt=max(1, row.attempt),
        crashes=row.crashes,
        emitted_as=was if was != spec.name else "",
        progress=row.error.removeprefix(PROGRESS) if row.error.startswith(PROGRESS) else "",
    )


def by_the_clock(outbox: Iterable[NewIntent], issued_us: int, now_us: int) -> tuple[NewIntent, ...]:
    """Outbox rows of an action whose time is its instance's, not the clock's: due as long after ``now_us`` as after it.

    What a reducer sees never goes back (promise 8), so one action stamped in 2100 leaves its instance in 2100 for good. "In
    an hour", said there, is an hour from now all the same. The log keeps what was said; only the row is moved.
    Within a day of the clock nothing is moved. Nor is what was due before ``issued_us``: that was no time from then.
    """
    ahead_us = issued_us - now_us
    if ahead_us <= AHEAD_US:
        return tuple(outbox)
    return tuple(new._replace(due_us=new.due_us - ahead_us) if new.due_us >= issued_us else new for new in outbox)
