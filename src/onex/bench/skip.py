"""Virtual days per second: a year of monthly renewals on a virtual clock, with the engine's start; and loop steps per day."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from ..app import App, load_app
from ..kernel.errors import StateConsistencyError
from ..testing.virtual_time import virtual
from .measurement import Goal, Measurement, Result
from .options import Options

DAYS = 365
RENEWALS = 12
MANY = 100


def run(options: Mapping[str, str]) -> Result:
    """``keys`` is how many subscriptions renew beside each other in the second measurement."""
    chosen = Options.of(options)
    app = load_app(Path(__file__).with_name("subscription"))
    many = min(chosen.keys, MANY)
    lived = [_year(app, 1) for _ in range(chosen.pairs)]
    per_s, per_day = DAYS / median(cpu_s for cpu_s, _ in lived), lived[0][1] / DAYS
    many_cpu_s, many_steps = _year(app, many)
    with chosen.place() as folder:
        return Measurement(
            "virtual days/s",
            per_s,
            targets=[
                Goal("virtual days/s", per_s, DAYS, 10 * DAYS),
                Goal("loop steps per virtual day", per_day, 10, 1, at_most=True),
            ],
            detail={
                "days": DAYS,
                "renewals": RENEWALS,
                "subscriptions": many,
                "renewals_per_s_of_many": round(many * RENEWALS / many_cpu_s),
                "loop_steps_per_renewal_of_many": round(many_steps / many / RENEWALS, 1),
            },
        ).result(folder)


def _year(app: App, subscriptions: int) -> tuple[float, int]:
    """Seconds of processor time, and steps of the loop. Raises StateConsistencyError where a renewal is missing."""
    cpu = time.process_time()
    keys = [f"subscription:{n}" for n in range(subscriptions)]
    with virtual(app) as year:
        for key in keys:
            year.submit(key, "subscribe", {"cents": 900})
        year.skip(days=DAYS)
        steps, spent = year.steps, time.process_time() - cpu
        for key in keys:
            paid = year.state(key).model_dump()["months"]
            if paid != 1 + RENEWALS:
                raise StateConsistencyError(f"{key} was charged {paid} times in a year, not {1 + RENEWALS}")
    return spent, steps
