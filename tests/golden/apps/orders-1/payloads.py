"""What an order is, and what may happen to it."""

from __future__ import annotations

from pydantic import Field

from onex import Payload, State


class Item(Payload):
    sku: str = Field(min_length=1, max_length=64)
    quantity: int = Field(ge=1, le=1000)
    cents: int = Field(ge=0, description="price of one")


class Order(State):
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
