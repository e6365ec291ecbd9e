"""What is secret leaves as another value of its type and length; everything around it stays to the byte."""

from __future__ import annotations

import json
import re
from typing import Annotated

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from onex.kernel.errors import InvalidPattern, StateConsistencyError
from onex.kernel.secret import Secret, secret_fields
from onex.kernel.secret_names import SECRET_NAMES
from onex.replay.redaction import Redaction

KEY = bytes(range(32))


def redacted(value: JsonValue, *patterns: str, key: bytes = KEY) -> tuple[JsonValue, tuple[str, ...]]:
    data, paths = Redaction(patterns or SECRET_NAMES, key).payload(orjson.dumps(value), "payload")
    found: JsonValue = orjson.loads(data)
    return found, paths


@pytest.mark.parametrize(
    "name",
    ["password", "Password", "db_password", "passwordHash", "api_key", "apiKey", "x-api-key", "token", "accessToken",
     "clientSecret", "authorization", "Authorization", "credentials", "cookie", "set-cookie", "private_key", "cvv"],
)  # fmt: skip
def test_names_that_say_secret_are_redacted_unasked(name: str) -> None:
    found, paths = redacted({name: "hunter2", "sku": "tea"})
    assert isinstance(found, dict)
    assert found[name] != "hunter2"
    assert (found["sku"], paths) == ("tea", (f"payload.{name}",))


@pytest.mark.parametrize("name", ["tokens", "token_count", "author", "keyboard", "secretary_", "pass", "note"])
def test_names_that_only_look_alike(name: str) -> None:
    said = "secret" in name  # a secretary is one false alarm too many rather than a secret too few
    assert bool(redacted({name: "hunter2"})[1]) is said


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("sk-live-Ab9", r"[a-z]{2}-[a-z]{4}-[A-Z][a-z][0-9]"),
        ("ann.lee@shop.example", r"[a-z]{3}\.[a-z]{3}@[a-z]{4}\.[a-z]{7}"),
        ("GB29 NWBK 6016", r"[A-Z]{2}[0-9]{2} [A-Z]{4} [0-9]{4}"),
        ("Grüße 茶", r"[A-Z][a-z]{4} [a-z]"),
        ('a"b\\c\n', r"[a-z]#[a-z]#[a-z]#"),
        (4711, r"[1-9][0-9]{3}"),
        (-12, r"-[1-9][0-9]"),
        (0.25, r"0\.[0-9][1-9]"),
        (1.5e-7, r"[0-9]\.[1-9]e-7"),
    ],
)
def test_type_length_and_shape_stay(value: JsonValue, shape: str) -> None:
    found, _ = redacted({"token": value})
    assert isinstance(found, dict)
    told = found["token"]
    assert type(told) is type(value)
    text = told if isinstance(told, str) else orjson.dumps(told).decode()
    assert re.fullmatch(shape, text), text


def test_what_cannot_hide_or_holds_nothing_stays() -> None:
    value: JsonValue = {"token": None, "password": "", "secret": True, "cookie": {}, "cvc": []}
    assert redacted(value) == (value, ())


def test_equal_values_become_equal_ones_and_another_key_makes_others() -> None:
    found, _ = redacted([{"token": "abcdefgh"}, {"token": "abcdefgh"}, {"token": "abcdefgi"}])
    assert isinstance(found, list)
    assert found[0] == found[1] != found[2]
    assert redacted({"token": "abcdefgh"}, key=b"another")[0] != found[0]


def test_all_that_stands_below_a_secret_is_secret() -> None:
    found, paths = redacted({"credentials": {"user": "ann", "more": [{"pin": 1234}]}, "user": "ann"})
    assert isinstance(found, dict)
    assert "ann" not in orjson.dumps(found["credentials"]).decode()
    assert (found["user"], paths) == ("ann", ("payload.credentials.user", "payload.credentials.more.pin"))


def test_a_path_is_the_end_of_a_fields_path() -> None:
    value: JsonValue = {"card": {"number": "4111"}, "number": "7", "old": {"card": {"number": "4222"}}}
    assert redacted(value, "card.number")[1] == ("payload.card.number", "payload.old.card.number")
    assert redacted(value, "old.*.number")[1] == ("payload.old.card.number",)
    assert redacted(value, "num*")[1] == ("payload.card.number", "payload.number", "payload.old.card.number")


def test_what_was_redacted_before_is_left_alone() -> None:
    data = b'{"token":"abc","password":"def"}'
    once, paths = Redaction(SECRET_NAMES, KEY).payload(data, "state")
    assert Redaction(SECRET_NAMES, b"another").payload(once, "state", paths) == (once, ())


def test_bytes_around_a_secret_are_not_written_again() -> None:
    """``1e2`` and spaces and escapes are read as something, and would be written as something else."""
    data = b'{ "a" : 1e2 ,"b":[ "\\u00fc" , {} ],"token" : "x1" , "c":-0.0}'
    made, _ = Redaction(SECRET_NAMES, KEY).payload(data, "payload")
    at = data.index(b'"x1"')
    assert (made[:at], made[at + 4 :]) == (data[:at], data[at + 4 :])
    assert made != data


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False),
              st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["a", "token", 'b"c', ":token", "x", "password"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(values)
def test_any_json_keeps_its_form_and_nothing_secret_its_value(value: JsonValue) -> None:
    found, paths = redacted(value)

    def compare(old: JsonValue, new: JsonValue, secret: bool) -> int:
        if isinstance(old, dict):
            assert isinstance(new, dict)
            assert list(old) == list(new)
            return sum(compare(old[name], new[name], secret or name in ("token", "password")) for name in old)
        if isinstance(old, list):
            assert isinstance(new, list)
            assert len(old) == len(new)
            return sum(compare(one, other, secret) for one, other in zip(old, new, strict=True))
        if not secret:
            assert old == new
            return 0
        assert type(old) is type(new)
        if isinstance(old, str):
            assert isinstance(new, str)
            assert len(old) == len(new)
        return int(old is not None and not isinstance(old, bool) and old != "")

    hidden = compare(value, found, False)
    assert bool(hidden) is bool(paths)
    assert len(paths) <= hidden


@pytest.mark.parametrize(
    "data", [b'{"token":', b'{"token" "x"}', b'["token",}', b'{"token":"x', b"token", b'{"token":nan}']
)
def test_what_is_no_json_is_refused_since_nobody_can_tell_what_is_in_it(data: bytes) -> None:
    with pytest.raises(StateConsistencyError, match="no secret can be found in it; --no-redact"):
        Redaction(SECRET_NAMES, KEY).payload(data, "payload")


def test_depth_is_refused_before_the_stack_ends() -> None:
    deep = b'{"token":' + b"[" * 5000 + b"]" * 5000 + b"}"
    with pytest.raises(StateConsistencyError, match="no secret can be found in it"):
        Redaction(SECRET_NAMES, KEY).payload(deep, "payload")


@pytest.mark.parametrize("pattern", ["", ".", "card.", "a\nb"])
def test_a_pattern_that_names_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern, match="names no field"):
        Redaction([pattern], KEY)


def test_a_field_is_marked_in_its_class_however_deep() -> None:
    class Card(BaseModel):
        number: Annotated[str, Secret]
        holder: str

    class Order(BaseModel):
        cards: list[Card] | None = None
        pins: dict[str, list[Annotated[int, Secret()]]] = {}
        note: str = ""

    assert secret_fields(Order) == {"number", "pins"}
    assert (
        json.loads(Order(cards=[Card(number="4111", holder="Ann")]).model_dump_json())["cards"][0]["number"] == "4111"
    )
