"""A command begins with what it needs: one that only looks or sends imports no engine, one that reads contracts no store.

Which modules a run holds at its end is read in a process of its own. Times are measured by `onex bench cli`, not here.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest

from onex.cli.start import settled
from tests.cli.conftest import ITEMS, ORDERS, fill

PLACE = [("orders:1", "place", {"items": ITEMS})]
NEVER = {"click", "hypothesis", "pygls", "rich", "structlog"}
ENGINE = {"onex.engine.dispatch", "onex.engine.pattern_engine", "onex.wiring.engine", "multiprocessing"}
CONTRACTS = {"cel", "onex.app", "onex.contracts", "onex.doctor", "onex.nodes", "yaml"}
STORE = {"onex.adapters", "onex.wiring", "sqlite3"}
PROOFS = {"onex.processes", "onex.replay", "onex.simulation", "onex.whatif"}

LOOKS = NEVER | ENGINE | CONTRACTS | PROOFS
READS_CONTRACTS = NEVER | ENGINE | STORE | PROOFS
WITHOUT = {
    "ls": LOOKS,
    "ls --count": LOOKS,
    "show orders:1": LOOKS,
    "show orders:1 --history --json": LOOKS,
    "log": LOOKS,
    "rejections": LOOKS,
    "submit orders:1 cancel --no-wait": LOOKS,
    f"check {ORDERS}": READS_CONTRACTS,
    f"diff {ORDERS} {ORDERS}": READS_CONTRACTS,
    f"diagram {ORDERS}": READS_CONTRACTS,
    "schema": READS_CONTRACTS,
}
_RUN = """
import json, sys
from onex.cli.start import start
code = start()
print(json.dumps([code, *sys.modules]), file=sys.stderr)
"""


@pytest.mark.parametrize("words", WITHOUT, ids=lambda words: words.replace(f"{ORDERS}", "APP"))
def test_a_command_imports_nothing_that_only_others_need(words: str, place: Path) -> None:
    fill(ORDERS, PLACE)
    run = subprocess.run([sys.executable, "-c", _RUN, *words.split()], capture_output=True, text=True, check=True)
    code, *modules = json.loads(next(line for line in run.stderr.splitlines() if line.startswith("[")))
    assert code == 0, run.stderr
    assert WITHOUT[words] & set(modules) == set()


def test_garbage_is_collected_once_the_command_runs() -> None:
    gc.disable()
    settled()
    assert gc.isenabled()
    gc.unfreeze()


def test_a_program_that_calls_the_commands_keeps_its_own_collector() -> None:
    before = gc.get_freeze_count()
    settled()
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, before)
