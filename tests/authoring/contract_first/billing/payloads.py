"""The classes of examples/billing."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from onex import Payload, State


class Subscription(State):
    customer: str = ""
    cents: int = 0
    first: AwareDatetime | None = None
    months: int = 0
    refusals: int = 0
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
