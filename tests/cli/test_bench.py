"""`onex bench` finds what can be run, gives it its options and tells its numbers."""

from __future__ import annotations

import pytest

from onex.cli import bench
from tests.cli.conftest import Commands


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ROOM", "tests.cli.benches")


def test_without_a_name_the_benches_are_listed(commands: Commands) -> None:
    assert commands("bench").out == "quick  Counts as far as it is told.\n"
    assert commands("bench", "--json").row == {"benches": {"quick": "Counts as far as it is told."}}


def test_a_bench_tells_its_numbers(commands: Commands) -> None:
    assert commands("bench", "quick").out == "quick\n  counted  1,000\n  per s    12.346\n"
    told = commands("bench", "all", "-o", "to=7", "--json")
    assert told.row == {"bench": "quick", "counted": 7, "per_s": 12.3456}


@pytest.mark.parametrize(
    ("words", "why"),
    [(("slow",), "there is no bench 'slow'; there are quick"), (("quick", "-o", "to"), "write NAME=VALUE")],
)
def test_what_cannot_be_run_is_a_mistake(words: tuple[str, ...], why: str, commands: Commands) -> None:
    told = commands("bench", *words)
    assert told.code == 2
    assert why in told.err
