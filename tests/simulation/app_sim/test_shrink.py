"""A failure is reported in as few steps as were found to cause it, kept as a test, and the same for any number of processes."""

from __future__ import annotations

import runpy
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from onex.simulation.app_sim import Act, Broken, Hit, Script, play
from onex.simulation.app_sim.app_under_test import AppUnderTest, load_app_under_test
from onex.simulation.app_sim.run import AppRun, Workspace, run_app
from onex.simulation.app_sim.runner import RunPlan, RunTotals, run_all, workspace
from onex.simulation.app_sim.saved_test import test_text as text_of_test
from onex.simulation.app_sim.shrink import Shrinker
from tests.simulation.app_sim.shops import ASKS_AGAIN, CHARGES_TWICE, NEVER_TWICE, ORDERS, shop


@pytest.fixture
def where() -> Iterator[Workspace]:
    with workspace() as one:
        yield one


def first_broken(under_test: AppUnderTest, where: Workspace) -> AppRun:
    runs = (run_app(under_test, Script(seed, "memory"), where, drawn=True) for seed in range(200))
    return next(result for result in runs if result.violations)


def shrunk(under_test: AppUnderTest, result: AppRun, where: Workspace, seconds: float = 60.0) -> Shrinker:
    work = Shrinker(under_test, result.script, result.violations[0].rule, where, seconds)
    work.run()
    return work


def test_the_shortest_schedule_is_what_it_takes(tmp_path: Path, where: Workspace) -> None:
    under_test = load_app_under_test(shop(tmp_path, NEVER_TWICE, ASKS_AGAIN))
    result = first_broken(under_test, where)
    assert result.script.size > 10
    work = shrunk(under_test, result, where)
    assert work.in_time
    script = work.script
    # an act that is refused may be needed for the moment at which it comes
    assert len(script.acts) <= 2 and {act.trigger for act in script.acts} == {"place"}
    assert sum(str(act.payload).count("sku") for act in script.acts) == 1
    assert 1 <= len(script.hits) <= 5
    assert any(hit.point.startswith("effect ") for hit in script.hits), (
        "without a fault of the effect nobody asks again"
    )
    for n in range(script.size):
        things: list[Act | Hit] = [*script.acts, *script.hits]
        del things[n]
        assert run_app(under_test, script.only(things), where, drawn=False).violations == [], "each of them is needed"
    assert shrunk(under_test, result, where).script == script


def test_a_bug_that_needs_no_trouble_is_told_without_any(tmp_path: Path, where: Workspace) -> None:
    under_test = load_app_under_test(shop(tmp_path, NEVER_TWICE, CHARGES_TWICE))
    script = shrunk(under_test, first_broken(under_test, where), where).script
    assert (len(script.acts), script.hits, script.plain, script.peace_us) == (1, (), True, 0)


def test_without_time_the_first_schedule_is_kept(tmp_path: Path, where: Workspace) -> None:
    under_test = load_app_under_test(shop(tmp_path, NEVER_TWICE, CHARGES_TWICE))
    result = first_broken(under_test, where)
    work = shrunk(under_test, result, where, seconds=0.0)
    assert (work.script, work.runs, work.in_time) == (result.script, 0, False)


def test_a_saved_test_fails_until_the_app_is_mended(tmp_path: Path, where: Workspace) -> None:
    app = shop(tmp_path / "apps", NEVER_TWICE, CHARGES_TWICE)
    under_test = load_app_under_test(app)
    result = first_broken(under_test, where)
    script = shrunk(under_test, result, where).script
    file = tmp_path / "tests" / "test_found.py"
    file.parent.mkdir()
    file.write_text(text_of_test(script, result.violations[0], result.story, app, file))
    test = runpy.run_path(str(file))[f"test_never_charged_twice_under_seed_{script.seed}"]
    with pytest.raises(Broken, match=r"never_charged_twice: orders:\w+ was charged 2 times\n(.*\n)+.* submits place"):
        test()
    reducer = app / "reducer.py"
    reducer.write_text(reducer.read_text().replace(CHARGES_TWICE[1], CHARGES_TWICE[0]))
    test()


def test_a_schedule_can_be_written_by_hand(tmp_path: Path) -> None:
    place_one = Act(0, 0, 100_000, "orders:1", "place", {"items": [{"sku": "tea", "quantity": 1, "cents": 1}]})
    hits = tuple(Hit("effect fails after", 100_000) for _ in range(5))
    script = Script(seed=1, store="sqlite", acts=(place_one,), hits=hits, peace_us=60_000_000)
    result = play(ORDERS, script)
    assert result.counted["effect fails after"] == 5
    assert result.coverage.triggers["orders.charge_unknown"] == 1
    with pytest.raises(Broken, match="never_charged_twice"):
        play(shop(tmp_path, NEVER_TWICE, ASKS_AGAIN), script)


def played(app: Path, processes: int, seeds: int) -> RunTotals:
    totals = RunTotals()
    for chunk in run_all(RunPlan(str(app), 0, seeds), processes):
        totals.add(chunk)
    return totals


def test_two_processes_live_the_same_runs_as_one() -> None:
    alone, together = played(ORDERS, 1, 9), played(ORDERS, 2, 9)
    assert alone == together
    assert (alone.runs, alone.broken) == (9, None)


def test_the_first_result_waits_for_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        def __init__(self, *about: object) -> None:
            self.asked: list[list[int]] = []
            pools.append(self)

        def submit(
            self, play: Callable[..., RunTotals], plan: RunPlan, seeds: list[int], folder: str
        ) -> Future[RunTotals]:
            self.asked.append(seeds)
            return Future()  # its process never starts

        def shutdown(self, *, cancel_futures: bool) -> None:
            pass

    pools: list[Pool] = []
    monkeypatch.setattr("onex.simulation.app_sim.runner.ProcessPoolExecutor", Pool)
    totals = run_all(RunPlan(str(ORDERS), 0, 12), 2)
    assert [next(totals).runs for _ in range(4)] == [1, 1, 1, 1]
    assert pools[0].asked == [[4, 5, 6, 7], [8, 9, 10, 11]]
    totals.close()


def test_what_breaks_first_ends_it(tmp_path: Path) -> None:
    alone = played(shop(tmp_path, NEVER_TWICE, CHARGES_TWICE), 1, 12)
    assert alone.broken is not None
    assert alone.runs == alone.broken.script.seed + 1 < 12


def test_a_process_is_born_without_ctrl_c_which_waits_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C goes to all of a terminal's processes; one that still imports would answer with a traceback."""

    class Pool:
        def __init__(self, *about: object) -> None:
            self.masks: list[set[int]] = []
            pools.append(self)

        def submit(self, play: Callable[..., RunTotals], plan: RunPlan, *rest: object) -> Future[RunTotals]:
            self.masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
            done: Future[RunTotals] = Future()
            done.set_result(RunTotals())
            return done

        def shutdown(self, *, cancel_futures: bool) -> None:
            pass

    pools: list[Pool] = []
    monkeypatch.setattr("onex.simulation.app_sim.runner.ProcessPoolExecutor", Pool)
    assert len(list(run_all(RunPlan(str(ORDERS), 0, 200), 2))) > 1
    assert all(signal.SIGINT in mask for mask in pools[0].masks)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
