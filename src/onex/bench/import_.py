"""Milliseconds of 'from onex import reducer, State' next to its unavoidable imports, and of 'onex --help'; warm."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from statistics import median

from .measurement import Goal, Measurement, Result, ratio_of_pairs
from .options import Options

FLOOR = "import sqlite3, asyncio; from pydantic import BaseModel"
OURS = "from onex import reducer, State"
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
HELP = "from onex.cli.main import main; raise SystemExit(main(['--help']))"


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    for words in (FLOOR, OURS, HELP):  # warm up: the next start finds files and byte code cached
        _ms(words)
    slices = [(_ms("pass"), _ms(FLOOR), _ms(OURS), _ms(HELP)) for _ in range(chosen.pairs)]
    bare, floor, ours, helped = ([one[n] for one in slices] for n in range(4))
    ratio, help_ms = ratio_of_pairs(ours, floor), median(helped)
    with chosen.place() as folder:
        return Measurement(
            "ms",
            median(ours),
            ceiling=median(floor),
            ratio=ratio,
            targets=[
                Goal("ratio to sqlite3 + asyncio + pydantic", ratio, 1.3, 1.1, at_most=True),
                Goal("onex --help in ms", help_ms, 250, 150, at_most=True),
            ],
            detail={"python_ms": round(median(bare), 1), "help_ms": round(help_ms, 1), "pairs": chosen.pairs},
        ).result(folder)


def _ms(words: str) -> float:
    """Wall time of a new interpreter that runs ``words``, in milliseconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", words], check=True, stdout=subprocess.DEVNULL, env=_ENVIRONMENT)
    return (time.perf_counter() - started) * 1e3
