"""A ride is charged when it begins. While it goes on, a client may ask for a reminder of the fee, and a timer looks after it."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Literal

from onex import Action, Failure, ModelIntent, Nothing, Payload, State, Step, workflow

BANK = Path(os.environ.get("RIDES_BANK", "bank.txt"))


class Ride(State):
    status: Literal["new", "charging", "riding", "ended"] = "new"
    cents: int = 0


class Begin(Payload):
    cents: int


class Charge(Payload):
    cents: int


class Receipt(Payload):
    number: int


class Farewell(Payload):
    text: str


rides = workflow("rides", Ride)


@rides.effect(kind="api_call", delivery="at_least_once")
def charge(intent: ModelIntent[Charge]) -> Receipt:
    if BANK.with_suffix(".closed").exists():
        raise OSError("the bank is closed")
    with BANK.open("a") as book:
        book.write(f"{intent.payload.cents} {intent.idempotency_key}\n")
    return Receipt(number=1)


@rides.effect(kind="api_call", delivery="at_least_once")
def farewell(intent: ModelIntent[Farewell]) -> None:
    return None


@rides.timer("riding -> riding")
def look(ride: Ride, action: Action[Nothing]) -> Step[Ride]:
    return Step(ride, look.at(action.issued_at + timedelta(hours=1)))


@rides.on("new -> charging")
def begin(ride: Ride, action: Action[Begin]) -> Step[Ride]:
    return Step(ride.evolve(cents=action.payload.cents), Charge(cents=action.payload.cents))


@rides.on(charge.succeeded, "charging -> riding")
def paid(ride: Ride, action: Action[Receipt]) -> Step[Ride]:
    return Step(ride, look.at(action.issued_at + timedelta(hours=1)))


@rides.on(charge.failed, charge.unknown, "charging -> ended")
def not_paid(ride: Ride, action: Action[Failure]) -> Step[Ride]:
    return Step(ride)


@rides.on("riding -> riding")
def remind(ride: Ride, action: Action[Nothing]) -> Step[Ride]:
    return Step(ride)


@rides.on("riding -> ended")
def stop(ride: Ride, action: Action[Nothing]) -> Step[Ride]:
    return Step(ride, Farewell(text="thank you"))
