"""What a user reads for each error, word for word (contract_errors.txt): all of it at once, each with place and fix."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from onex.contracts.load import load_contract
from onex.kernel.finding import Finding, errors

HERE = Path(__file__).parent
SHOP = (HERE / "shop.yaml").read_text()


class ErrorCase(NamedTuple):
    title: str
    right: str
    wrong: str
    reported: str


def error_cases() -> list[ErrorCase]:
    blocks = (HERE / "contract_errors.txt").read_text().split("=== ")[1:]
    found = []
    for block in blocks:
        title, *lines = block.rstrip("\n").split("\n")
        right = "\n".join(line[2:] for line in lines if line.startswith("- "))
        wrong = "\n".join(line[2:] for line in lines if line.startswith("+ "))
        reported = [line for line in lines if not line.startswith(("- ", "+ "))]
        found.append(ErrorCase(title, right, wrong, "\n".join(reported).rstrip()))
    return found


def reported(findings: tuple[Finding, ...]) -> str:
    return "\n".join(
        f"{one.line}:{one.column} {one.severity} {one.code}: {one.message}\n    {one.fix}" for one in findings
    )


def test_the_contract_the_errors_are_made_in_is_right() -> None:
    loaded = load_contract(SHOP, "shop.yaml")
    assert loaded.findings == ()
    assert loaded.contract is not None
    assert loaded.contract.name == "shop"


@pytest.mark.parametrize("case", error_cases(), ids=lambda case: case.title.replace(" ", "-"))
def test_the_error_is_reported_at_its_place_with_its_fix(case: ErrorCase) -> None:
    assert SHOP.count(case.right) >= 1
    loaded = load_contract(SHOP.replace(case.right, case.wrong, 1), "shop.yaml")
    assert reported(loaded.findings) == case.reported
    assert (loaded.contract is None) == bool(errors(loaded.findings))


def test_every_finding_has_a_fix() -> None:
    for case in error_cases():
        loaded = load_contract(SHOP.replace(case.right, case.wrong, 1), "shop.yaml")
        assert [one for one in loaded.findings if not one.fix] == [], case.title


def test_errors_in_different_places_are_reported_in_one_go() -> None:
    few = [("payload: Place,", "paylod: Place,"), ("max_attempts: 5", "max_attempts: 0"), ("bank,", "bank, x: 1,")]
    text = SHOP
    for right, wrong in few:
        text = text.replace(right, wrong, 1)
    assert [one.code for one in load_contract(text, "x").findings] == ["unknown_key", "unknown_key", "out_of_range"]


def test_a_condition_has_at_most_a_thousand_characters() -> None:
    loaded = load_contract(SHOP.replace("amount > 0", "a" * 1001), "x")
    assert [(one.code, one.line) for one in loaded.findings] == [("bad_length", 17)]


def test_more_than_a_hundred_errors_are_cut() -> None:
    rows = "".join(f"    - {{from_state: s{n}, to_state: t{n}, trigger: x{n}, bad: 1}}\n" for n in range(300))
    loaded = load_contract(SHOP.replace("intents:", f"{rows}intents:", 1), "x")
    assert len(loaded.findings) == 101
    assert loaded.findings[-1].code == "too_many_findings"


@pytest.mark.parametrize("text", ["[]", "just words", "3", "- a\n- b"])
def test_what_is_no_mapping_is_no_contract(text: str) -> None:
    assert [one.code for one in load_contract(text, "x").findings] == ["not_a_mapping"]


def test_without_declared_states_a_state_nobody_leaves_is_unknown() -> None:
    bare = "\n".join(line for line in SHOP.split("\n") if not line.startswith(("  states:", "    - {name:")))
    assert load_contract(bare, "x").findings == ()
    stuck = load_contract(
        bare.replace('{from_state: "*", to_state: cancelled', "{from_state: open, to_state: cancelled").replace(
            "to_state: paid,", "to_state: payed,"
        ),
        "x",
    )
    assert [(one.code, one.fix) for one in stuck.findings] == [
        ("unknown_state", "did you mean 'paid'?"),
        ("unknown_state", "did you mean 'payed'?"),
    ]


def test_a_terminal_state_that_nothing_enters_is_unknown() -> None:
    bare = "\n".join(line for line in SHOP.split("\n") if not line.startswith(("  states:", "    - {name:")))
    loaded = load_contract(bare.replace("[sent, cancelled]", "[sent, canceled, cancelled]"), "x")
    assert [(one.code, one.message, one.fix) for one in loaded.findings] == [
        ("unknown_state", "no transition enters the terminal 'canceled'", "did you mean 'cancelled'?")
    ]


def test_a_later_transition_with_more_conditions_is_shadowed_one_with_others_is_not() -> None:
    first = next(line for line in SHOP.split("\n") if "trigger: place" in line)
    both = SHOP.replace(
        first,
        f"{first}\n    - {{from_state: open, to_state: open, trigger: place, conditions: [{{expression: amount > 0}}, "
        "{expression: amount < 5}]}\n    - {from_state: open, to_state: open, trigger: place}",
    )
    assert [(one.code, one.line) for one in load_contract(both, "x").findings] == [("shadowed_transition", 18)]


def test_crlf_and_a_byte_order_mark_change_nothing() -> None:
    windows = load_contract("\ufeff" + SHOP.replace("\n", "\r\n"), "x")
    assert windows.contract == load_contract(SHOP, "x").contract
    assert windows.findings == ()
