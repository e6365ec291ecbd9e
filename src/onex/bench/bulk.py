"""Instances per second of ``onex bulk signal`` beside a running engine: selected, sent, answered and recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .cli import ONEX, parcels_run, write_parcels
from .measurement import Goal, Measurement, Result
from .options import Options

INSTANCES: Final = 50_000
_STORE: Final = {"ONEX_STORE": "sqlite:///store.db"}


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return _measure(chosen, folder).result(folder)


def _measure(options: Options, folder: Path) -> Measurement:
    write_parcels(folder)
    count = options.count(INSTANCES, 40)
    lines = "".join(f"{json.dumps({'key': f'parcel:{n:07}', 'trigger': 'send'})}\n" for n in range(count))
    with parcels_run(folder):
        _onex(folder, ["submit", "-"], lines)
        began_s = time.perf_counter()
        told = _onex(folder, ["bulk", "signal", "deliver", "--where", "status = 'travelling'", "--yes"])
        took_s = time.perf_counter() - began_s
    rate = count / took_s
    return Measurement(
        "instances/s",
        rate,
        targets=[Goal("instances/s, the start of the process included", rate, 10_000, 20_000)],
        detail={"instances": count, "seconds": round(took_s, 2), "said": told.strip()},
    )


def _onex(folder: Path, words: Sequence[str], given: str = "") -> str:
    """What it printed. Raises CalledProcessError."""
    done = subprocess.run(
        [sys.executable, "-c", ONEX, *words],
        check=True,
        input=given,
        text=True,
        stdout=subprocess.PIPE,
        env=os.environ | _STORE,
        cwd=folder,
    )
    return done.stdout
