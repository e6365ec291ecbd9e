"""YAML text becomes located values or findings; nothing else ever comes out of it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from onex.contracts.load import load_contract
from onex.contracts.text.yaml_tree import (
    BYTES_MAX,
    DEPTH_MAX,
    FINDINGS_MAX,
    YamlList,
    YamlMap,
    YamlScalar,
    place_of,
    plain,
    read_yaml,
)


def codes(text: str) -> list[str]:
    return [one.code for one in read_yaml(text, "x.yaml").findings]


def value(text: str) -> JsonValue:
    source = read_yaml(text, "x.yaml")
    assert source.findings == ()
    assert source.tree is not None
    return plain(source.tree)


# --- what scalars mean ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("word", "word"), ("two words", "two words"), ("'yes'", "yes"), ('"007"', "007"), ("12:xx", "12:xx"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("12", 12), ("-3", -3), ("+3", 3),
        ("0", 0), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("9007199254740992", 2**53), ("1.0.0", "1.0.0"),
        ("y", "y"), ("n", "n"), ("0abc", "0abc"), ("12abc", "12abc"), ("-", None), ("2026-1", "2026-1"),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, meaning: object) -> None:
    found = value(f"key: {text}") if text != "-" else {"key": None}
    assert found == {"key": meaning}
    assert type(found["key"]) is type(meaning)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("yes", "yaml_boolean"), ("No", "yaml_boolean"), ("ON", "yaml_boolean"), ("off", "yaml_boolean"),
        ("2026-01-31", "yaml_date"), ("2026-01-31T10:00:00Z", "yaml_date"), ("2026-1-3 10:00", "yaml_date"),
        ("007", "yaml_ambiguous_number"), ("0o17", "yaml_ambiguous_number"), ("0x1F", "yaml_ambiguous_number"),
        ("0b11", "yaml_ambiguous_number"), ("1_000", "yaml_ambiguous_number"), ("12:30", "yaml_ambiguous_number"),
        (".nan", "yaml_not_finite"), ("-.INF", "yaml_not_finite"), ("1e400", "yaml_number"),
        ("9007199254740993", "yaml_number"), ("1" * 100_000, "yaml_number"), ("=", "yaml_merge_key"),
        ("!!str x", "yaml_tag"), ("!x y", "yaml_tag"), ("! y", "yaml_tag"), ("!!binary aGk=", "yaml_tag"),
        ("&a x", "yaml_anchor"), ('"\\0"', "yaml_control_character"),
    ],
)  # fmt: skip
def test_what_two_parsers_would_read_differently_is_refused_at_its_place(text: str, code: str) -> None:
    findings = read_yaml(f"key: {text}", "x.yaml").findings
    assert [(one.code, one.path, one.line, one.column) for one in findings] == [(code, "x.yaml", 1, 6)]
    assert findings[0].fix


@pytest.mark.parametrize("key", ["1", "1.5", "true", "null", "~", "[a]", "{a: b}"])
def test_a_key_is_a_word(key: str) -> None:
    assert codes(f"{key}: x") == ["yaml_key"]


def test_in_contracts_of_others_a_number_may_be_a_key_and_is_its_word() -> None:
    source = read_yaml("{429: retry, '200': fine, -1: x}", "x.yaml", references=True)
    assert source.findings == () and source.tree is not None
    assert plain(source.tree) == {"429": "retry", "200": "fine", "-1": "x"}
    for text in ("{1: a, '1': b}", "{true: a}", "{null: a}", "{1.5: a}", "{[1]: a}", "{0o7: a}"):
        assert len(read_yaml(text, "x.yaml", references=True).findings) == 1, text


def test_a_refused_key_takes_its_value_with_it_and_nothing_else() -> None:
    source = read_yaml("1: {a: b}\nx: y\nx: z\n? [k]\n: [v]\nlast: w", "x.yaml")
    assert [one.code for one in source.findings] == ["yaml_key", "yaml_duplicate_key", "yaml_key"]
    assert source.tree is not None
    assert plain(source.tree) == {"x": "y", "last": "w"}


# --- hostile text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "yaml_empty"),
        ("# only a comment", "yaml_empty"),
        ("a: 1\n--- \nb: 2", "yaml_documents"),
        ("%YAML 1.1\n---\na: 1", "yaml_directive"),
        ("a: *b", "yaml_alias"),
        ("a: [1, 2", "yaml_syntax"),
        ("a: 'open", "yaml_syntax"),
        ("a: b: c", "yaml_syntax"),
        ("\ta: 1", "yaml_syntax"),
        ("a: \x07", "yaml_control_character"),
        ("a: \x00", "yaml_control_character"),
        ("a: \ud800", "yaml_control_character"),
        ("a: \u2028", "yaml_control_character"),
        ("a: \x85", "yaml_control_character"),
        ('a: "\\ud800"', "yaml_syntax"),
        ("[" * 100_000, "yaml_too_deep"),
        ("{a: " * 50_000, "yaml_too_deep"),
        ("- " * 100_000, "yaml_too_deep"),
        ("? " * 100_000, "yaml_too_deep"),
        ("a" * (BYTES_MAX + 1), "yaml_too_large"),
        ("ü" * (BYTES_MAX // 2 + 1), "yaml_too_large"),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_hostile_text_is_one_finding(text: str, code: str) -> None:
    assert codes(text) == [code]


def test_an_alias_bomb_is_never_built() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(9)
    )
    source = read_yaml(bomb, "x.yaml")
    assert {one.code for one in source.findings} == {"yaml_anchor", "yaml_alias"}
    assert source.tree is not None
    assert len(json.dumps(plain(source.tree))) < 1000


def test_depth_is_counted_exactly() -> None:
    assert codes("[" * DEPTH_MAX + "]" * DEPTH_MAX) == []
    assert codes("[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1)) == ["yaml_too_deep"]


def test_size_is_counted_exactly() -> None:
    assert codes("a" * BYTES_MAX) == []
    assert codes("a" * (BYTES_MAX + 1)) == ["yaml_too_large"]


def test_ten_thousand_refused_scalars_are_not_ten_thousand_findings() -> None:
    assert len(codes("[" + "yes, " * 10_000 + "]")) == FINDINGS_MAX


def test_a_long_scalar_is_cut_in_the_sentence() -> None:
    found = read_yaml("0" * 5000, "x.yaml").findings[0]
    assert len(found.message) < 150


# --- places -----------------------------------------------------------------------------------------------------------


def test_every_value_knows_its_line_and_column() -> None:
    tree = read_yaml("a: 1\nb:\n  - x\n  - {c: 'd'}\nü: end", "x.yaml").tree
    assert isinstance(tree, YamlMap)
    assert place_of(tree, ())[:2] == (1, 1)
    assert place_of(tree, ("a",))[:2] == (1, 4)
    assert place_of(tree, ("b",))[:2] == (3, 3)
    assert place_of(tree, ("b", 0))[:2] == (3, 5)
    assert place_of(tree, ("b", 1, "c"))[:2] == (4, 9)
    assert place_of(tree, ("ü",))[:2] == (5, 4)
    assert tree.entries["b"].key.place[:2] == (2, 1)


def test_a_path_that_leads_nowhere_is_at_the_last_place_it_reached() -> None:
    tree = read_yaml("a:\n  b: 1", "x.yaml").tree
    assert tree is not None
    assert place_of(tree, ("a", "b", "c", 3))[:2] == (2, 6)
    assert place_of(tree, ("a", "z"))[:2] == (2, 3)
    assert place_of(tree, ("z",))[:2] == (1, 1)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("a: word", (1, 4)),
        ("a: 'word'", (1, 5)),
        ('a: "word"', (1, 5)),
        ('a: "wo\\x72d"', None),
        ("a: |\n  word", None),
    ],
)
def test_a_text_knows_where_its_first_character_stands_when_it_stands_as_written(text: str, at: object) -> None:
    tree = read_yaml(text, "x.yaml").tree
    assert isinstance(tree, YamlMap)
    leaf = tree.get("a")
    assert isinstance(leaf, YamlScalar)
    assert (None if leaf.text_at is None else leaf.text_at[:2]) == at


def test_emoji_and_wide_characters_count_as_one_column() -> None:
    found = read_yaml("{'🙂': yes}", "x.yaml").findings[0]
    assert (found.line, found.column) == (1, 7)


# --- properties -------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcXYZ_-19", min_size=1), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
FRAGMENTS = st.sampled_from(
    ["a", ": ", ":", "- ", "\n", "\n  ", "  ", "[", "]", "{", "}", ", ", "'", '"', "|", ">", "&a ", "*a", "!!x ", "? ",
     "yes", "007", "1e999", "<<", "%YAML 1.1\n", "---\n", "...\n", "#", "\t", "\r", "\x00", "\ud800", "é", "\\", "@",
     "state_machine", "transitions", "name", "intents", "trigger", "expression", "payload.x > 1", "9999999999999999"]
)  # fmt: skip


@given(JSON)
def test_json_is_read_as_what_it_says(thing: JsonValue) -> None:
    """JSON is a part of YAML; numbers keep their kind, because no float is written like an int."""
    found = value(json.dumps(thing, ensure_ascii=False))
    assert found == thing
    assert json.dumps(found) == json.dumps(thing)


@given(st.text() | st.lists(FRAGMENTS, max_size=60).map("".join))
def test_any_text_gives_findings_or_a_tree_and_never_an_exception(text: str) -> None:
    source = read_yaml(text, "x.yaml")
    assert source.findings or source.tree is not None
    lines = text.count("\n") + text.count("\r") + 2
    for found in source.findings:
        assert 0 <= found.line <= lines
        assert found.message
    loaded = load_contract(text, "x.yaml")
    assert loaded.findings, "no random text is a contract"
    assert loaded.contract is None


@given(st.binary(max_size=200))
def test_any_bytes_read_as_latin_1_do_no_harm(data: bytes) -> None:
    assert load_contract(data.decode("latin-1"), "x.yaml").contract is None


def test_nothing_finite_is_lost() -> None:
    assert value("[1.7976931348623157e308, 5e-324]") == [1.7976931348623157e308, 5e-324]
    assert math.copysign(1, float(str(value("-0.0")))) == -1


def test_a_row_is_a_row() -> None:
    tree = read_yaml("[a, [b]]", "x.yaml").tree
    assert isinstance(tree, YamlList)
    assert [type(item) for item in tree.items] == [YamlScalar, YamlList]
