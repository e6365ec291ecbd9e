"""Milliseconds until help, check, ls, show and submit have answered, over a bare interpreter start; lines/s of onex submit -."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from pydantic import JsonValue

from ..kernel.errors import EngineClosed
from .measurement import Goal, Measurement, Result
from .options import Options

CONTRACT = """\
name: parcel
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_model: Parcel
state_machine:
  initial_state: packed
  terminal_states: [delivered]
  transitions:
    - {from_state: packed, to_state: travelling, trigger: send}
    - {from_state: travelling, to_state: delivered, trigger: deliver}
"""
PAYLOADS = """\
from __future__ import annotations

from onex import State


class Parcel(State):
    note: str = ""
"""
ONEX = "from onex.cli.start import start; raise SystemExit(start())"
COMMANDS: Mapping[str, Sequence[str]] = {
    "help": ["--help"],
    "check": ["check", "parcel"],
    "ls": ["ls"],
    "show": ["show", "parcel:0"],
    "submit": ["submit", "parcel:0", "deliver", "--no-wait"],
}
LINES = 20_000
LIMIT_MS = 350
# Byte code may be written: where it may not, each start would compile what nobody has compiled before.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_STORE = {"ONEX_STORE": "sqlite:///store.db"}


class Took(NamedTuple):
    """Wall and CPU time of one process, in ms."""

    wall_ms: float
    cpu_ms: float


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return _measure(chosen, folder).result(folder)


def _measure(options: Options, folder: Path) -> Measurement:
    write_parcels(folder)
    with_engine, stored = _lines_per_s(folder, options.count(LINES, 40))
    for words in COMMANDS.values():  # warm up: the next start finds files and byte code cached
        _onex(folder, words)
    slices = [
        {"python": _took(folder, ["-c", "pass"])} | {name: _onex(folder, words) for name, words in COMMANDS.items()}
        for _ in range(options.pairs)
    ]
    bare_ms = median(one["python"].wall_ms for one in slices)
    took = {name: median(one[name].wall_ms for one in slices) for name in COMMANDS}
    slowest = max(took, key=lambda name: took[name])
    commands: dict[str, JsonValue] = {
        name: {
            "ms": round(took[name], 1),
            "cpu_ms": round(median(one[name].cpu_ms for one in slices), 1),
            "over_python": round(median(one[name].wall_ms / one["python"].wall_ms for one in slices), 1),
        }
        for name in COMMANDS
    }
    return Measurement(
        "ms",
        took[slowest],
        ceiling=bare_ms,
        ratio=took[slowest] / bare_ms,
        targets=[
            *(Goal(f"onex {name} in ms", took[name], LIMIT_MS, 150, at_most=True) for name in COMMANDS),
            Goal("onex submit - in lines/s, answered by an engine", with_engine, 5_000, 10_000),
            Goal("onex submit - in lines/s, stored", stored, 5_000, 10_000),
        ],
        detail={"slowest": slowest, "commands": commands, "pairs": options.pairs},
    )


def _onex(folder: Path, words: Sequence[str]) -> Took:
    return _took(folder, ["-c", ONEX, *words])


def _took(folder: Path, words: Sequence[str]) -> Took:
    """Of a new interpreter in ``folder`` that runs ``words``. Raises CalledProcessError."""
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=_ENVIRONMENT | _STORE, cwd=folder
    )
    wall_s, after = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall_s * 1e3, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3)


def write_parcels(folder: Path) -> None:
    """The app ``parcel``."""
    (folder / "parcel").mkdir()
    (folder / "parcel" / "contract.yaml").write_text(CONTRACT)
    (folder / "parcel" / "payloads.py").write_text(PAYLOADS)


@contextmanager
def parcels_run(folder: Path) -> Iterator[None]:
    """An engine of it in a process of its own, on ``store.db`` in this folder. Raises EngineClosed when it does not start."""
    with subprocess.Popen(
        [sys.executable, "-c", ONEX, "run", "parcel"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=_ENVIRONMENT | _STORE,
        cwd=folder,
    ) as engine:
        assert engine.stderr is not None
        try:
            said = engine.stderr.readline()
            if not said.startswith("running"):
                raise EngineClosed(f"onex run did not start: {said.strip()}")
            yield
            engine.send_signal(signal.SIGINT)
            engine.wait()
        finally:
            engine.kill()


def _lines_per_s(folder: Path, count: int) -> tuple[float, float]:
    """Of ``onex submit -`` beside a running engine, until the last answer; then without one, until the last is durable."""
    lines = "".join(f"{json.dumps({'key': f'parcel:{n}', 'trigger': 'send'})}\n" for n in range(count))
    with parcels_run(folder):
        answered = _submit(folder, lines, [])
    return count / answered, count / _submit(folder, lines, ["--no-wait", "--store", "sqlite:///other.db"])


def _submit(folder: Path, lines: str, options: Sequence[str]) -> float:
    """Seconds, the start of the process included."""
    began_s = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", ONEX, "submit", "-", *options],
        check=True,
        input=lines,
        text=True,
        stdout=subprocess.DEVNULL,
        env=_ENVIRONMENT | _STORE,
        cwd=folder,
    )
    return time.perf_counter() - began_s
