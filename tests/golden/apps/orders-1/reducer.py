"""What each action does to an order. Where it goes next stands in contract.yaml."""

from __future__ import annotations

from onex import Action, Failure, Step, reducer

from .payloads import Charge, Charged, Order, Pack, Packed, Place

orders = reducer(Order)


@orders.on("place")
def place(order: Order, action: Action[Place]) -> Step[Order]:
    items = action.payload.items
    order = order.evolve(items=items, total_cents=sum(item.quantity * item.cents for item in items), trouble="")
    return Step(order, Charge(cents=order.total_cents))


@orders.on("charged")
def charged(order: Order, action: Action[Charged]) -> Step[Order]:
    order = order.evolve(receipt=action.payload.receipt, trouble="")
    return Step(order, Pack(items=order.items, receipt=order.receipt))


@orders.on("packed")
def packed(order: Order, action: Action[Packed]) -> Step[Order]:
    return Step(order.evolve(parcel=action.payload.parcel))


@orders.on("declined", "charge_unknown", "not_packed")
def explain(order: Order, action: Action[Failure]) -> Step[Order]:
    return Step(order.evolve(trouble=action.payload.message))
