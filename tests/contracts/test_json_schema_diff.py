"""Two JSON Schemas of one thing: what is reported hurts, and what hurts is reported."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from onex.contracts.diff.json_schema_diff import schema_changes
from tests.contracts.validity import Schema, valid

LINE: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["sku"],
    "properties": {"sku": {"type": "string", "maxLength": 8}, "count": {"type": "integer", "default": 1}},
}
ORDER: Schema = {
    "type": "object",
    "properties": {
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        "kind": {"enum": ["plain", "gift"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "$defs": {"Line": LINE},
}


def changed(*path: str | int, to: JsonValue = None) -> Schema:
    """ORDER with the value at ``path`` replaced, or taken away."""
    made = deepcopy(ORDER)
    node: JsonValue = made
    for step in path[:-1]:
        node = node[step]  # type: ignore[index]  # the path is one of ORDER
    if to is None:
        del node[path[-1]]  # type: ignore[union-attr,arg-type]  # the same
    else:
        node[path[-1]] = to  # type: ignore[index]  # the same
    return made


LINE_AT = ("$defs", "Line")
CASES: dict[str, tuple[Schema, str, str]] = {
    "a field is gone": (changed("properties", "kind"), "kind", "both"),
    "a field more": (changed(*LINE_AT, "properties", "colour", to={"type": "string"}), "lines[].colour", "neither"),
    "a field must be given": (changed(*LINE_AT, "required", to=["sku", "count"]), "lines[].count", "writers"),
    "a field may be missing": (changed(*LINE_AT, "required", to=[]), "lines[].sku", "readers"),
    "a type changed": (changed(*LINE_AT, "properties", "sku", "type", to="integer"), "lines[].sku", "both"),
    "a type widened": (changed(*LINE_AT, "properties", "count", "type", to="number"), "lines[].count", "readers"),
    "a text may be longer": (changed(*LINE_AT, "properties", "sku", "maxLength", to=9), "lines[].sku", "readers"),
    "a text must be shorter": (changed(*LINE_AT, "properties", "sku", "maxLength", to=7), "lines[].sku", "writers"),
    "a value less": (changed("properties", "kind", "enum", to=["plain"]), "kind", "writers"),
    "a value more": (changed("properties", "kind", "enum", to=["plain", "gift", "loan"]), "kind", "readers"),
    "null is refused": (changed("properties", "note", to={"type": "string"}), "note", "writers"),
    "null may come": (changed("properties", "kind", to={"anyOf": [{"enum": ["plain", "gift"]}, {"type": "null"}]}),
                      "kind", "readers"),
    "other fields may come": (changed(*LINE_AT, "additionalProperties"), "lines[]", "readers"),
    "another default": (changed(*LINE_AT, "properties", "count", "default", to=2), "lines[].count", "neither"),
    "a pattern": (changed(*LINE_AT, "properties", "sku", "pattern", to="^[A-Z]"), "lines[].sku", "writers"),
    "a keyword nobody here knows": (changed("properties", "kind", "if", to={"const": "x"}), "kind", "both"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_who_is_hurt_by_a_change(case: str) -> None:
    new, path, hurt = CASES[case]
    (found,) = schema_changes(ORDER, new)
    assert found.path == path
    assert (found.breaks_writers, found.breaks_readers) == (hurt in ("writers", "both"), hurt in ("readers", "both"))


def test_equal_shapes_are_equal_however_they_are_named() -> None:
    renamed = deepcopy(ORDER)
    renamed["$defs"] = {"Item": LINE}
    renamed["properties"]["lines"]["items"] = {"$ref": "#/$defs/Item"}  # type: ignore[index,call-overload]  # ORDER has it
    assert schema_changes(ORDER, ORDER) == []
    assert [(one.breaks_writers, one.breaks_readers, one.prose) for one in schema_changes(ORDER, renamed)] == [
        (False, False, True)
    ]


def test_a_shape_that_holds_itself_is_compared_once() -> None:
    tree: Schema = {
        "$ref": "#/$defs/Tree",
        "$defs": {
            "Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}, "n": {"type": "integer"}}}
        },
    }
    other = deepcopy(tree)
    other["$defs"]["Tree"]["properties"]["n"]["type"] = "string"  # type: ignore[index,call-overload]  # it is there
    assert [one.path for one in schema_changes(tree, other)] == ["n"]


def test_what_is_no_schema_cannot_be_judged() -> None:
    (found,) = schema_changes(["to", "kind"], ["to"])
    assert (found.breaks_writers, found.breaks_readers) == (True, True)
    assert [one.breaks_writers for one in schema_changes(None, {"type": "string"})] == [False]
    assert [(one.breaks_writers, one.breaks_readers) for one in schema_changes(ORDER, None)] == [(False, True)]


# --- what hurts is reported -------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.sampled_from([None, True, 0, 1, 2, 5, 1.5, "", "a", "abcd"]),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)),
    max_leaves=6,
)
NUMBERS = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={name: st.integers(0, 4) for name in ("minimum", "maximum", "exclusiveMinimum")},
)
TEXTS = st.fixed_dictionaries(
    {"type": st.just("string")}, optional={name: st.integers(0, 3) for name in ("minLength", "maxLength")}
)
CHOICES = st.builds(
    lambda values: {"enum": values}, st.lists(st.sampled_from(["a", "abcd", 1, None]), min_size=1, max_size=3)
)
PLAIN = st.one_of(NUMBERS, TEXTS, CHOICES, st.sampled_from([{"type": "null"}, {"type": "boolean"}, {}]))


def _schemas(others: st.SearchStrategy[JsonValue]) -> st.SearchStrategy[JsonValue]:
    """``others`` is what objects say of fields they do not name."""
    return st.recursive(
        PLAIN,
        lambda inner: st.one_of(
            st.fixed_dictionaries(
                {
                    "type": st.just("object"),
                    "properties": st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
                    "additionalProperties": others,
                },
                optional={"required": st.lists(st.sampled_from("xyz"), unique=True, max_size=2)},
            ),
            st.fixed_dictionaries({"type": st.just("array")}, optional={"items": inner, "maxItems": st.integers(0, 3)}),
            st.builds(lambda members: {"anyOf": members}, st.lists(inner, min_size=1, max_size=3)),
        ),
        max_leaves=5,
    )


SCHEMAS = _schemas(st.one_of(st.booleans(), PLAIN))
CLOSED = _schemas(st.just(False))
"""A field that is new in an open object is taken for one that nobody wrote before; these are certain."""


@given(CLOSED, CLOSED, st.lists(VALUES, min_size=5, max_size=20))
def test_without_a_change_that_hurts_writers_whatever_was_valid_is(
    old: JsonValue, new: JsonValue, values: list[JsonValue]
) -> None:
    if not any(change.breaks_writers for change in schema_changes(old, new)):
        assert [value for value in values if valid(value, old) and not valid(value, new)] == []


@given(SCHEMAS, SCHEMAS)
def test_different_schemas_are_distinguished_and_equal_ones_are_not(old: JsonValue, new: JsonValue) -> None:
    assert schema_changes(old, old) == []
    assert bool(schema_changes(old, new)) == (old != new)
