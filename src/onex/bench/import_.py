"""What importing and asking for help cost, beside the floor of sqlite3, asyncio and a pydantic model."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from .result import Options, Value, median, number, result, scratch

FLOOR = "import sqlite3, asyncio, pydantic\nclass M(pydantic.BaseModel):\n    a: int\n"
OURS = "from onex import reducer, State\n"
HELP = "import sys\nsys.argv = ['onex', '--help']\nfrom onex.cli.main import main\nmain()\n"


def taken_ms(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)  # our own texts
    return (time.perf_counter() - begun) * 1000


def run(options: Options) -> dict[str, Value]:
    """Options: rounds (15), quick. Warm medians, taken in turn."""
    rounds = int(number(options, "rounds", 15, 1))
    for code in (FLOOR, OURS, HELP):
        taken_ms(code)
    floor: list[float] = []
    ours: list[float] = []
    help_: list[float] = []
    for _ in range(rounds):
        floor.append(taken_ms(FLOOR))
        ours.append(taken_ms(OURS))
        help_.append(taken_ms(HELP))
    detail: dict[str, Value] = {
        "floor_ms": round(median(floor), 1),
        "import_ms": round(median(ours), 1),
        "help_ms": round(median(help_), 1),
    }
    with scratch() as name:
        ratio = median([o / f for o, f in zip(ours, floor, strict=True)])
        return result("ratio import/floor", ratio, Path(name), detail=detail)
