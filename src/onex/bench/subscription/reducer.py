"""Each charge sets the timer of the next one, thirty days later."""

from __future__ import annotations

from datetime import timedelta

from onex import Action, Nothing, Step, reducer, timer

from .payloads import Charge, PaidReceipt, Plan, Subscription

MONTH = timedelta(days=30)

subscriptions = reducer(Subscription)


@subscriptions.on("subscribe")
def subscribe(subscription: Subscription, action: Action[Plan]) -> Step[Subscription]:
    cents = action.payload.cents
    return Step(subscription.evolve(cents=cents), Charge(cents=cents, month=1))


@subscriptions.on("charged")
def charged(subscription: Subscription, action: Action[PaidReceipt]) -> Step[Subscription]:
    paid = subscription.evolve(months=subscription.months + 1, receipt=action.payload.number)
    return Step(paid, timer("renewal", action.issued_at + MONTH))


@subscriptions.on("renew")
def renew(subscription: Subscription, action: Action[Nothing]) -> Step[Subscription]:
    return Step(subscription, Charge(cents=subscription.cents, month=subscription.months + 1))
