"""The handlers of examples/billing; where they lead stands in contract.yaml."""

from __future__ import annotations

from calendar import monthrange
from datetime import datetime, timedelta

from onex import Action, Failure, IntentDraft, Nothing, Step, intent, reducer, timer

from .payloads import Charge, Mail, Plan, Receipt, Subscribe, Subscription

RETRY_DAYS = (1, 3, 7)

billing = reducer(Subscription)


@billing.on("subscribe")
def subscribe(sub: Subscription, action: Action[Subscribe]) -> Step[Subscription]:
    asked = action.payload
    first = action.issued_at + timedelta(days=asked.trial_days)
    return Step(sub.evolve(customer=asked.customer, cents=asked.cents, first=first), timer("renew", first))


@billing.on("renew")
def renew(sub: Subscription, action: Action[Nothing]) -> Step[Subscription]:
    if sub.status == "ending":
        return Step(sub)
    sub = sub.evolve(refusals=0)
    return Step(sub, charge_for(sub, action))


@billing.on("charge.succeeded")
def paid(sub: Subscription, action: Action[Receipt]) -> Step[Subscription]:
    sub = sub.evolve(months=sub.months + 1, trouble="")
    thanks = Mail(customer=sub.customer, text=f"month {sub.months}: receipt {action.payload.number}")
    return Step(sub, timer("renew", month_after(sub.first or action.issued_at, sub.months)), thanks)


@billing.on("charge.failed")
def refused(sub: Subscription, action: Action[Failure]) -> Step[Subscription]:
    sub = sub.evolve(refusals=sub.refusals + 1, trouble=action.payload.message)
    told = Mail(customer=sub.customer, text=f"your card was refused: {sub.trouble}")
    if sub.refusals > len(RETRY_DAYS):
        return Step(sub, told)
    soon = action.issued_at + timedelta(days=RETRY_DAYS[sub.refusals - 1])
    return Step(sub, told, timer("try_again", soon))


@billing.on("charge.unknown")
def unclear(sub: Subscription, action: Action[Failure]) -> Step[Subscription]:
    return Step(sub.evolve(trouble=action.payload.message), timer("try_again", action.issued_at + timedelta(days=1)))


@billing.on("try_again")
def try_again(sub: Subscription, action: Action[Nothing]) -> Step[Subscription]:
    return Step(sub, charge_for(sub, action))


@billing.on("change_plan")
def change_plan(sub: Subscription, action: Action[Plan]) -> Step[Subscription]:
    return Step(sub.evolve(cents=action.payload.cents))


def charge_for(sub: Subscription, action: Action[Nothing]) -> IntentDraft:
    month = sub.months + 1
    key = f"{action.key}/{month}/{sub.refusals}"
    return intent("charge", Charge(customer=sub.customer, cents=sub.cents, month=month), idempotency_key=key)


def month_after(first: datetime, months: int) -> datetime:
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return first.replace(year=year, month=month + 1, day=min(first.day, monthrange(year, month + 1)[1]))
