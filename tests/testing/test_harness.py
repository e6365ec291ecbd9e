"""given / when / then with classes that the test imported: the app's own are other objects of the same names."""

from __future__ import annotations

from enum import Enum

import pytest

from examples.billing.app import Charge, Mail, Receipt, Subscribe, Subscription
from onex import State, load_app
from onex.app.same_class import as_class, equal
from onex.kernel.errors import ValidationError
from onex.kernel.model_facts import Value
from onex.testing.harness import given
from tests.authoring.apps.orders.app import Item, Pack, Place

BILLING = load_app("examples/billing").workflows["billing"].reducer
ORDERS = load_app("tests/authoring/apps/orders").workflows["orders"].reducer
TEA = Item(sku="tea", quantity=2, cents=450)


def test_the_classes_of_the_app_are_other_ones_than_those_imported() -> None:
    assert BILLING.state_type is not Subscription
    assert BILLING.payloads["subscribe"] is not Subscribe


def test_state_payload_and_intents_may_be_imported_classes() -> None:
    charging = Subscription(status="charging", customer="ada", cents=900)
    sub = given(BILLING, charging).when("charge.succeeded", Receipt(number="r1"))
    sub.then(status="active", months=1, intents=["renew", Mail(customer="ada", text="month 1: receipt r1")])
    assert type(sub.state) is BILLING.state_type


def test_a_name_stands_for_an_intent_with_a_payload_too() -> None:
    trial = given(BILLING, Subscription(status="trial", customer="ada", cents=900)).when("renew")
    trial.then(intents=["charge"])
    trial.then(intents=[Charge(customer="ada", cents=900, month=1)])


@pytest.mark.parametrize(
    "wanted",
    [
        [Charge(customer="ada", cents=901, month=1)],
        [Mail(customer="ada", text="")],
        ["mail"],
        ["charge", "charge"],
        [],
    ],
)
def test_another_intent_is_told_with_both_sides(wanted: list[Charge | Mail | str]) -> None:
    trial = given(BILLING, Subscription(status="trial", customer="ada", cents=900)).when("renew")
    with pytest.raises(AssertionError, match=r"^emitted \[.*\], not \["):
        trial.then(intents=[*wanted])


def test_values_inside_a_payload_are_taken_and_compared_too() -> None:
    order = given(ORDERS).when("place", Place(items=(TEA,))).then(items=(TEA,), total_cents=900)
    assert isinstance(order.state, ORDERS.state_type)
    charged = ORDERS.payloads["charged"].model_validate({"receipt": "r"})
    order.when("charged", charged).then(intents=[Pack(items=(TEA,), receipt="r")])
    with pytest.raises(AssertionError, match="items is"):
        order.then(items=(TEA.model_copy(update={"quantity": 3}),))


def test_a_state_of_another_name_is_refused() -> None:
    class Other(State):
        pass

    with pytest.raises(ValidationError, match=r"Other; billing has Subscription"):
        given(BILLING, Other())


def test_members_and_nested_values_of_a_second_class_of_the_name() -> None:
    def loaded() -> tuple[type[Value], type[Enum]]:
        class Colour(Enum):
            RED = "red"
            BLUE = "blue"

        class Thing(Value):
            colours: dict[str, list[Colour]]

        return Thing, Colour

    (first, one), (second, two) = loaded(), loaded()
    mine = first.model_validate({"colours": {"a": [one["RED"]]}})
    theirs = second.model_validate({"colours": {"a": [two["RED"]]}})
    assert mine != theirs
    assert equal(mine, theirs)
    assert as_class(second, mine) == theirs
    assert not equal(mine, second.model_validate({"colours": {"a": [two["BLUE"]]}}))
    assert not equal(mine, second.model_validate({"colours": {"a": []}}))
    assert not equal(mine, second.model_validate({"colours": {"b": [two["RED"]]}}))
    assert as_class(second, TEA) is None
