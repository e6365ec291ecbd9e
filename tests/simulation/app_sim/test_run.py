"""A run is a function of its app and its script; the engine's promises and the app's own are judged in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import onex.workflows.code_analysis
from onex.simulation.app_sim.app_under_test import AppUnderTest, load_app_under_test
from onex.simulation.app_sim.fault_plan import USER_CODE
from onex.simulation.app_sim.observer import Violation
from onex.simulation.app_sim.run import AppRun, Workspace, run_app
from onex.simulation.app_sim.runner import workspace
from onex.simulation.app_sim.schedule import Script
from tests.simulation.app_sim.shops import CHARGES_TWICE, NEVER_TWICE, ORDERS, shop
from tests.simulation.planted import PLANTED

ANALYSIS = Path(onex.workflows.code_analysis.__file__).parent
HASH_OF_ONE = """
import sys
from onex.simulation.app_sim.run import run_app
from onex.simulation.app_sim.schedule import Script
from onex.simulation.app_sim.runner import workspace
from onex.simulation.app_sim.app_under_test import load_app_under_test
under_test = load_app_under_test(sys.argv[1])
with workspace() as where:
    for seed, store in ((7, "sqlite"), (8, "memory")):
        run = run_app(under_test, Script(seed, store), where, drawn=True)
        print(run.trace_hash, run.log_hash, run.steps)
"""


@pytest.fixture
def where() -> Iterator[Workspace]:
    with workspace() as one:
        yield one


def drawn(under_test: AppUnderTest, seed: int, where: Workspace, *, keep_story: bool = False) -> AppRun:
    return run_app(
        under_test, Script(seed, "memory" if seed % 2 else "sqlite"), where, drawn=True, keep_story=keep_story
    )


@pytest.mark.parametrize("app", [ORDERS, ANALYSIS], ids=["orders", "code_analysis"])
def test_everything_holds_and_a_script_is_the_same_run_again(app: Path, where: Workspace) -> None:
    under_test = load_app_under_test(app)
    counted: Counter[str] = Counter()
    for seed in range(4):
        result = drawn(under_test, seed, where)
        assert result.violations == [], seed
        again = run_app(under_test, result.script, where, drawn=False)
        assert (again.trace_hash, again.log_hash, again.steps) == (result.trace_hash, result.log_hash, result.steps)
        assert again.counted == result.counted
        counted += result.counted
        assert result.coverage.actions and result.log_hash
    assert counted["commit answer lost"] and counted["commit refused"] and counted["effect is slow"]


def test_a_weeks_time_out_fires_within_a_run(where: Workspace) -> None:
    under_test = load_app_under_test(ORDERS)
    assert any(drawn(under_test, seed, where).coverage.triggers["orders.abandon"] for seed in range(30))


def test_the_apps_own_effects_are_never_called(
    where: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    result = drawn(load_app_under_test(ORDERS), 3, where)
    assert result.coverage.effects > 0
    assert not (tmp_path / "out").exists()


def test_compute_functions_can_be_the_apps_own(where: Workspace) -> None:
    result = drawn(load_app_under_test(ANALYSIS, real_compute=True), 1, where)
    assert result.violations == []
    assert result.coverage.triggers["code_file.was_analysed"]
    assert result.log_hash != drawn(load_app_under_test(ANALYSIS), 1, where).log_hash


def broken(under_test: AppUnderTest, where: Workspace, seeds: range) -> list[Violation]:
    return next((result.violations for seed in seeds if (result := drawn(under_test, seed, where)).violations), [])


def test_an_invariant_of_the_apps_own_is_broken_by_a_bug_of_the_apps_own(where: Workspace, tmp_path: Path) -> None:
    found = broken(load_app_under_test(shop(tmp_path, NEVER_TWICE, CHARGES_TWICE)), where, range(9))
    assert {one.rule for one in found} == {"never_charged_twice"}
    assert found[0].text.startswith("orders:") and found[0].text.endswith(" was charged 2 times")


@pytest.mark.parametrize("name", ["duplicates_not_looked_up", "effect_under_a_new_key_each_time", "fence_not_compared"])
def test_a_bug_of_the_engines_is_found_through_a_users_app(name: str, where: Workspace) -> None:
    with PLANTED[name]():
        assert broken(load_app_under_test(ORDERS), where, range(60)) != []


def test_the_story_tells_who_did_what_and_ends_where_something_broke(where: Workspace, tmp_path: Path) -> None:
    under_test = load_app_under_test(shop(tmp_path, NEVER_TWICE, CHARGES_TWICE))
    result = next(result for seed in range(9) if (result := drawn(under_test, seed, where, keep_story=True)).violations)
    lines = [(line.who, line.what) for line in result.story]
    assert ("engine", "starts, boot 1") in lines
    assert any(who.startswith("client ") and what.startswith("submits place") for who, what in lines)
    assert any(who == "bank" and "does it: charge for orders:" in what for who, what in lines)
    assert lines[-1] == ("", f"broken: {result.violations[0]}")
    assert lines[-2][0] == "bank" and lines[-2][1].startswith("does it"), "what broke it stands above"
    assert [line.at_s for line in result.story] == sorted(line.at_s for line in result.story)


def test_what_stands_in_for_an_app_has_the_bugs_that_code_has_and_so_have_its_clients(where: Workspace) -> None:
    under_test = load_app_under_test(ORDERS)
    counted: Counter[str] = Counter()
    lines: list[str] = []
    for seed in range(30):
        result = drawn(under_test, seed, where, keep_story=True)
        assert result.violations == [], seed
        counted += result.counted
        lines += [f"{line.who} {line.what}" for line in result.story]
    assert [point for point in (*USER_CODE, "action hostile") if not counted[point]] == []
    stories = ("bank does it and returns None: charge for orders:", "bank does it, and raises ", "is refused: ")
    assert [story for story in stories if not any(story in line for line in lines)] == []
    assert any(" sends " in line and line.startswith("client ") for line in lines)


def hashes(processes: int) -> set[str]:
    environ = [{**os.environ, "PYTHONHASHSEED": str(number)} for number in range(processes)]
    words = [sys.executable, "-c", HASH_OF_ONE, str(ORDERS)]
    return {subprocess.run(words, env=one, capture_output=True, text=True, check=True).stdout for one in environ}


def test_a_seed_is_the_same_run_in_every_process() -> None:
    assert len(hashes(3)) == 1


@pytest.mark.long
def test_a_seed_is_the_same_run_in_ten_processes() -> None:
    assert len(hashes(10)) == 1


@pytest.mark.long
@pytest.mark.parametrize("app", [ORDERS, ANALYSIS], ids=["orders", "code_analysis"])
def test_everything_holds_in_a_thousand_runs(app: Path, where: Workspace) -> None:
    under_test = load_app_under_test(app)
    assert {
        seed: result.violations for seed in range(1000) if (result := drawn(under_test, seed, where)).violations
    } == {}
