"""Behind a rate and a circuit breaker nothing is lost, whatever crashes; and a queue that forgets to look again is found."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from onex.engine.target_gate import TargetGate
from onex.engine.target_queue import TargetQueues
from onex.kernel.retry import EnumBreakerState
from onex.simulation.app_sim.app_under_test import AppUnderTest, load_app_under_test
from onex.simulation.app_sim.run import AppRun, Workspace, run_app
from onex.simulation.app_sim.runner import workspace
from onex.simulation.app_sim.schedule import Script
from tests.simulation.planting import swapped

APP = Path(__file__).resolve().parents[2] / "engine" / "called_app" / "calls.py"
SEEDS = range(20, 30)
"""Of these some open the breaker, find the target down again, and close it."""


@pytest.fixture
def where() -> Iterator[Workspace]:
    with workspace() as one:
        yield one


def drawn(under_test: AppUnderTest, seed: int, where: Workspace) -> AppRun:
    return run_app(under_test, Script(seed, "memory" if seed % 2 else "sqlite"), where, drawn=True)


@pytest.fixture
def under_test(tmp_path: Path) -> AppUnderTest:
    """Left alone after two failures, for a second: so that a run of seconds sees it open, ask and close."""
    policy = "failures=3, open_s=60.0"
    assert policy in APP.read_text()
    (tmp_path / "calls.py").write_text(APP.read_text().replace(policy, "failures=2, open_s=1.0"))
    return load_app_under_test(tmp_path / "calls.py")


def test_nothing_is_lost_while_a_target_is_left_alone_and_engines_crash(
    under_test: AppUnderTest, where: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned: list[EnumBreakerState] = []
    right = TargetGate._look

    def look(self: TargetGate) -> None:
        right(self)
        if not turned or turned[-1] is not self._seen:
            turned.append(self._seen)

    monkeypatch.setattr(TargetGate, "_look", look)
    crashes = 0
    for seed in SEEDS:
        result = drawn(under_test, seed, where)
        assert result.violations == [], seed
        crashes += sum(number for name, number in result.counted.items() if name.startswith("crash"))
    assert set(turned) == set(EnumBreakerState)
    assert crashes > 0


def test_a_run_with_policies_is_a_function_of_its_script(under_test: AppUnderTest, where: Workspace) -> None:
    for seed in (23, 24):
        result = drawn(under_test, seed, where)
        again = run_app(under_test, result.script, where, drawn=False)
        assert (again.trace_hash, again.log_hash, again.steps) == (result.trace_hash, result.log_hash, result.steps)


def test_a_queue_that_does_not_look_again_leaves_what_waits(under_test: AppUnderTest, where: Workspace) -> None:
    with swapped(TargetQueues, "look", lambda self: inf):
        found = next(filter(None, (drawn(under_test, seed, where).violations for seed in range(30))), [])
    assert any("still due" in one.rule for one in found)
