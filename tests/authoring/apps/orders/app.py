"""examples/orders in one file, with the same names: its contract and its histories are equal to those of the other form."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from onex import Action, EffectFailed, Failure, ModelIntent, Payload, State, Step, workflow

CREDIT_CENTS = 1_000_000


class Item(Payload):
    sku: str = Field(min_length=1, max_length=64)
    quantity: int = Field(ge=1, le=1000)
    cents: int = Field(ge=0, description="price of one")


class Order(State):
    status: Literal["basket", "charging", "paid", "in_doubt", "shipped", "cancelled"] = "basket"
    items: tuple[Item, ...] = ()
    total_cents: int = 0
    receipt: str = ""
    parcel: str = ""
    trouble: str = ""


class Place(Payload):
    items: tuple[Item, ...]


class Charge(Payload):
    cents: int


class Charged(Payload):
    receipt: str


class Pack(Payload):
    items: tuple[Item, ...]
    receipt: str


class Packed(Payload):
    parcel: str


orders = workflow("orders", Order, search=("total_cents", "trouble"))


@orders.effect("bank", kind="file_operation", retry=5, succeeded="charged", failed="declined", unknown="charge_unknown")
def charge(intent: ModelIntent[Charge]) -> Charged:
    if intent.payload.cents > CREDIT_CENTS:
        raise EffectFailed(f"{intent.payload.cents} cents are beyond the credit", code="declined")
    return Charged(receipt=intent.idempotency_key)


@orders.effect("warehouse", kind="file_operation", succeeded="packed", failed="not_packed", unknown="not_packed")
def pack(intent: ModelIntent[Pack]) -> Packed:
    return Packed(parcel=intent.idempotency_key)


@orders.on("basket -> charging", when="payload.items.size() > 0")
def place(order: Order, action: Action[Place]) -> Step[Order]:
    items = action.payload.items
    order = order.evolve(items=items, total_cents=sum(item.quantity * item.cents for item in items), trouble="")
    return Step(order, Charge(cents=order.total_cents))


@orders.on(charge.succeeded, "charging | in_doubt -> paid")
def charged(order: Order, action: Action[Charged]) -> Step[Order]:
    order = order.evolve(receipt=action.payload.receipt, trouble="")
    return Step(order, Pack(items=order.items, receipt=order.receipt))


@orders.on(charge.failed, "charging | in_doubt -> basket")
@orders.on(charge.unknown, "charging -> in_doubt")
@orders.on(pack.failed, "paid -> in_doubt")
def explain(order: Order, action: Action[Failure]) -> Step[Order]:
    return Step(order.evolve(trouble=action.payload.message))


@orders.on(pack.succeeded, "paid -> shipped")
def packed(order: Order, action: Action[Packed]) -> Step[Order]:
    return Step(order.evolve(parcel=action.payload.parcel))


orders.move("cancel", "basket | in_doubt -> cancelled", unleased=True)
orders.move("abandon", "basket -> cancelled", timeout=timedelta(days=7))
orders.move("abandon", "in_doubt -> cancelled", timeout=timedelta(days=3))
