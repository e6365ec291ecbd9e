"""What each event does to an alert, and what its receivers are told because of it.

Theory of operation. There are two questions, and they are kept apart:

1. *Is there an alert?* The status. ``breached`` starts the timer ``due`` (the ``for`` of the rule), which makes it fire.
   ``recovered`` starts the timer ``settled``. A breach before that is a relapse of the same incident: nobody is told, and the next
   time it settles twice as long, up to 16 times. So a value that goes to and fro makes one incident, not a hundred messages.
   Several workers may read the same rule, each its own figures: the alert lasts while one of them is beyond the bound. One that
   says nothing for the time STALE is gone, and no longer counts. An engine that has its store alone has no name, and is waited for.
2. *Who knows what?* A ``Desk`` per receiver. After each event ``_tell`` compares what a receiver should know (``_due_to``) with
   what it was told, and emits a notice where they differ.

Two intents have no order between them. So a desk has one notice under way at a time: *resolved* is sent when the outcome of
*firing* is known. Else it could arrive first, and the incident would stay open for ever. A receiver that was never told of an
incident is not told of its end either.

What may go wrong. A notice *failed*: it surely did not arrive, and is sent again, as long as it is still true, at longer and longer
pauses. Nobody knows whether it arrived (*in doubt*, as after a crash): PagerDuty and a webhook get it again, under the same key,
which does no harm there. A chat or a mail server knows no key: there it counts as told, and the doubt is shown.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from onex import Action, Failure, IntentDraft, Nothing, Step, cancel, intent, reducer, timer

from .payloads import (
    EVERYBODY,
    Acknowledge,
    Alert,
    AlertRule,
    Breached,
    Desk,
    Event,
    Notice,
    Receiver,
    Recovered,
    Silence,
)

alerts = reducer(Alert)

AnyAction = Action[Any]
KEYED: Final = ("pagerduty", "webhook")
"""Kinds whose far side knows a key."""
FIRST_WAIT_S: Final = 15
LONGEST_WAIT_S: Final = 600
TRIES: Final = 50
"""After so many failures in a row a receiver is left alone until the next incident: about eight hours."""
STALE: Final = timedelta(seconds=900)
"""Three times as long as who reads a value lets pass before it says again that it is beyond its bound."""
RELAPSES: Final = 4
"""Relapses that double the time to settle."""


@alerts.on("breached")
def breached(now: Alert, action: Action[Breached]) -> Step[Alert]:
    told = action.payload
    by = {**now.breached_by, told.teller: action.issued_at}
    after = now.evolve(rule=told.rule, value=told.value, reason="", breached_by=by, tellers=len(by))
    stale = [timer("stale", action.issued_at + STALE)] if told.teller else []
    if now.status in ("quiet", "resolved"):
        after = after.evolve(since=action.issued_at)
        due_at = action.issued_at + timedelta(seconds=told.rule.for_s)
        return _tell(after, action, "pending", timer("due", due_at), *stale)
    if now.status == "settling":
        return _tell(after.evolve(relapses=now.relapses + 1), action, "firing", cancel("settled"), *stale)
    return _tell(after, action, now.status, *stale)


@alerts.on("due")
def due(now: Alert, action: Action[Nothing]) -> Step[Alert]:
    after = now.evolve(
        fired_at=action.issued_at, resolved_at=None, incident=now.incident + 1, relapses=0,
        acknowledged_by=None, acknowledged_at=None, note="",
    )  # fmt: skip
    return _tell(after, action, "firing")


@alerts.on("recovered")
def recovered(now: Alert, action: Action[Recovered]) -> Step[Alert]:
    told = action.payload
    left = {one: at for one, at in now.breached_by.items() if told.teller not in (one, EVERYBODY)}
    if left and now.status in ("pending", "firing"):  # another one still reads a value beyond the bound
        return _tell(now.evolve(breached_by=left, tellers=len(left)), action, now.status)
    return _within(now.evolve(value=told.value, reason=told.reason, breached_by={}, tellers=0), action)


@alerts.on("stale")
def stale(now: Alert, action: Action[Nothing]) -> Step[Alert]:
    left = {one: at for one, at in now.breached_by.items() if not one or action.issued_at - at < STALE}
    after = now.evolve(breached_by=left, tellers=len(left))
    if left and now.status in ("pending", "firing"):
        named = [at for one, at in left.items() if one]
        return _tell(after, action, now.status, *([timer("stale", min(named) + STALE)] if named else []))
    return _within(after.evolve(reason="Who read this value says nothing any more."), action)


@alerts.on("settled")
def settled(now: Alert, action: Action[Nothing]) -> Step[Alert]:
    return _tell(now.evolve(resolved_at=action.issued_at), action, "resolved")


@alerts.on("acknowledge")
def acknowledge(now: Alert, action: Action[Acknowledge]) -> Step[Alert]:
    by, note = action.payload.by or "somebody", action.payload.note
    return _tell(now.evolve(acknowledged_by=by, acknowledged_at=action.issued_at, note=note), action, now.status)


@alerts.on("silence")
def silence(now: Alert, action: Action[Silence]) -> Step[Alert]:
    asked = action.payload
    if asked.for_s == 0:
        return _tell(now.evolve(silenced_until=None, silenced_by=""), action, now.status, cancel("audible"))
    until = action.issued_at + timedelta(seconds=asked.for_s)
    after = now.evolve(silenced_until=until, silenced_by=asked.by, note=asked.note or now.note)
    return _tell(after, action, now.status, timer("audible", until))


@alerts.on("audible")
def audible(now: Alert, action: Action[Nothing]) -> Step[Alert]:
    return _tell(now.evolve(silenced_until=None, silenced_by=""), action, now.status)


@alerts.on("told")
def told(now: Alert, action: Action[Nothing]) -> Step[Alert]:
    return _answered(now, action, arrived=True)


@alerts.on("not_told")
def not_told(now: Alert, action: Action[Failure]) -> Step[Alert]:
    return _answered(now, action, arrived=False, error=action.payload.message)


@alerts.on("in_doubt")
def in_doubt(now: Alert, action: Action[Failure]) -> Step[Alert]:
    return _answered(now, action, arrived=None, error=action.payload.message)


@alerts.on("again")
def again(now: Alert, action: Action[Nothing]) -> Step[Alert]:
    return _tell(now, action, now.status)


def _within(now: Alert, action: AnyAction) -> Step[Alert]:
    """Nobody says any more that the value is beyond its bound."""
    if now.status == "pending":
        return _tell(now, action, "quiet", cancel("due"), cancel("stale"))
    if now.status == "firing":
        settle_s = 0 if now.rule is None else now.rule.settle_s << min(now.relapses, RELAPSES)
        settled_at = action.issued_at + timedelta(seconds=settle_s)
        return _tell(now, action, "settling", timer("settled", settled_at), cancel("stale"))
    return _tell(now, action, now.status)


# --- who knows what ---------------------------------------------------------------------------------------------------


def _answered(now: Alert, action: AnyAction, *, arrived: bool | None, error: str = "") -> Step[Alert]:
    """The outcome of a notice; ``arrived`` is None where nobody knows."""
    of = action.outcome_of
    name = next((one for one, desk in now.desks.items() if of is not None and desk.sending == of.intent_id), None)
    if name is None:
        return _tell(now, action, now.status)
    desk = now.desks[name]
    known: dict[str, object] = {"sending": None, "says": None, "error": error[:500]}
    known["doubts"] = desk.doubts + (arrived is None)
    if arrived or (arrived is None and desk.kind not in KEYED):
        known |= {"knows": desk.says, "of": desk.says_of, "tries": 0, "not_before": None}
    else:
        wait_s = min(FIRST_WAIT_S << min(desk.tries, 10), LONGEST_WAIT_S)
        known |= {"tries": desk.tries + 1, "not_before": action.issued_at + timedelta(seconds=wait_s)}
    after = desk.model_copy(update=known)
    return _tell(now.evolve(desks={**now.desks, name: after}), action, now.status)


def _tell(now: Alert, action: AnyAction, status: str, *others: IntentDraft) -> Step[Alert]:
    """The step to ``status``, with a notice for each receiver that is to know something else than it does."""
    desks = dict(now.desks)
    if status in ("firing", "settling") and now.rule is not None:
        for one in now.rule.receivers:
            if one.name not in desks or desks[one.name].kind != one.kind:
                desks[one.name] = Desk(kind=one.kind)
    notices: list[IntentDraft] = []
    sent: dict[str, int] = {}
    waits: list[datetime] = []
    for name, desk in desks.items():
        due_to = None if now.rule is None or desk.sending is not None else _due_to(now, name, desk, status, action)
        if due_to is None or now.rule is None:
            continue
        event, of = due_to
        tries = desk.tries if of == desk.says_of else 0
        if tries >= TRIES:
            continue
        if desk.not_before is not None and of == desk.says_of and action.issued_at < desk.not_before:
            waits.append(desk.not_before)
            continue
        n = sent[desk.kind] = sent.get(desk.kind, -1) + 1
        notice = _notice(now, now.rule, Receiver(name=name, kind=desk.kind), event, of, action)
        key = f"{notice.incident}/{name}/{event}"
        notices.append(intent(desk.kind, notice, idempotency_key=key))
        desks[name] = desk.model_copy(
            update={
                "sending": action.intent_id_of(desk.kind, n),
                "says": event,
                "says_of": of,
                "tries": tries,
                "not_before": None,
            }
        )
    later = [timer("again", min(waits))] if waits else []
    return Step(now.evolve(desks=desks), *others, *notices, *later)


def _due_to(now: Alert, name: str, desk: Desk, status: str, action: AnyAction) -> tuple[Event, int] | None:
    """What a receiver is to be told next, and of which incident; None where it knows all that it should."""
    is_open = desk.knows in ("firing", "acknowledged")
    fires = status in ("firing", "settling")
    if is_open and (desk.of < now.incident or not fires):
        return "resolved", desk.of
    if not fires or (now.silenced_until is not None and action.issued_at < now.silenced_until):
        return None
    if not is_open and desk.of < now.incident:
        is_meant = now.rule is not None and any(one.name == name for one in now.rule.receivers)
        return ("firing", now.incident) if is_meant and status == "firing" and now.acknowledged_at is None else None
    if desk.knows == "firing" and desk.kind == "pagerduty" and now.acknowledged_at is not None:
        return "acknowledged", desk.of
    return None


def _notice(now: Alert, rule: AlertRule, to: Receiver, event: Event, of: int, action: AnyAction) -> Notice:
    alert, since = action.key.instance_id, now.since or action.issued_at
    value = "unknown" if now.value is None else f"{now.value:.6g}{f' {rule.unit}' if rule.unit else ''}"
    summary = f"[{rule.severity}] {rule.source}: {alert} is {event}"
    lines = [
        summary,
        f"{rule.metric} is {value}; the alert is for {rule.bound}{f' {rule.unit}' if rule.unit else ''}.",
        *([rule.about] if rule.about else []),
        f"Since {since:%Y-%m-%d %H:%M:%S} UTC.",
        *([now.reason] if now.reason else []),
    ]
    return Notice(
        receiver=to.name, event=event, severity=rule.severity, alert=alert, source=rule.source,
        incident=f"{rule.source}/{alert}/{of}", summary=summary, text="\n".join(lines), value=now.value, since=since,
    )  # fmt: skip
