"""Subscription billing: a trial, then a charge on the same day of each month, and another try when the card is refused.

The bank is a folder: one JSON file per charge, named by the idempotency key, so charging twice with one key changes nothing.
"""

from __future__ import annotations

import json
import os
from calendar import monthrange
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import AwareDatetime, Field

from onex import Action, EffectFailed, Failure, IntentDraft, ModelIntent, Nothing, Payload, State, Step, workflow

RETRY_DAYS = (1, 3, 7)  # after the first, second and third refusal; the fourth ends the subscription
CREDIT_CENTS = 50_000


class Subscription(State):
    status: Literal["new", "trial", "charging", "active", "past_due", "ending", "ended"] = "new"
    customer: str = ""
    cents: int = 0
    first: AwareDatetime | None = None  # when the first paid month begins
    months: int = 0  # paid so far
    refusals: int = 0  # of the month that is being charged
    trouble: str = ""


class Subscribe(Payload):
    customer: str = Field(min_length=1)
    cents: int = Field(ge=1)
    trial_days: int = Field(default=14, ge=0)


class Plan(Payload):
    cents: int = Field(ge=1)


class Charge(Payload):
    customer: str
    cents: int
    month: int


class Receipt(Payload):
    number: str


class Mail(Payload):
    customer: str
    text: str


billing = workflow("billing", Subscription)


@billing.effect(retry=5)
def charge(intent: ModelIntent[Charge]) -> Receipt:
    if intent.payload.cents > CREDIT_CENTS:
        raise EffectFailed(f"{intent.payload.cents} cents are beyond the credit", code="refused")
    return Receipt(number=_keep("charges", intent.idempotency_key, intent.payload))


@billing.effect(kind="notification", delivery="at_most_once", detached=True)
def mail(intent: ModelIntent[Mail]) -> None:
    _keep("mails", intent.idempotency_key, intent.payload)


@billing.on("new -> trial")
def subscribe(sub: Subscription, action: Action[Subscribe]) -> Step[Subscription]:
    asked = action.payload
    first = action.issued_at + timedelta(days=asked.trial_days)
    return Step(sub.evolve(customer=asked.customer, cents=asked.cents, first=first), renew.at(first))


@billing.timer("trial | active -> charging")
def renew(sub: Subscription, action: Action[Nothing]) -> Step[Subscription]:
    sub = sub.evolve(refusals=0)
    return Step(sub, charge_for(sub, action))


@billing.on(charge.succeeded, "charging -> active")
def paid(sub: Subscription, action: Action[Receipt]) -> Step[Subscription]:
    sub = sub.evolve(months=sub.months + 1, trouble="")
    thanks = Mail(customer=sub.customer, text=f"month {sub.months}: receipt {action.payload.number}")
    return Step(sub, renew.at(month_after(sub.first or action.issued_at, sub.months)), thanks)


@billing.on(charge.failed, "charging -> past_due", when_after="state.refusals <= 3")
@billing.on(charge.failed, "charging -> ended")
def refused(sub: Subscription, action: Action[Failure]) -> Step[Subscription]:
    sub = sub.evolve(refusals=sub.refusals + 1, trouble=action.payload.message)
    told = Mail(customer=sub.customer, text=f"your card was refused: {sub.trouble}")
    if sub.refusals > len(RETRY_DAYS):
        return Step(sub, told)
    return Step(sub, told, try_again.at(action.issued_at + timedelta(days=RETRY_DAYS[sub.refusals - 1])))


@billing.on(charge.unknown, "charging -> past_due")
def unclear(sub: Subscription, action: Action[Failure]) -> Step[Subscription]:
    """Nobody knows whether the bank has it. The next try has the same key, so a charge that was made is not made twice."""
    return Step(sub.evolve(trouble=action.payload.message), try_again.at(action.issued_at + timedelta(days=1)))


@billing.timer("past_due -> charging")
def try_again(sub: Subscription, action: Action[Nothing]) -> Step[Subscription]:
    return Step(sub, charge_for(sub, action))


@billing.on("trial -> trial", "active -> active")
def change_plan(sub: Subscription, action: Action[Plan]) -> Step[Subscription]:
    return Step(sub.evolve(cents=action.payload.cents))


billing.move("cancel", "trial | past_due -> ended", "active -> ending")
billing.move(renew.fired, "ending -> ended")


def charge_for(sub: Subscription, action: Action[Nothing]) -> IntentDraft:
    month = sub.months + 1
    key = f"{action.key}/{month}/{sub.refusals}"
    return charge.intent(Charge(customer=sub.customer, cents=sub.cents, month=month), idempotency_key=key)


def month_after(first: datetime, months: int) -> datetime:
    """The same day ``months`` later, or the last day of a month that is too short for it."""
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return first.replace(year=year, month=month + 1, day=min(first.day, monthrange(year, month + 1)[1]))


def _keep(kind: str, key: str, payload: Payload) -> str:
    path = Path(os.environ.get("ONEX_BILLING_DIR", "out/billing"), kind, f"{quote(key, safe='')}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(payload.model_dump(mode="json")))
    return path.stem
