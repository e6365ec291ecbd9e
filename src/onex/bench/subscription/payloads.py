"""What a subscription is, and what may happen to it."""

from __future__ import annotations

from onex import Payload, State


class Subscription(State):
    cents: int = 0
    months: int = 0
    receipt: str = ""


class Plan(Payload):
    cents: int


class Charge(Payload):
    cents: int
    month: int


class PaidReceipt(Payload):
    number: str
