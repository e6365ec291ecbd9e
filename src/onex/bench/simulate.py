"""Runs of an app under `onex simulate`, per minute and core; and steps per second of the loop that they run in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import onex.workflows.code_analysis

from ..kernel.errors import StateConsistencyError
from ..simulation.app_sim.runner import RunPlan, RunTotals, run_all
from ..simulation.seeded_run import Sim
from ..simulation.seeded_run import run as simulate
from .measurement import Goal, Measurement, Result
from .options import Options

RUNS = 120
WARM = 8
TASKS = 100
TURNS = 1000


def run(options: Mapping[str, str]) -> Result:
    """Each store's share of the seeds is what ``onex simulate`` gives it, so ``store`` says nothing here."""
    chosen = Options.of(options)
    app = str(Path(onex.workflows.code_analysis.__file__).parent)
    loop_per_s = median(_loop_per_s(chosen.count(TURNS, 10)) for _ in range(chosen.pairs))
    runs = chosen.count(RUNS, 2)
    warm = min(WARM, runs)
    _lived(RunPlan(app, 0, warm))
    totals, cpu_s = _lived(RunPlan(app, warm, runs))
    per_minute = 60 * runs / cpu_s
    with chosen.place() as folder:
        return Measurement(
            "runs/min and core",
            per_minute,
            targets=[
                # 2,000 in six minutes of two cores
                Goal("runs/min and core", per_minute, 2000 / 6 / 2, 500),
                Goal("loop steps/s and core", loop_per_s, 100_000, 200_000),
            ],
            detail={
                "lives": runs,
                "actions_per_life": round(totals.coverage.actions / runs, 1),
                "faults_per_life": round(sum(totals.counted.values()) / runs, 1),
                "steps_per_life": round(totals.steps / runs),
                "steps_per_s_with_engine": round(totals.steps / cpu_s),
                "faster_than_life": round(totals.virtual_s / cpu_s),
                "loop_steps_per_s": round(loop_per_s),
            },
        ).result(folder)


def _lived(plan: RunPlan) -> tuple[RunTotals, float]:
    """In this process, in processor time. Raises StateConsistencyError when something broke."""
    totals = RunTotals()
    cpu = time.process_time()
    for chunk in run_all(plan, 1):
        totals.add(chunk)
    if totals.broken is not None:
        raise StateConsistencyError(f"seed {totals.broken.script.seed} broke {totals.broken.violations[0]}")
    return totals, time.process_time() - cpu


def _loop_per_s(turns: int) -> float:
    async def turn(sim: Sim) -> None:
        for _ in range(turns):
            await sim.clock.sleep(sim.faults.random())

    async def main(sim: Sim) -> None:
        await asyncio.gather(*(sim.world.spawn(turn(sim)) for _ in range(TASKS)))

    cpu = time.process_time()
    outcome = simulate(main, 1)
    outcome.result()
    return outcome.steps / (time.process_time() - cpu)
