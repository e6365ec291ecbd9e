"""What may not be read back as it was written, reported when the app loads: a warning with its place; no beginning by chance."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from pydantic import AwareDatetime, Field, PlainSerializer, create_model, field_serializer, model_serializer

from onex.contracts.model.round_trip import random_defaults, round_trip_warnings
from onex.kernel.action import Blob, Payload
from onex.kernel.step import State


class Email(Payload):
    to: str
    text: str = ""


class Sms(Payload):
    to: str
    text: str = ""


class Letter(Payload):
    street: str
    to: str


class Parcel(Payload):
    kind: Literal["parcel"] = "parcel"
    to: str


class Pallet(Payload):
    kind: Literal["pallet"] = "pallet"
    to: str


class Pet(Payload):
    name: str


class Dog(Pet):
    tricks: tuple[str, ...] = ()


def reported(annotation: Any) -> list[str]:
    return [
        one.message for one in round_trip_warnings(create_model("Thing", __base__=Payload, field=(annotation, ...)))
    ]


@pytest.mark.parametrize(
    "annotation",
    [str, Email | None, Email | Letter, Parcel | Pallet, tuple[Email, ...], dict[str, Email], Dog, Blob, int | str],
    ids=str,
)  # fmt: skip
def test_what_can_be_distinguished_gets_no_warning(annotation: object) -> None:
    assert reported(annotation) == []


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Email | Sms, "Email | Sms, which may look the same"),
        (tuple[Email | Sms | None, ...], "Email | Sms, which may look the same"),
        (dict[str, int] | Email, "a dict or Email"),
        (Pet, "written without tricks"),
        (dict[str, Pet], "written without tricks"),
    ],
    ids=str,
)
def test_what_may_come_back_as_something_else_gets_a_warning(annotation: object, words: str) -> None:
    (message,) = reported(annotation)
    assert message.startswith("Thing.field is ") and words in message


def test_serializers_get_a_warning_at_their_field() -> None:
    class Short(Payload):
        note: str = ""
        word: Annotated[str, PlainSerializer(str.upper)] = ""

        @field_serializer("note")
        def short(self, value: str) -> str:
            return value[:10]

    class Whole(Payload):
        short: Short

        @model_serializer
        def all(self) -> dict[str, str]:
            return {}

    assert [(one.model.__name__, one.field) for one in round_trip_warnings(Whole)] == [
        ("Whole", "all"),
        ("Short", "note"),
        ("Short", "word"),
    ]


@pytest.mark.parametrize(
    "make",
    [
        uuid4,
        lambda: str(uuid4()),
        lambda: datetime.now(UTC),
        lambda: datetime.now(UTC).date(),
        time.time,
        time.time_ns,
        random.random,
        lambda: random.randint(1, 6),
        iter(range(100)).__next__,
    ],
)
def test_a_state_that_begins_otherwise_each_time_is_reported(make: Any) -> None:
    class Begun(State):
        made: Any = Field(default_factory=make)

    (one,) = random_defaults(Begun)
    assert one.field == "made" and "begins as something else each time" in one.message


def test_a_state_that_begins_the_same_each_time_is_not() -> None:
    class Begun(State):
        words: dict[str, int] = Field(default_factory=dict)
        listed: list[int] = Field(default_factory=lambda: [1, 2])
        at: AwareDatetime = Field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        id: UUID = Field(default_factory=lambda: UUID(int=7))

    assert list(random_defaults(Begun)) == []
