"""A simulation that does not find a bug that somebody plants would not find our own bugs.

CI begins at the run that found the bug last time and goes on from there; `make test-long` begins at run 0. Both give up after
as many runs as the table allows: then the simulation has a gap.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.adapters.sqlite.schema import create
from tests.engine_sim.engine_run import run_seed
from tests.simulation.planted import FOUND, PLANTED, ROOMS

MOST = 200
"""Runs that CI gives a bug. Those that may take more are looked for by `make test-long` only."""


def found(name: str, seeds: range, folder: Path) -> int | None:
    """The first of these runs in which a promise is broken while the bug is planted."""
    create(folder / "empty.db")
    with PLANTED[name]():
        for seed in seeds:
            place = folder / str(seed)
            place.mkdir()
            report, _ = run_seed(
                seed,
                place,
                folder / "empty.db",
                to_the_end=False,
                misbehaving=FOUND[name].misbehaving,
                cancelling=FOUND[name].cancelling,
            )
            if report.violations:
                return seed
    return None


@pytest.mark.parametrize("name", [name for name, row in FOUND.items() if row.within <= MOST])
def test_a_planted_bug_is_found_within_as_many_runs_as_stated(name: str, tmp_path: Path) -> None:
    first, within, *_ = FOUND[name]
    assert found(name, range(first, first + within), tmp_path) is not None, f"{within} runs went well with it"


@pytest.mark.long
@pytest.mark.parametrize("name", FOUND)
def test_a_planted_bug_is_found_from_the_first_run_on(name: str, tmp_path: Path) -> None:
    within = FOUND[name].within
    assert found(name, range(within), tmp_path) is not None, f"{within} runs went well with it"


def test_every_bug_that_is_planted_says_how_soon_it_is_found() -> None:
    assert len(ROOMS) == len(list(Path(__file__).parent.glob("planted_*.py")))
    assert sorted(FOUND) == sorted(PLANTED)
    assert len(PLANTED) >= 40


@pytest.mark.parametrize("name", FOUND)
def test_a_bug_is_planted_where_there_is_something_to_change(name: str) -> None:
    """A name in the engine that was changed shows here at once, not after the minutes that the search takes."""
    with PLANTED[name]():
        pass


def test_without_them_the_same_runs_go_well(tmp_path: Path) -> None:
    """So that it is the planted bug that was found; every other test of this folder says so for hundreds of runs."""
    create(tmp_path / "empty.db")
    for seed in range(3):
        place = tmp_path / str(seed)
        place.mkdir()
        assert run_seed(seed, place, tmp_path / "empty.db")[0].violations == []


def test_a_run_that_ends_at_the_first_broken_promise_has_broken_one(tmp_path: Path) -> None:
    name = "effect_under_a_new_key_each_time"
    folder = tmp_path / "first"
    folder.mkdir()
    seed = found(name, range(FOUND[name].within), folder)
    assert seed is not None
    runs = []
    for to_the_end in (True, False):
        place = tmp_path / str(to_the_end)
        place.mkdir()
        with PLANTED[name]():
            runs.append(run_seed(seed, place, folder / "empty.db", to_the_end=to_the_end))
    (whole, _), (short, outcome) = runs
    assert short.violations == whole.violations[:1]
    assert short.steps < whole.steps and outcome.error is not None
