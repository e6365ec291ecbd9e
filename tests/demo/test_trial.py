"""The witness chooses the moments, holds the work inside them, and leaves no engine behind."""

from __future__ import annotations

import asyncio
import io
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from onex.cli.demo.kill_moments import WAIT_S_MAX, kill_moments
from onex.cli.demo.progress import DemoProgress
from onex.cli.demo.trial import ENGINE, EngineEnded, InputRefused, Trial
from onex.cli.demo.workload import Workload, orders


@pytest.mark.parametrize("effects", [4, 20, 25, 4000])
def test_each_kill_falls_inside_its_window(effects: int) -> None:
    for seed in range(200):
        first, second = kill_moments(effects, random.Random(seed))
        assert 0.25 <= first.at / effects <= 0.5
        assert 0.55 <= second.at / effects <= 0.8
        assert (first.withhold, second.withhold) == (False, True)
        for moment in (first, second):
            assert moment.at <= moment.until
            assert 0 <= moment.wait_s <= WAIT_S_MAX


def test_a_seed_draws_the_same_moments_again() -> None:
    drawn = [kill_moments(4000, random.Random(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def trial(folder: Path, job: Workload | None = None, engine: Sequence[str] = ENGINE) -> Trial:
    job = job or orders(10, folder)
    story = DemoProgress(io.StringIO(), job.effects)
    return Trial(job, f"sqlite:///{folder / 'store.db'}", folder, 1, story, engine=engine)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("raise SystemExit(7)", "exit code 7; no output"),
        ("raise RuntimeError('no room')", "exit code 1; RuntimeError: no room"),
    ],
)
def test_an_engine_that_ends_by_itself_is_no_kill(tmp_path: Path, words: str, told: str) -> None:
    with pytest.raises(EngineEnded, match=told):
        asyncio.run(trial(tmp_path, engine=(sys.executable, "-c", words)).run())


def test_what_the_engine_cannot_do_is_told_in_its_words(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    job = orders(10, tmp_path)._replace(app=tmp_path / "empty")
    with pytest.raises(EngineEnded, match=r"holds no contract\.yaml"):
        asyncio.run(trial(tmp_path, job).run())


def test_an_input_that_is_refused_ends_the_demo(tmp_path: Path) -> None:
    job = orders(10, tmp_path)
    bad = job.inputs[3].model_copy(update={"payload": {"items": "none"}})
    job = job._replace(inputs=(*job.inputs[:3], bad, *job.inputs[4:]))
    with pytest.raises(InputRefused, match=r"'place' for orders:04 was refused: payload does not fit Place"):
        asyncio.run(trial(tmp_path, job).run())
