"""A schedule as a pure machine: which due time is fired next, which are missed, and which wait for an earlier run.

Theory of operation
    One firing is under way at a time. ``fire`` asks the engine to send the action and to tell what came of it; then the next one
    is decided. The action's id follows from schedule and due time, so a firing that is asked twice is applied once.

    ``_go_on`` decides from the time of the action alone. Due times that have come, LATE_S late or more, are made up for as
    ``catch_up`` says; the others are fired in order. Those that are to be fired are the newest ones without a gap, so a number
    (``owed``) says which.

    Whether an earlier run has ended is asked in the same effect that would begin the next: its answer is recorded, and a replay
    reads it there. For a queued firing the engine watches the run and tells when it has ended. That begins nothing: the firing
    goes the usual way then.

    What may go wrong: the timer fires while a firing is under way. Then nothing is done, because its answer goes on. A pause or
    an end while a firing is under way lets it happen: its action may be on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from onex import Action, Failure, Nothing, Step, cancel, intent, reducer, timer
from onex.contracts.due_times import fields_of, fires_at, firing_id, first_due, passed, schedule_id
from onex.contracts.model.schedule import EnumCatchUp, EnumOverlap, ModelSchedule
from onex.contracts.model.template import filled
from onex.kernel.intent import IntentDraft

from .payloads import Declared, Fire, FireResult, Last, Open, Schedule, WatchResult, WatchRun

schedules = reducer(Schedule)

LATE_S: Final = 60
"""A due time that is handled so late passed while no engine ran."""
MOST_ASKED: Final = 16

AnyAction = Action[Any]


@schedules.on("declared")
def declared(now: Schedule, action: Action[Declared]) -> Step[Schedule]:
    """A changed definition counts from now on; what was owed under the old one is missed."""
    said = action.payload
    if said.definition == now.definition and now.status == "active":
        return Step(now)
    now = _missed(now, now.owed, action).evolve(workflow=said.workflow, definition=said.definition, owed=0)
    if now.status == "paused":
        return Step(now)
    return _from_now(now, said.definition, action)


@schedules.on("removed")
def removed(now: Schedule, action: Action[Nothing]) -> Step[Schedule]:
    return _at_rest(now)


@schedules.on("pause")
def pause(now: Schedule, action: Action[Nothing]) -> Step[Schedule]:
    return _at_rest(now)


@schedules.on("resume")
def resume(now: Schedule, action: Action[Nothing]) -> Step[Schedule]:
    """Due times of the pause are over."""
    return Step(now) if now.definition is None else _from_now(now, now.definition, action)


@schedules.on("fire_now")
def fire_now(now: Schedule, action: Action[Nothing]) -> Step[Schedule]:
    """A firing that an operator asks for. Overlap holds for it as for any other."""
    asked = (*now.asked, action.issued_at)[:MOST_ASKED]
    return _go_on(now.evolve(asked=asked), action, active=now.status == "active", sets_timer=False)


@schedules.on("due")
def due(now: Schedule, action: Action[Nothing]) -> Step[Schedule]:
    return _go_on(now, action, active=True)


@schedules.on("told")
def told(now: Schedule, action: Action[FireResult]) -> Step[Schedule]:
    outcome, reason = action.payload.outcome, action.payload.reason
    done, definition = _answered(now, action), now.definition
    if done is None or definition is None:
        return Step(now)
    waits = outcome == "running" and definition.policy is EnumOverlap.QUEUE and now.status == "active"
    waits = waits and (done.was_queued or now.queued is None)
    if waits:
        now = now.evolve(queued=done.due)
    elif outcome == "begun":
        now = now.evolve(fired=now.fired + 1, run=done.key)
    elif outcome == "refused":
        now = now.evolve(refused=now.refused + 1)
    else:
        now = now.evolve(skipped=now.skipped + 1)
    if done.was_queued and not waits:
        now = now.evolve(queued=None)
    last = Last(due=done.due, key=done.key, outcome="queued" if waits else outcome, reason=reason)
    now = now.evolve(firing=None, last=last)
    watching = _watch(now, action) if waits else Step(now)
    return _with(_go_on(watching.state, action, active=now.status == "active"), watching.intents)


@schedules.on("not_told")
def not_told(now: Schedule, action: Action[Failure]) -> Step[Schedule]:
    """The engine could not send it, for hours."""
    done = _answered(now, action)
    if done is None:
        return Step(now)
    last = Last(due=done.due, key=done.key, outcome="failed", reason=action.payload.message)
    now = now.evolve(firing=None, refused=now.refused + 1, last=last)
    now = now.evolve(queued=None) if done.was_queued else now
    return _go_on(now, action, active=now.status == "active")


@schedules.on("watched")
def watched(now: Schedule, action: Action[WatchResult]) -> Step[Schedule]:
    """The queued firing goes on, unless another one is under way: that may begin the next run to wait for."""
    of = action.outcome_of
    if now.queued is None or now.definition is None or of is None or of.intent_id != now.watch:
        return Step(now)
    if action.payload.over and now.firing is None:
        return _fire(now.evolve(watch=None), now.definition, now.queued, action, was_queued=True)
    return _watch(now, action)


@schedules.on("not_watched")
def not_watched(now: Schedule, action: Action[Nothing]) -> Step[Schedule]:
    return Step(now) if now.queued is None else _watch(now, action)


# --- what is next -----------------------------------------------------------------------------------------------------


def _go_on(now: Schedule, action: AnyAction, *, active: bool, sets_timer: bool = True) -> Step[Schedule]:
    """Fires what is to be fired now, else sets the timer of the next due time."""
    definition = now.definition
    if definition is None or now.firing is not None:
        return Step(now)
    if now.asked:
        return _fire(now.evolve(asked=now.asked[1:]), definition, now.asked[0], action)
    if not active:
        return Step(now)
    of = schedule_id(now.workflow, definition.name)
    if not now.owed and now.next_due is not None and fires_at(definition, of, now.next_due) <= action.issued_at:
        found = passed(definition, of, now.next_due, action.issued_at)
        owed = _made_up(definition, of, found.newest, action.issued_at)
        now = _missed(now, found.came - len(owed), action)
        now = now.evolve(owed=len(owed), next_due=owed[0] if owed else found.next)
    while now.owed and now.next_due is not None:
        this, now = now.next_due, now.evolve(owed=now.owed - 1, next_due=first_due(definition, now.next_due))
        if now.queued is None:
            return _fire(now, definition, this, action)
        now = now.evolve(skipped=now.skipped + 1)  # the one place in the queue is taken
    return Step(now, _timer(now, definition)) if sets_timer else Step(now)


def _made_up(definition: ModelSchedule, of: UUID, newest: Sequence[datetime], at: datetime) -> Sequence[datetime]:
    """Which of the due times that have come are fired: the last ones, without a gap."""
    if definition.catch_up is EnumCatchUp.ALL:
        return newest
    limit = at - timedelta(seconds=LATE_S)
    late = next((n for n, one in enumerate(newest) if fires_at(definition, of, one) > limit), len(newest))
    in_time = newest[late:]
    return in_time if in_time or definition.catch_up is EnumCatchUp.NONE else newest[-1:]


def _fire(
    now: Schedule, definition: ModelSchedule, this: datetime, action: AnyAction, *, was_queued: bool = False
) -> Step[Schedule]:
    fields = fields_of(definition, this)
    key = f"{now.workflow}:{filled(definition.instance, fields)}"
    overlaps = definition.policy is EnumOverlap.ALLOW or now.run == key
    asked = Fire(
        firing_id=firing_id(schedule_id(now.workflow, definition.name), this),
        due=this,
        key=key,
        trigger=definition.trigger,
        payload=definition.filled_payload(fields),
        before="" if overlaps else now.run,
        cancel=definition.cancel or "",
    )
    opened = Open(due=this, key=key, intent_id=action.intent_id_of("fire"), was_queued=was_queued)
    return Step(now.evolve(firing=opened), intent("fire", asked))


def _answered(now: Schedule, action: AnyAction) -> Open | None:
    of = action.outcome_of
    return now.firing if now.firing is not None and of is not None and of.intent_id == now.firing.intent_id else None


def _from_now(now: Schedule, definition: ModelSchedule, action: AnyAction) -> Step[Schedule]:
    now = now.evolve(next_due=first_due(definition, action.issued_at))
    return Step(now, _timer(now, definition))


def _at_rest(now: Schedule) -> Step[Schedule]:
    waited = 0 if now.queued is None else 1
    now = now.evolve(next_due=None, owed=0, queued=None, watch=None, skipped=now.skipped + waited)
    return Step(now, cancel("due"), cancel("watch"))


def _missed(now: Schedule, count: int, action: AnyAction) -> Schedule:
    return now.evolve(missed=now.missed + count, missed_at=action.issued_at) if count else now


def _timer(now: Schedule, definition: ModelSchedule) -> IntentDraft:
    if now.next_due is None:
        return cancel("due")
    return timer("due", fires_at(definition, schedule_id(now.workflow, definition.name), now.next_due))


def _watch(now: Schedule, action: AnyAction) -> Step[Schedule]:
    return Step(now.evolve(watch=action.intent_id_of("watch")), intent("watch", WatchRun(key=now.run)))


def _with(step: Step[Schedule], more: Sequence[BaseModel | IntentDraft]) -> Step[Schedule]:
    return Step(step.state, *step.intents, *more)
