"""onex log KEY --causes VERSION: outcomes, timers and messages followed back to the action that somebody sent."""

from __future__ import annotations

import asyncio
import re
import textwrap
from pathlib import Path

import pytest

from onex.wiring.store_upkeep import StoreUpkeep
from tests.cli.conftest import STORE, Commands, fill

APP = """
    from typing import Literal
    from onex import Action, ModelIntent, Nothing, Payload, State, Step, workflow

    class Parcel(State):
        status: Literal["packed", "weighing", "weighed"] = "packed"

    class Order(State):
        status: Literal["open", "paying", "paid"] = "open"

    class Pay(Payload):
        cents: int

    class Pack(Payload):
        grams: int

    parcels = workflow("parcels", Parcel)
    orders = workflow("orders", Order)

    @parcels.effect()
    def weigh(intent: ModelIntent[Pack]) -> None:
        pass

    @parcels.on("packed -> weighing")
    def pack(parcel: Parcel, action: Action[Pack]) -> Step[Parcel]:
        return Step(parcel, action.payload)

    parcels.move(weigh.succeeded, "weighing -> weighed")
    parcels.move(weigh.failed, "weighing -> weighed")
    parcels.move(weigh.unknown, "weighing -> weighed")

    @orders.effect()
    def charge(intent: ModelIntent[Pay]) -> None:
        pass

    ship = orders.send(parcels, "pack")

    @orders.on("open -> paying")
    def place(order: Order, action: Action[Pay]) -> Step[Order]:
        return Step(order, action.payload)

    @orders.on(charge.succeeded, "paying -> paid")
    def charged(order: Order, action: Action[Nothing]) -> Step[Order]:
        return Step(order, ship.to(action.key.instance_id, Pack(grams=1)))

    orders.move(charge.failed, "paying -> open")
    orders.move(charge.unknown, "paying -> open")
"""


@pytest.fixture
def shop(place: Path) -> Path:
    """An order that was placed and paid, and the parcel that it asked for."""
    (place / "shop.py").write_text(textwrap.dedent(APP))
    fill(place / "shop.py", [("orders:1", "place", {"cents": 900})])
    return place


def test_what_led_to_an_action_is_followed_across_instances_to_its_first_cause(commands: Commands, shop: Path) -> None:
    told = commands("log", "parcels:1", "--causes", "2")
    lines = [re.sub(r" {2,}", "  ", re.sub(r"\b(now|\d+ (s|min) ago)", "AGO", line)) for line in told.out.splitlines()]
    assert lines == [
        "when  instance  version  trigger  status  by",
        "AGO  orders:1  1  place  paying  a client",
        "AGO  orders:1  2  charge.succeeded  paid  intent:charge",
        "AGO  parcels:1  1  pack  weighing  orders:1",
        "AGO  parcels:1  2  weigh.succeeded  weighed  intent:weigh",
    ]
    rows = commands("log", "parcels:1", "--causes", "2", "--json").rows
    assert [(row["key"], row["version"]) for row in rows] == [
        ("orders:1", 1),
        ("orders:1", 2),
        ("parcels:1", 1),
        ("parcels:1", 2),
    ]
    assert len({str(row["correlation_id"]) for row in rows}) == 1
    assert [row["cause"] for row in rows] == [None, *(row["action_id"] for row in rows[:-1])]


def test_what_was_cut_out_of_the_log_is_said_to_be_gone(commands: Commands, shop: Path) -> None:
    fill(shop / "shop.py", [("orders:2", "place", {"cents": 1})])
    asyncio.run(StoreUpkeep(STORE).compact(0, shop / "old.onexrun"))
    told = commands("log", "parcels:1", "--causes", "2")
    assert (told.code, told.out) == (1, "")
    assert "the log has no parcels:1 version 2" in told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("log", "orders:1", "--causes", "9"), "the log has no orders:1 version 9"),
        (("log", "orders:7", "--causes", "1"), "the log has no orders:7 version 1"),
        (("log", "--causes", "1"), "it needs a KEY"),
        (("log", "orders:1", "--causes", "1", "--follow"), "goes with neither --follow nor --after"),
    ],
)
def test_what_is_not_there_is_said(commands: Commands, shop: Path, words: tuple[str, ...], said: str) -> None:
    told = commands(*words)
    assert told.code != 0
    assert said in " ".join(told.err.split())
