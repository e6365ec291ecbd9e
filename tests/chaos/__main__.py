"""A run by hand, or by the tests: ``python -m tests.chaos --seed 7 --troubles 12``. Exit code 1 when something is wrong."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from tests.chaos.chaos_run import Run, run_chaos

INSIDE = "CHAOS_INSIDE"
SHOWN = 10


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--troubles", type=int, default=12)
    words.add_argument("--folder", type=Path, default=None, help="where to keep what there is to see")
    words.add_argument("--without", action="append", default=[], metavar="TROUBLE", help="leave this kind out")
    given = words.parse_args()
    if INSIDE not in os.environ:
        _inside()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing of the run is left behind
    folder = given.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    run = run_chaos(given.seed, given.troubles, folder, _bound_by_modes(), frozenset(given.without))
    print("\n".join(told(run)))
    if not run.wrong and not run.verdict.found:
        if given.folder is None:
            shutil.rmtree(folder)
        return 0
    print(f"\nseed {given.seed}, {given.troubles} troubles; all there is to see: {folder}")
    return 1


def told(run: Run) -> list[str]:
    """A short table: what was done to it, what it came to."""
    lines = [f"chaos, seed {run.seed}; the disk is {run.disk}; {run.starts} starts of the engine"]
    lines += [f"  {name.replace('_', ' '):<32}{count:>8}" for name, count in sorted(run.troubles.items())]
    lines += [f"  LEFT OUT: {name.replace('_', ' ')}: {why}" for name, why in run.skipped.items()]
    lines += [f"  {name:<32}{count:>8,}" for name, count in run.verdict.numbers.items()]
    lines += [f"  a client met {name:<19}{count:>8,}" for name, count in sorted(run.client_troubles.items())]
    lines += [f"  ended by itself, {count} times: {why}" for why, count in run.ended.items()]
    for kind in ("lost", "twice"):
        lines.append(f"  {kind:<32}{len(run.verdict.found.get(kind, ())):>8}")
    for kind, found in run.verdict.found.items():
        lines += [f"FOUND {kind} ({len(found)}):", *(f"  {one}" for one in found[:SHOWN])]
    return [*lines, *(f"WRONG {one}" for one in run.wrong)]


def _inside() -> NoReturn:
    """Again, where a small file system may be mounted and goes away with us; here where none may."""
    ways = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])
    for way in ways:
        tried = [*way, "sh", "-c", 'd=$(mktemp -d) && mount -t tmpfs x "$d" && umount "$d"; s=$?; rmdir "$d"; exit $s']
        try:
            if subprocess.run(tried, capture_output=True).returncode == 0:
                break
        except OSError:
            continue
    else:
        way = []
    words = [*way, sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
    os.execvpe(words[0], words, {**os.environ, INSIDE: "1"})


def _bound_by_modes() -> tuple[str, ...]:
    """The words before a command that take root's right to write what nobody may."""
    words = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return ()
    return words if subprocess.run([*words, "true"], capture_output=True).returncode == 0 else ()


if __name__ == "__main__":
    sys.exit(main())
