"""`onex simulate` runs an app's runs, and says what broke as one seed and a schedule that a person can read."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from onex.simulation.app_sim import Broken
from onex.simulation.app_sim.runner import RunTotals
from onex.simulation.app_sim.shrink import Shrinker
from tests.cli.conftest import ORDERS, Commands
from tests.cli.test_terminal import on_terminal
from tests.simulation.app_sim.shops import CHARGES_TWICE, NEVER_TWICE, shop

REFUND = "    - {from_state: basket, to_state: cancelled, trigger: cancel}"
NO_REFUND = (
    REFUND,
    f"{REFUND}\n    - {{from_state: basket, to_state: cancelled, trigger: refund,\n"
    '       conditions: [{expression: "state.total_cents < 0"}]}',
)


def test_what_held_and_what_never_happened_is_told(commands: Commands, place: Path) -> None:
    told = commands("simulate", shop(place, "", NO_REFUND), "--seeds", "4")
    assert told.code == 0
    assert told.out.startswith("4 runs of orders in ")
    for word in ("actions", "effects", "faults", "statuses", "orders.shipped", "held: all promises of the engine"):
        assert word in told.out
    never = next(line for line in told.out.splitlines() if line.startswith("  never"))
    assert "applied orders.refund" in never and never.endswith(": this did not happen in any run, so it was not tested")


def test_the_same_as_json(commands: Commands) -> None:
    row = commands("simulate", ORDERS, "--seeds", "3", "--seed", "5", "--store", "memory", "--json").row
    assert (row["ok"], row["lives"], row["first_seed"], row["store"], row["broken"]) == (True, 3, 5, "memory", None)
    assert isinstance(row["statuses"], dict) and row["statuses"]["orders.charging"] > 0  # type: ignore[operator]  # a number


def test_a_bug_is_one_seed_and_a_short_schedule(commands: Commands, place: Path) -> None:
    app = shop(place, NEVER_TWICE, CHARGES_TWICE)
    told = commands("simulate", app, "--seeds", "8", "--save-test", "test_found.py")
    assert told.code == 1
    assert "broken never_charged_twice: orders:" in told.out
    assert "1 action, 0 faults" in told.out
    story = told.out[told.out.index("broken never_charged_twice") :]
    assert " submits place " in story and "bank      does it: charge for orders:" in story
    assert f"again: onex simulate {app} --seed 0" in told.out
    assert "saved as test_found.py" in told.err
    with pytest.raises(Broken):
        runpy.run_path("test_found.py")["test_never_charged_twice_under_seed_0"]()


def test_one_seed_tells_its_story_and_is_the_same_again(commands: Commands, place: Path) -> None:
    first, again = (commands("simulate", ORDERS, "--seed", "7") for _ in range(2))
    assert first.code == 0
    assert first.out == again.out
    assert (
        "engine" in first.out and " client 1 " in first.out and "from here on nothing goes wrong any more" in first.out
    )
    assert "seed 7 on memory: every invariant held; trace " in first.out
    row = commands("simulate", ORDERS, "--seed", "7", "--json").row
    assert f"trace {row['trace_hash']}" in first.out
    assert isinstance(row["story"], list) and len(row["story"]) == len(first.out.splitlines()) - 1


def test_a_broken_seed_as_json(commands: Commands, place: Path) -> None:
    told = commands("simulate", shop(place, NEVER_TWICE, CHARGES_TWICE), "--seed", "0", "--json")
    broken = told.row["broken"]
    assert told.code == 1
    assert isinstance(broken, dict)
    assert (broken["seed"], broken["rule"], broken["actions"], broken["faults"]) == (0, "never_charged_twice", 1, 0)


def test_time_ends_it_where_time_was_asked_for(commands: Commands) -> None:
    row = commands("simulate", ORDERS, "--minutes", "0.01", "--workers", "1", "--json").row
    assert row["ok"] is True
    assert isinstance(row["lives"], int) and row["lives"] >= 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--store", "oracle"], "--store 'oracle' cannot be simulated; choose one of sqlite, memory, both"),
        (["--save-test", "there.py"], "--save-test: there.py exists; name another file"),
        (["--save-test", "nowhere/test.py"], "lies in a folder that does not exist; make it"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_runs(
    words: list[str], told: str, commands: Commands, place: Path
) -> None:
    (place / "there.py").write_text("")
    found = commands("simulate", ORDERS, *words)
    assert found.code == 2
    assert told in found.err


def test_a_mistake_in_simulation_py_is_shown_at_its_line(commands: Commands, place: Path) -> None:
    told = commands("simulate", shop(place, "x = 1\nimport nothing_of_that_name\n"))
    assert told.code == 1
    assert "simulation.py:2:" in told.err
    assert "import nothing_of_that_name" in told.err


def test_without_a_failure_no_test_is_saved(commands: Commands, place: Path) -> None:
    told = commands("simulate", ORDERS, "--seed", "1", "--save-test", "test_found.py")
    assert told.code == 0
    assert "nothing broke, so test_found.py was not written" in told.err
    assert not (place / "test_found.py").exists()


def test_ctrl_c_tells_what_was_done_so_far_and_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(place / "tmp"))
    code, told = on_terminal("simulate", ORDERS, "--minutes", "5", "--workers", "2", until="a minute")
    assert code == 130
    assert "simulating" in told
    assert "stopped; the result so far:" in told
    assert re.search(r"[1-9]\d* runs? of orders in ", told)
    assert list((place / "tmp").iterdir()) == []


def test_ctrl_c_while_it_is_shortened_keeps_what_was_found(
    commands: Commands, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(work: Shrinker) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Shrinker, "run", interrupted)
    app = shop(place, NEVER_TWICE, CHARGES_TWICE)
    told = commands("simulate", app, "--seed", "0", "--save-test", "test_found.py")
    assert told.code == 1
    assert "broken never_charged_twice: orders:" in told.out
    assert f"again: onex simulate {app} --seed 0" in told.out
    with pytest.raises(Broken):
        runpy.run_path("test_found.py")["test_never_charged_twice_under_seed_0"]()


def test_before_anything_has_lived_nothing_is_said_to_hold(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(totals: RunTotals, chunk: RunTotals) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunTotals, "add", interrupted)
    told = commands("simulate", ORDERS, "--seeds", "1")
    assert told.code == 130
    assert told.out.startswith("0 runs of orders in ")
    assert told.out.endswith("no run was finished\n")
    assert not [word for word in ("held", "faults", "statuses") if word in told.out]
    told = commands("simulate", ORDERS, "--seeds", "1", "--json")
    assert (told.row["ok"], told.row["lives"], told.row["stopped"]) == (False, 0, True)
