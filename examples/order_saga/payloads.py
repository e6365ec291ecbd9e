from __future__ import annotations

from onex import Payload


class Order(Payload):
    id: str
    sku: str
    cents: int


class Charge(Payload):
    order: str
    cents: int


class Undo(Payload):
    order: str


class Shipment(Payload):
    order: str
    reservation: str
    receipt: str


class Done(Payload):
    number: str
