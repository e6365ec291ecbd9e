"""Which field types may stand in a log for ever: those whose JSON reloads equal in any process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypeVar
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, PositiveInt, SecretStr, create_model

from onex.contracts.model.payload_fields import NoSuchField, field_problems, reach
from onex.kernel.action import Blob, Payload
from onex.kernel.step import State


class Word(StrEnum):
    ONE = "one"


class Number(IntEnum):
    ONE = 1


class Plain(Enum):
    ONE = "one"


class Inner(Payload):
    x: int = 1


class Pair(NamedTuple):
    a: int


@dataclass
class Record:
    a: int


T = TypeVar("T")


class Box(Payload, Generic[T]):
    item: T


Cents = NewType("Cents", int)


def reported(annotation: Any) -> list[str]:
    """The sentences about a model with one field of this type."""
    model = create_model("Thing", __base__=Payload, field=(annotation, ...))
    return [one.message for one in field_problems(model)]


@pytest.mark.parametrize(
    "annotation",
    [
        str, int, float, bool, None, UUID, AwareDatetime, date, Word, Literal["a", 1, True, None], JsonValue, Blob,
        Inner, tuple[int, ...], tuple[int, str], list[str], dict[str, int], dict[Word, int], dict[Literal["a"],
        Inner],
        int | None, int | str | None, Literal["a"] | str, UUID | int, tuple[int, ...] | dict[str, int],
        Annotated[int, Field(gt=0)], PositiveInt, Cents, Box[int],
        tuple[dict[str, list[Inner | None]], ...], dict[str, JsonValue], State,
    ],
    ids=str,
)  # fmt: skip
def test_types_whose_json_reloads_equal_are_allowed(annotation: object) -> None:
    assert reported(annotation) == []


@pytest.mark.parametrize(
    "annotation",
    [
        str | UUID, date | AwareDatetime, Word | str, tuple[int, ...] | list[int], JsonValue | Inner, set[int],
        frozenset[str], set, Any,
        object, bytes, datetime, Decimal, time, timedelta, complex, Path,
        tuple, list, dict, dict[int, str], dict[UUID, str], Number, Plain, Pair, Record, Sequence[int], SecretStr,
        Literal[b"x"], list[set[int]], dict[str, Decimal], tuple[bytes, ...], int | bytes, list[datetime | None],
        type[int], Annotated[Decimal, Field(gt=0)],
    ],
    ids=str,
)  # fmt: skip
def test_other_types_are_refused(annotation: object) -> None:
    sentences = reported(annotation)
    assert sentences
    assert all(sentence.startswith("Thing.field is ") for sentence in sentences)


def test_a_refusal_says_why_and_what_instead() -> None:
    class Bad(Payload):
        seen: set[str]
        price: Decimal
        when: datetime

    assert [(one.field, one.message, one.fix) for one in field_problems(Bad)] == [
        (
            "seen",
            "Bad.seen is set[str]: has no order, so two runs differ",
            "use tuple, or dict with the members as keys",
        ),
        (
            "price",
            "Bad.price is Decimal: does not reload equal in every process",
            "use int in the smallest unit (cents), or str",
        ),
        ("when", "Bad.when is datetime: may lack its time zone", "use AwareDatetime (from pydantic)"),
    ]


def test_nested_models_are_judged_wherever_they_hide_each_once() -> None:
    class Loose(BaseModel):
        x: int

    class Outer(Payload):
        a: Loose
        b: tuple[Loose, ...]
        c: dict[str, Loose | None]

    found = list(field_problems(Outer))
    assert [one.model for one in found] == [Loose, Loose, Loose]
    assert [one.message for one in found] == [
        "Loose can be changed in place",
        "Loose takes unknown fields silently",
        "Loose lets NaN and infinity in",
    ]


def test_a_model_that_contains_itself_is_judged() -> None:
    class Tree(Payload):
        below: tuple[Tree, ...] = ()
        bad: bytes = b""

    Tree.model_rebuild()
    assert [one.field for one in field_problems(Tree)] == ["bad"]


def test_what_is_written_but_not_read_is_refused() -> None:
    from pydantic import PrivateAttr, computed_field

    class Odd(Payload):
        a: int = Field(alias="b")
        c: int = Field(default=1, exclude=True)
        _hidden: int = PrivateAttr(default=3)

        @computed_field
        def twice(self) -> int:
            return 2 * self.a

    assert sorted(one.field for one in field_problems(Odd)) == ["_hidden", "a", "c", "twice"]


def test_a_payload_that_was_loosened_is_refused() -> None:
    class Loosened(Payload):
        model_config = ConfigDict(frozen=False, extra="allow", allow_inf_nan=True)

    assert len(list(field_problems(Loosened))) == 3


def test_an_open_type_is_refused_a_chosen_one_is_not() -> None:
    assert [one.message for one in field_problems(Box)] == ["Box.item is of the open type ~T"]
    assert list(field_problems(Box[int])) == []


def test_what_is_allowed_does_reload_equal() -> None:
    class Everything(Payload):
        when: AwareDatetime
        day: date
        ident: UUID
        word: Word
        nested: tuple[dict[str, Inner | None], ...]
        free: JsonValue

    value = Everything.model_validate_json(
        json.dumps(
            {
                "when": "2026-01-31T10:00:00.123456+02:00",
                "day": "2026-01-31",
                "ident": str(UUID(int=7)),
                "word": "one",
                "nested": [{"b": {"x": 2}, "a": None}],
                "free": [1, {"z": None, "a": 2.5}],
            }
        )
    )
    assert list(field_problems(Everything)) == []
    again = Everything.model_validate_json(value.model_dump_json())
    assert again == value
    assert again.model_dump_json() == value.model_dump_json()


def test_a_path_reaches_through_models_dicts_and_unions() -> None:
    class Root(Payload):
        inner: Inner | None
        named: dict[str, Inner]
        free: JsonValue

    assert reach(Root, ("inner", "x")) == (int,)
    assert reach(Root, ("named", "whatever", "x")) == (int,)
    assert reach(Root, ("free", "a", "b")) == (JsonValue,)
    assert reach(Root, ()) == (Root,)
    with pytest.raises(NoSuchField) as caught:
        reach(Root, ("inner", "y"))
    assert (caught.value.at, caught.value.name, caught.value.known) == (1, "y", ("x",))
