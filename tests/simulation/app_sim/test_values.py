"""What clients send and stand-ins answer is drawn from the classes of the contracts, and fits them."""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum
from random import Random
from typing import Annotated, Literal
from uuid import UUID

import pytest
from pydantic import AwareDatetime, Field, JsonValue, field_validator

from onex import Blob, Payload
from onex.nodes.io import NewBlobs, blobs_in
from onex.simulation.app_sim.regex_text import NotDrawable, matching
from onex.simulation.app_sim.values import Undrawable, Values, simplest

PATTERNS = [
    r"^[0-9a-f]{64}$", r"[A-Z]{2}-\d{3,5}", r"^(foo|ba[rz])+$", r"\w+@\w+\.(?:com|org)", "a?b*c+?", "[^a-z]x", r"[\w.-]{2,}", "",
]  # fmt: skip


class EnumSize(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Line(Payload):
    sku: str = Field(min_length=1, max_length=5)
    count: int = Field(ge=1, lt=7)


class Everything(Payload):
    lines: tuple[Line, ...] = Field(min_length=1, max_length=2)
    sku: str = Field(pattern=r"^[A-Z]{3}-\d{2}$")
    even: int = Field(multiple_of=2, gt=0)
    share: float = Field(ge=0, le=1)
    size: EnumSize
    way: Literal["air", "sea"]
    id: UUID
    day: date
    at: AwareDatetime
    pair: tuple[int, str]
    names: dict[str, bool]
    other: Line | None
    anything: JsonValue
    note: Annotated[str, Field(max_length=3)] = ""


class Proof(Payload):
    scan: Blob
    more: tuple[Blob, ...] = ()


class Odd(Payload):
    number: int

    @field_validator("number")
    @classmethod
    def is_odd(cls, number: int) -> int:
        if number % 2 == 0:
            raise ValueError(f"{number} is even")
        return number


class Impossible(Payload):
    number: int

    @field_validator("number")
    @classmethod
    def is_nothing(cls, number: int) -> int:
        raise ValueError("no number pleases me")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_text_fits_its_pattern(pattern: str) -> None:
    chance = Random(1)
    texts = {matching(pattern, chance) for _ in range(100)}
    assert all(re.search(pattern, text) for text in texts)


@pytest.mark.parametrize("pattern", ["(?=a)b", "a)", "(a", "[a", r"(a)\1", "[^\x20-\x7e]"])
def test_a_pattern_beyond_that_is_not_drawn(pattern: str) -> None:
    with pytest.raises(NotDrawable):
        matching(pattern, Random(1))


@pytest.mark.parametrize("seed", range(20))
def test_a_value_of_any_class_that_may_stand_in_a_log_is_drawn(seed: int) -> None:
    value = Values(Random(seed), ["a", "b"]).of(Everything)
    assert Everything.model_validate_json(value.model_dump_json()) == value


def test_the_same_chance_draws_the_same_value() -> None:
    assert Values(Random(3)).of(Everything) == Values(Random(3)).of(Everything)
    assert Values(Random(3)).of(Everything) != Values(Random(4)).of(Everything)


def test_bounds_are_met_and_both_ends_are_tried() -> None:
    counts = {line.count for seed in range(200) if isinstance(line := Values(Random(seed)).of(Line), Line)}
    assert {1, 2, 3, 5, 6} == counts


def test_words_that_mean_something_are_used() -> None:
    class Told(Payload):
        to: str

    told = {value.to for seed in range(50) if isinstance(value := Values(Random(seed), ["parcel-7"]).of(Told), Told)}
    assert "parcel-7" in told and len(told) > 3


def test_what_a_validator_refuses_is_drawn_again() -> None:
    value = Values(Random(2)).of(Odd)
    assert isinstance(value, Odd) and value.number % 2 == 1


def test_a_class_that_refuses_everything_is_named_with_what_it_said() -> None:
    with pytest.raises(Undrawable, match=r"no value of Impossible .* no number pleases me"):
        Values(Random(0)).of(Impossible)


def test_a_blob_is_drawn_with_its_bytes_or_not_at_all() -> None:
    blobs = NewBlobs()
    proof = Values(Random(0), (), blobs).of(Proof)
    assert {blob.digest for blob in blobs_in(proof)} <= {made.digest.hex() for made in blobs.made}
    with pytest.raises(Undrawable, match="names a Blob"):
        Values(Random(0)).of(Proof)


def test_the_simplest_value_is_as_plain_as_its_class_allows() -> None:
    value = simplest(Everything)
    assert isinstance(value, Everything)
    assert (value.lines, value.size, value.note, value.even) == ((Line(sku="x", count=1),), "small", "", 2)
    assert simplest(Everything) == value
