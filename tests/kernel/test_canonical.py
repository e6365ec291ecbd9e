"""What goes on is what would be read back: proved by the class, or by reading it; refused by name where the two differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import AwareDatetime, BaseModel, Field, JsonValue, field_serializer, field_validator

from onex.kernel import canonical, model_facts
from onex.kernel.action import Blob, Payload
from onex.kernel.canonical import as_reloaded, encode, problems
from onex.kernel.errors import InvalidPayload
from onex.kernel.step import State


class Colour(StrEnum):
    RED = "red"


class Pet(Payload):
    name: str = ""


class Dog(Pet):
    tricks: tuple[str, ...] = ()


class Email(Payload):
    to: str


class Sms(Payload):
    to: str


class Plain(Payload):
    text: str = Field(default="", max_length=10)
    count: int = 0
    share: float = 0.5
    colour: Colour = Colour.RED
    mode: Literal["a", "b"] = "a"
    id: UUID | None = None
    words: tuple[str, ...] = ()
    more: dict[str, list[int]] = Field(default_factory=dict)
    either: int | str | None = None
    open: dict[str, JsonValue] = Field(default_factory=dict)
    file: Blob | None = None


class Home(Payload):
    pet: Pet | None = None
    pets: tuple[Pet, ...] = ()
    by_name: dict[str, Pet] = Field(default_factory=dict)


class Outer(Payload):
    inner: Plain


class Visit(Payload):
    at: AwareDatetime | None = None


class Cents(Payload):
    cents: int = 0

    @field_validator("cents", mode="before")
    @classmethod
    def from_euros(cls, value: int) -> int:
        return value * 100


class Trimmed(Payload):
    text: str = ""

    @field_validator("text")
    @classmethod
    def trim(cls, value: str) -> str:
        return value.strip()


class Short(Payload):
    note: str = ""

    @field_serializer("note")
    def short(self, value: str) -> str:
        return value[:10]


class By(Payload):
    by: Email | Sms | None = None


class Mapped(Payload):
    size: dict[str, int] | Email | None = None


class Foreign(BaseModel):
    x: int = 0


class Looped(Payload):
    inner: Looped | None = None


class Made(Payload):
    id: int = Field(default_factory=iter(range(10)).__next__)


class WrongDefault(Payload):
    count: int = "three"  # type: ignore[assignment]  # what a user wrote


@pytest.mark.parametrize("model", [Plain, Home, Visit, Pet, Blob, State])
def test_a_class_of_plain_fields_is_taken_at_its_word(model: type[BaseModel]) -> None:
    value = model(digest="a" * 64, size=1) if model is Blob else model()
    assert model_facts.classify(model).check is not model_facts._always_compare
    assert as_reloaded(value) is value


@pytest.mark.parametrize("model", [Cents, Trimmed, Short, By, Foreign, Looped, Made, WrongDefault])
def test_a_class_that_runs_code_or_can_be_read_two_ways_is_read_back(model: type[BaseModel]) -> None:
    assert model_facts.classify(model).check is model_facts._always_compare


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Cents(cents=5), "cents is 500, and would be 50000"),
        (Short(note="a text longer than ten letters"), "note is"),
        (By(by=Sms(to="1")), "by is Sms"),
        (Mapped(size={"to": 1}), ""),
        (Home(pet=Dog(name="Rex")), "pet is Dog"),
        (Home(pets=(Pet(), Dog(name="Rex"))), "pets is"),
        (Home(by_name={"Rex": Dog(name="Rex")}), "by_name is"),
        (WrongDefault(), "count"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_be_read_back_as_something_else_is_refused_by_name(value: BaseModel, told: str) -> None:
    if told == "":
        assert as_reloaded(value) == value
        return
    with pytest.raises(InvalidPayload, match=type(value).__name__) as refused:
        as_reloaded(value)
    assert told in refused.value.message


def test_what_a_validator_or_serializer_leaves_as_it_is_goes_on() -> None:
    assert as_reloaded(Trimmed(text=" a ")) == Trimmed(text="a")
    assert as_reloaded(Short(note="short")) == Short(note="short")
    assert as_reloaded(By(by=Email(to="1"))) == By(by=Email(to="1"))
    assert as_reloaded(Looped(inner=Looped())) == Looped(inner=Looped())


def test_a_named_zone_goes_on_as_the_offset_it_is_read_back_with() -> None:
    noon = datetime(2026, 10, 24, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    at = as_reloaded(Visit(at=noon)).at
    assert at is not None and at == noon
    assert (at + timedelta(days=1)).timestamp() - noon.timestamp() == 86_400  # as at the second try: no named zone
    fixed = Visit(at=noon.astimezone(timezone(timedelta(hours=2))))
    assert as_reloaded(fixed) is fixed
    utc = Visit(at=noon.astimezone(UTC))
    assert as_reloaded(utc) is utc


def test_an_offset_that_cannot_be_written_is_refused() -> None:
    odd = timezone(timedelta(hours=1, seconds=30))
    try:
        at = as_reloaded(Visit(at=datetime(2026, 1, 1, tzinfo=odd))).at
    except InvalidPayload:
        return
    assert at == datetime(2026, 1, 1, tzinfo=odd)


@pytest.mark.parametrize("wrong", [{"text": "x" * 11}, {"count": "many"}, {"share": float("nan")}, {"words": [1]}])
def test_a_value_made_without_validation_is_read_back_before_it_goes_on(wrong: dict[str, Any]) -> None:
    for value in (Plain.model_construct(**wrong), Plain().model_copy(update=wrong)):
        with pytest.raises(InvalidPayload, match="Plain"):
            as_reloaded(value)
        with pytest.raises(InvalidPayload):
            as_reloaded(Outer(inner=value))
    assert as_reloaded(Plain().model_copy(update={"count": 3})) == Plain(count=3)
    same = Plain(count=3).model_copy(deep=True)
    assert as_reloaded(same) is same


def test_a_value_that_was_tampered_with_is_refused() -> None:
    home = Home(pet=Pet())
    home.__dict__["pet"] = home
    with pytest.raises(InvalidPayload):
        as_reloaded(home)
    del home.__dict__["pet"]
    as_reloaded(Home())


class Untold(ValueError):
    def __str__(self) -> str:
        raise SystemExit(3)


class Endless(ValueError):
    def __str__(self) -> str:
        return "x" * 1_000_000


@pytest.mark.parametrize("error", [Untold(), Endless(), AttributeError("no strip"), SystemExit(3), GeneratorExit()])
def test_whatever_a_validator_raises_can_be_told(error: BaseException) -> None:
    class Poisoned(Payload):
        x: int

        @field_validator("x")
        @classmethod
        def refuse(cls, value: int) -> int:
            raise error

    try:
        Poisoned(x=1)
    except BaseException as raised:
        told = problems(raised)
    assert told
    assert len(told) < 2200


def test_whatever_a_serializer_raises_is_a_named_refusal() -> None:
    class Poisoned(Payload):
        x: int = 0

        @field_serializer("x")
        def refuse(self, value: int) -> int:
            raise SystemExit(3)

    for write in (encode, as_reloaded):
        with pytest.raises(InvalidPayload, match="Poisoned cannot be written"):
            write(Poisoned())


class Basket(Payload):
    items: list[int] = Field(default_factory=list)


def test_what_can_be_changed_in_place_is_kept_apart_from_who_made_it() -> None:
    made = Basket(items=[1])
    kept = canonical.detached(made)
    made.items.append(2)
    assert kept == Basket(items=[1])
    tried = canonical.detached_copy(kept)
    tried.items.clear()
    assert canonical.detached_copy(kept) == Basket(items=[1])


@pytest.mark.parametrize("value", [Pet(name="Rex"), Visit(), Blob(digest="a" * 64, size=1)])
def test_what_cannot_be_changed_is_not_copied(value: BaseModel) -> None:
    assert canonical.detached(value) is value
    assert canonical.detached_copy(value) is value
