"""What comes of each family and of each spelling, field by field and word for word (the .txt pages beside)."""

from __future__ import annotations

import pytest

from onex.contracts.foreign.read_result import EnumFamily
from onex.contracts.model.contract import machine_of
from tests.contracts.families.expected import HERE, Case, came_of, cases, read

PAGES = sorted(page.name for page in HERE.glob("*.txt"))
CASES = [(page, case) for page in PAGES for case in cases(page)]


@pytest.mark.parametrize(
    ("page", "case"), CASES, ids=[f"{page}-{case.title}".replace(" ", "_") for page, case in CASES]
)
def test_this_is_what_comes_of_it(page: str, case: Case) -> None:
    assert came_of(read(case)).splitlines() == case.reported.splitlines(), page


def test_every_family_has_a_case() -> None:
    assert {read(case).family for case in cases("families.txt")} >= set(EnumFamily)


def test_titles_are_distinct() -> None:
    titles = [(page, case.title) for page, case in CASES]
    assert sorted(titles) == sorted(set(titles))


def test_every_key_is_honoured_or_reported_and_none_twice() -> None:
    for _, case in CASES:
        reading = read(case)
        assert reading.honoured + reading.reported == len(reading.keys), case.title
        assert len({key.loc for key in reading.keys}) == len(reading.keys), case.title


def test_a_contract_is_refused_exactly_when_a_finding_is_an_error() -> None:
    for _, case in CASES:
        reading = read(case)
        assert reading.ok == (not [one for one in reading.findings if one.severity == "error"]), case.title


def test_machines_of_all_spellings_can_be_drawn() -> None:
    drawn = [machine_of(reading.contract) for reading in map(read, cases("fsm.txt")) if reading.contract is not None]
    assert len(drawn) >= 25
    assert all(machine is not None and len(machine.statuses) >= 2 for machine in drawn)
