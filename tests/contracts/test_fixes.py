"""Automatic fixes: the text changes at the place of a finding and nowhere else, and only when reading it again confirms it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.contracts.edit.fixes import Edit, FixedText, applied, fix_text
from onex.contracts.foreign.foreign_reader import read_contract
from onex.contracts.load import load_contract
from onex.contracts.text.yaml_tree import read_yaml
from onex.kernel.finding import Finding

SHOP = (Path(__file__).parent / "shop.yaml").read_text()


def of_yaml(text: str) -> tuple[Finding, ...]:
    return read_yaml(text, "x.yaml").findings


def of_contract(text: str) -> tuple[Finding, ...]:
    return load_contract(text, "x.yaml").findings


def in_shop(right: str, wrong: str) -> FixedText:
    assert SHOP.count(right) == 1
    return fix_text(SHOP.replace(right, wrong), "x.yaml", of_contract)


# --- YAML that two parsers read differently ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "fixed"),
    [
        ("yes", "true"), ("No", "false"), ("ON", "true"), ("off", "false"), ("0x1F", "31"), ("-0x1f", "-31"), ("0o17", "15"),
        ("0b101", "5"), ("1_000", "1000"), ("007", '"007"'), ("0o8", '"0o8"'), ("12:30", '"12:30"'), ("0_1", '"0_1"'),
        ("2026-01-31", '"2026-01-31"'), ("2026-01-31T10:00:00Z", '"2026-01-31T10:00:00Z"'),
        ("2026-01-31 10:00:00 +01:00", '"2026-01-31 10:00:00 +01:00"'), ("2026-1-3 10:00", '"2026-1-3 10:00"'),
    ],
)  # fmt: skip
def test_a_scalar_is_written_so_that_all_read_it_alike(wrong: str, fixed: str) -> None:
    for around in ("k: {}", "k: {} # why", "[{}, x]", "{{k: {}}}", "- {}\n- x", "k:\n  - {}\r\nl: x"):
        done = fix_text(around.format(wrong), "x.yaml", of_yaml)
        assert (done.text, done.findings) == (around.format(fixed), ())


@pytest.mark.parametrize(
    ("two", "three"),
    [
        ("is_present", "exists true"),
        ("is_not_present", "exists false"),
        ("is_absent", "exists false"),
        ("is_not_empty", "min_length 1"),
    ],
)
def test_a_guard_of_two_words_gets_its_value(two: str, three: str) -> None:
    done = in_shop("amount > 0", f"amount {two}")
    assert (f"expression: amount {three}" in done.text, done.findings) == (True, ())


def test_an_old_operator_in_a_mapping_is_written_anew() -> None:
    text = (
        "name: x\nnode_type: reducer\nstate_machine:\n  initial_state: a\n  transitions:\n"
        "    - {from: a, to: a, trigger: t, guard: {field: n, operator: is_not_present}}\n"
    )
    done = fix_text(text, "x.yaml", lambda changed: read_contract(changed, "x.yaml").findings)
    assert done.text == text.replace("is_not_present", "not_exists")


def test_a_word_as_a_key_is_quoted() -> None:
    assert fix_text("on: {no: 1}", "x.yaml", of_yaml).text == '"on": {"no": 1}'


def test_what_has_no_safe_fix_is_left_as_it_is() -> None:
    for text in ("a: &x 1\nb: *x", "a: 1\na: 2", "a: .inf", "<<: {}", "a: [1", "a: !!str x", "a: 1e999", "1: x"):
        done = fix_text(text, "x.yaml", of_yaml)
        assert (done.text, done.fixes) == (text, ())
        assert done.findings


def test_tabs_at_the_left_become_spaces_and_tabs_elsewhere_stay() -> None:
    done = fix_text("a:\n\tb: 1\n\tc:\n\t\td: 'x\ty'\n", "x.yaml", of_yaml)
    assert (done.text, done.findings) == ("a:\n  b: 1\n  c:\n    d: 'x\ty'\n", ())
    assert len(done.fixes) == 1


def test_a_byte_order_mark_and_line_ends_stay() -> None:
    done = fix_text("\ufeffa: yes\r\nb: no\rc: on\n", "x.yaml", of_yaml)
    assert done.text == "\ufeffa: true\r\nb: false\rc: true\n"


# --- contracts --------------------------------------------------------------------------------------------------------


def test_a_key_that_is_nearly_right_is_renamed_and_its_layout_stays() -> None:
    done = in_shop("max_attempts: 5", "max_atempts:   5")
    assert done.text == SHOP.replace("max_attempts: 5", "max_attempts:   5")
    assert [(one.finding.code, one.edits[0][2:]) for one in done.fixes] == [
        ("unknown_key", ("max_atempts", "max_attempts"))
    ]


def test_a_key_is_not_renamed_to_one_that_is_there() -> None:
    done = in_shop("max_attempts: 5", "max_attempts: 5, max_atempts: 6")
    assert done.fixes == ()


def test_a_key_that_is_only_a_little_alike_is_not_renamed() -> None:
    done = in_shop("initial_state:", "initial:")
    assert done.fixes == ()


def test_a_boolean_that_is_wanted_as_text_is_quoted() -> None:
    right = next(line for line in SHOP.splitlines() if line.startswith("description:"))
    done = in_shop(right, "description: yes")
    assert done.text == SHOP.replace(right, 'description: "yes"')


def test_a_version_in_one_word_becomes_a_mapping() -> None:
    right = next(line for line in SHOP.splitlines() if line.startswith("contract_version:"))
    for word in ('"2.3.4"', "2.3.4", "'v2_3_4'"):
        done = in_shop(right, f"contract_version: {word}  # the second")
        assert done.text == SHOP.replace(right, "contract_version: {major: 2, minor: 3, patch: 4}  # the second")


def test_several_errors_are_fixed_in_one_go_and_the_rest_is_reported() -> None:
    wrong = SHOP.replace("max_attempts: 5", "max_atempts: 1_0").replace("transitions:", "transitons:").replace(
        "terminal_states: [", "terminal_states: [nowhere, "
    )  # fmt: skip
    done = fix_text(wrong, "x.yaml", of_contract)
    assert len(done.fixes) == 3
    assert {one.code for one in done.findings} == {"unknown_state"}


# --- edits ------------------------------------------------------------------------------------------------------------


def test_edits_of_one_reading_do_not_move_each_other() -> None:
    edits = (Edit(1, 1, "a", "long"), Edit(1, 4, "b", ""), Edit(3, 2, "c", "C"))
    assert applied("a, b\r\rxc\n", edits) == "long, \r\rxC\n"


LINES = st.lists(
    st.sampled_from(
        ["a: yes", "b: 007", "  - 2026-01-01", "c:", "\td: 1", "on: off", "e: [no, 1_0, {x: 0x1}]", "# yes", "f: 'yes'"]
    ),
    max_size=8,
)


@given(LINES, st.sampled_from(["\n", "\r\n"]))
def test_fixing_never_makes_it_worse_and_fixed_text_is_left_alone(lines: list[str], end: str) -> None:
    text = end.join(lines)
    before = of_yaml(text)
    done = fix_text(text, "x.yaml", of_yaml)
    assert done.findings == of_yaml(done.text)
    if all(one.code != "yaml_syntax" for one in before):
        assert len(done.findings) + len(done.fixes) == len(before)
    assert fix_text(done.text, "x.yaml", of_yaml).fixes == ()
