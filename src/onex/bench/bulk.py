"""Instances per second of ``onex bulk signal`` beside a running engine: selected, sent, answered and recorded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..kernel.errors import EngineClosed
from .cli import CONTRACT, ONEX, PAYLOADS
from .measurement import Goal, Measurement, Result
from .options import Options

INSTANCES: Final = 50_000
_STORE: Final = {"ONEX_STORE": "sqlite:///store.db"}


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return _measure(chosen, folder).result(folder)


def _measure(options: Options, folder: Path) -> Measurement:
    (folder / "parcel").mkdir()
    (folder / "parcel" / "contract.yaml").write_text(CONTRACT)
    (folder / "parcel" / "payloads.py").write_text(PAYLOADS)
    count = options.count(INSTANCES, 40)
    lines = "".join(f"{json.dumps({'key': f'parcel:{n:07}', 'trigger': 'send'})}\n" for n in range(count))
    words = [sys.executable, "-c", ONEX, "run", "parcel"]
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | _STORE, cwd=folder
    ) as engine:
        assert engine.stderr is not None
        try:
            said = engine.stderr.readline()
            if not said.startswith("running"):
                raise EngineClosed(f"onex run did not start: {said.strip()}")
            _onex(folder, ["submit", "-"], lines)
            began_s = time.perf_counter()
            told = _onex(folder, ["bulk", "signal", "deliver", "--where", "status = 'travelling'", "--yes"])
            took_s = time.perf_counter() - began_s
            engine.send_signal(signal.SIGINT)
            engine.wait()
        finally:
            engine.kill()
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
