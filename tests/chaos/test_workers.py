"""Workers on PostgreSQL under all that can happen to them. By hand: ``python -m tests.chaos.workers --seed N --troubles N``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.history import Operation, not_linearizable
from tests.chaos.workers import run_workers, told
from tests.servers.postgres_server import NoServer


def nothing_is_lost(seed: int, troubles: int, folder: Path, *, seconds: float = 0.0) -> None:
    """Nothing acknowledged is lost, nothing applied twice, one key per effect, histories linearizable, replay equal, projection and
    bus as the log."""
    try:
        report = run_workers(seed, troubles, folder, seconds=seconds)
    except NoServer as error:
        pytest.skip(f"no PostgreSQL here: {error}")
    print("\n".join(told(report)))  # the table, which -s or a failure shows
    assert report.is_fine, "\n".join(told(report))


@pytest.mark.long
def test_each_trouble_once_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    nothing_is_lost(2, 8, tmp_path, seconds=40.0)  # about a minute in all


@pytest.mark.long
@pytest.mark.parametrize("seed", range(11, 17))
def test_many_troubles_and_nothing_acknowledged_is_lost(seed: int, tmp_path: Path) -> None:
    nothing_is_lost(seed, 48, tmp_path)


def test_a_history_is_linearizable_when_the_versions_fit_the_times() -> None:
    told_in_turn = [Operation("a", 1, 0.0, 1.0), Operation("a", 2, 1.5, 2.0)]
    at_once = [Operation("b", 2, 0.0, 9.0), Operation("b", 1, 5.0, 6.0)]
    never_answered = [Operation("c", 1, 3.0), Operation("c", 2, 3.5, 4.0)]
    assert not_linearizable([*told_in_turn, *at_once, *never_answered]) == {}


def test_a_version_that_was_told_before_an_earlier_one_was_asked_for_is_found() -> None:
    wrong = [Operation("a", 2, 0.0, 1.0), Operation("a", 1, 1.5, 2.0), Operation("b", 1, 0.0, 1.0)]
    assert not_linearizable(wrong) == {"a": "version 2 was told before version 1 was asked for"}
