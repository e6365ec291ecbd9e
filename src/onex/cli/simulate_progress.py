"""A line at the foot of a terminal while runs go on: how many, how fast, what was done to them, how long it takes still."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ..simulation.app_sim.fault_plan import POINTS
from ..simulation.app_sim.runner import RunPlan, RunTotals


@contextmanager
def bar(plan: RunPlan, end_s: float | None) -> Iterator[Callable[[RunTotals], None]]:
    """``end_s`` on the monotonic clock, where time is what ends it."""
    began_s = time.monotonic()
    columns = (TextColumn("simulating"), BarColumn(bar_width=24), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=1.0)

        def show(totals: RunTotals) -> None:
            now_s = time.monotonic()
            spent_s = max(now_s - began_s, 1e-9)
            shares = [totals.runs / plan.seeds] if plan.seeds else []
            shares += [spent_s / (end_s - began_s)] if end_s is not None else []
            done = min(1.0, max(shares, default=0.0))
            left_s = spent_s / max(done, 1e-9) - spent_s
            faults = sum(count for name, count in totals.counted.items() if name in POINTS)
            text = f"{totals.runs:,} runs, {60 * totals.runs / spent_s:,.0f} a minute, {faults:,} faults, {left_s:.0f} s left"
            progress.update(task, completed=done, description=text)

        yield show
