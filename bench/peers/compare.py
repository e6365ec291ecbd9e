"""The same workflow on every peer, beside each other: `make peers`, or `python -m bench.peers` in the root of the clone.

Each round runs each program once, in a new process with a new store; every second round runs them backwards. So a slow minute of
the machine hits all alike, and a ratio is taken within a round. A peer that cannot be installed is skipped, and counted as such.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from pydantic import JsonValue, ValidationError

from bench.peers.child_process import run
from bench.peers.environments import PLACE, ROOT, NotInstalled, environment
from bench.peers.figures import PeerFigures, Run, figures, table
from bench.peers.peers import LOCKS, OURS, PROGRAMS, PeerProgram
from onex.bench.machine import HostFacts, measured
from onex.bench.measurement import rounded

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
ROUNDS = 3
LONGEST_S = 600.0  # of one program: imports, warm-up, its wave, and workflows alone


class Started(NamedTuple):
    """A program that can be run: ``words`` without the folder and the seconds."""

    name: str
    words: Sequence[str]


class Comparison(NamedTuple):
    """``skipped`` and ``failed``: name -> why. A peer that failed once has no figures."""

    rows: Sequence[PeerFigures]
    skipped: dict[str, str]
    failed: dict[str, str]

    @property
    def ours(self) -> PeerFigures | None:
        return next((row for row in self.rows if row.name == OURS), None)


def main(words: Sequence[str]) -> int:
    """0; 1 when a program failed or ours could not be measured, 2 for a wrong argument, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="make peers", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument(
        "--seconds", type=_positive, default=3.0, metavar="S", help="how long each measured wave takes (3)"
    )
    parser.add_argument("--rounds", type=_count, default=ROUNDS, metavar="N", help=f"({ROUNDS})")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a peer or row; may be repeated")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    given = parser.parse_args(words)
    try:
        chosen = choose(given.only)
    except ValueError as error:
        parser.error(str(error))
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        PLACE.mkdir(parents=True, exist_ok=True)
        started, skipped = install(chosen)
        found = compare(started, given.rounds, given.seconds, PLACE)
        host = measured(PLACE)
    except KeyboardInterrupt:
        _say("interrupted; nothing runs on")
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    found.skipped.update(skipped)
    _report(found, host, only_json=given.json)
    return OK if found.ours is not None and not found.failed else FAILED


def choose(names: Sequence[str]) -> list[PeerProgram]:
    """Ours, and those of these environments or rows; all when none is named. Raises ValueError for a name that is neither."""
    known = {name for one in PROGRAMS for name in (one.name, one.environment)}
    for name in names:
        if name not in known:
            raise ValueError(f"there is no peer {name!r}; there are {', '.join(sorted(known))}")
    return [one for one in PROGRAMS if not names or {one.name, one.environment} & {OURS, *names}]


def install(chosen: Sequence[PeerProgram]) -> tuple[list[Started], dict[str, str]]:
    """Programs that can be run, and those that cannot, with the reason."""
    pythons: dict[str, Path] = {}
    reasons: dict[str, str] = {}
    for name in dict.fromkeys(one.environment for one in chosen):
        try:
            pythons[name] = environment(name, ROOT / LOCKS[name])
        except NotInstalled as error:
            reasons[name] = str(error)
            _say(f"SKIPPED {name}: {error}")
    started = [
        Started(one.name, [str(pythons[one.environment]), "-m", one.module, "--mode", one.mode])
        for one in chosen
        if one.environment in pythons
    ]
    return started, {one.name: reasons[one.environment] for one in chosen if one.environment in reasons}


def compare(programs: Sequence[Started], rounds: int, seconds: float, place: Path) -> Comparison:
    """Runs every program once per round. One that fails is left out of the rounds that follow."""
    runs: dict[str, list[Run]] = {one.name: [] for one in programs}
    failed: dict[str, str] = {}
    for number in range(rounds):
        for one in programs if number % 2 == 0 else reversed(programs):
            if one.name in failed:
                continue
            _say(f"round {number + 1} of {rounds}: {one.name}")
            try:
                runs[one.name].append(run_once(one, seconds, place))
            except ValueError as error:
                failed[one.name] = str(error)
                _say(f"FAILED {one.name}: {error}")
    ours = runs.get(OURS, []) if OURS not in failed else []
    names = [name for name in runs if name not in failed and ours]
    return Comparison([figures(name, ours, runs[name]) for name in names], {}, failed)


def run_once(program: Started, seconds: float, place: Path) -> Run:
    """Raises ValueError when it ends otherwise than with its figures."""
    folder = Path(tempfile.mkdtemp(prefix="store-", dir=place))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        words = [*program.words, "--folder", str(folder), "--seconds", str(seconds)]
        ended = run(words, ROOT, LONGEST_S, {**kept, "PYTHONPATH": str(ROOT / "src")})
    finally:
        shutil.rmtree(folder)
    lines = ended.output.strip().splitlines()
    if ended.code or not lines:
        said = ended.error.strip().splitlines()
        raise ValueError(f"ended with {ended.code}: {said[-1] if said else 'it said nothing'}")
    try:
        return Run.model_validate_json(lines[-1])
    except ValidationError as error:
        raise ValueError(f"its last line is no figures: {lines[-1][:200]!r}") from error


def result(found: Comparison, host: HostFacts) -> dict[str, JsonValue]:
    """As every bench answers. ``value`` is our rate, and ``peers`` has each row's own."""
    ours = found.ours
    return {
        "bench": "peers",
        "unit": "workflows/s",
        "value": None if ours is None else rounded(ours.rate),
        "peers": {row.name: row.as_json() for row in found.rows},
        "fsync_us": host.fsync_us,
        "load": host.load,
        "python": host.python,
        "commit": host.commit,
        "detail": {"loop_ns": host.loop_ns, "skipped": dict(found.skipped), "failed": dict(found.failed)},
    }


def _report(found: Comparison, host: HostFacts, *, only_json: bool) -> None:
    if not only_json:
        lines = table(found.rows)
        lines.append(f"skipped: {len(found.skipped)}, failed: {len(found.failed)}")
        lines += [f"  {name}: {why.splitlines()[0]}" for name, why in {**found.skipped, **found.failed}.items()]
        sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.write(json.dumps(result(found, host), allow_nan=False) + "\n")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _stop(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= LONGEST_S / 10:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0 and at most {LONGEST_S / 10:g}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} rounds measure nothing")
    return value
