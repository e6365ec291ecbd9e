"""Recorded actions folded on changed code, per core, reads and comparison included; one instance in a hundred differs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Final

from ..kernel.action import WorkflowKey
from ..kernel.errors import StateConsistencyError
from ..processes.replay_work import processes_for
from ..processes.whatif_run import WhatIfRun
from ..processes.whatif_work import WhatIfTask
from ..whatif.recorded_states import RefoldedStates
from ..whatif.result import WhatIfSummary, WhatIfTotals
from ..whatif.what_if import WhatIf
from ..wiring.engine import open as open_engine
from ..wiring.folding import InertApp
from ..wiring.recorded import RecordedStore, RunSource
from .load import TEXT, Sent, refuse_refusals
from .measurement import Goal, Measurement, Result
from .options import Options

ACTIONS: Final = 20_000
PER_INSTANCE: Final = 100
AT_ONCE: Final = 10_000
PAGE: Final = 100
RUNS: Final = 3

CONTRACT: Final = """\
name: account
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_model: Account
state_machine:
  initial_state: open
  states: [{name: open}]
  transitions: [{from_state: open, to_state: open, trigger: enter, payload: Entry}]
intents:
  - {name: receipt, type: notification, target: desk, payload: Receipt, delivery: at_least_once}
"""
PAYLOADS: Final = """\
from __future__ import annotations

from onex import Payload, State


class Account(State):
    owner: str = "somebody with a name"
    currency: str = "EUR"
    balance: int = 0
    entries: int = 0
    largest: int = 0
    last: str = ""
    remark: str = "opened at the counter on a Tuesday"


class Entry(Payload):
    amount: int
    text: str


class Receipt(Payload):
    amount: int
    text: str
"""
REDUCER: Final = """\
from __future__ import annotations

from datetime import UTC, datetime

from onex import Action, Step, intent, reducer

from .payloads import Account, Entry, Receipt

LATER = datetime(2100, 1, 1, tzinfo=UTC)
accounts = reducer(Account)


@accounts.on("enter")
def enter(account: Account, action: Action[Entry]) -> Step[Account]:
    entry = action.payload
    changed = account.evolve(
        balance=account.balance + entry.amount,
        entries=account.entries + 1,
        largest=max(entry.amount, account.largest),
        last=entry.text,
    )
    return Step(changed, intent("receipt", Receipt(amount=entry.amount, text=entry.text), not_before=LATER))
"""
CHANGED: Final = REDUCER.replace(
    "    return Step(changed",
    '    if action.key.instance_id.endswith("00"):\n        changed = changed.evolve(largest=0)\n    return Step(changed',
)
EFFECTS: Final = """\
from __future__ import annotations

from onex import ModelIntent, effect

from .payloads import Receipt


@effect("desk")
def notify(intent: ModelIntent[Receipt]) -> None:
    raise AssertionError("it is due in the year 2100")
"""


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of({**options, "store": "sqlite"} if options.get("store") == "memory" else options)
    with chosen.place() as folder:
        return _measure(chosen, folder).result(folder)


def _measure(options: Options, folder: Path) -> Measurement:
    actions = options.count(ACTIONS, 200)
    made, other = account_app(folder / "made", REDUCER), account_app(folder / "other", CHANGED)
    url = f"sqlite:///{folder}/store.db"
    asyncio.run(_fill(url, made, actions))
    totals, runs = WhatIfTotals(), list[tuple[float, float]]()
    for _ in range(1 if options.quick else RUNS):
        totals, cpu_s, wall_s = asyncio.run(_folded(url, made, other))
        runs.append((cpu_s, wall_s))
    _check(totals, actions)
    per_core = median(actions / cpu_s for cpu_s, _ in runs)
    return Measurement(
        "actions/s and core",
        per_core,
        targets=[Goal("actions/s and core", per_core, 50_000, 200_000)],
        detail={
            "store": "sqlite",
            "actions": actions,
            "instances": totals.instances,
            "differ": totals.differs,
            "wall_per_s": round(median(actions / wall_s for _, wall_s in runs)),
            **({} if options.quick else _whole(url, made, other, actions)),
        },
    )


def account_app(place: Path, reducer: str) -> Path:
    """Both versions of the code have the same folder name, as two revisions of one folder have."""
    app = place / "account"
    app.mkdir(parents=True)
    texts = {"contract.yaml": CONTRACT, "payloads.py": PAYLOADS, "reducer.py": reducer, "effects.py": EFFECTS}
    for name, text in texts.items():
        (app / name).write_text(text)
    return app


async def _fill(url: str, app: Path, actions: int) -> None:
    keys = max(1, actions // PER_INSTANCE)
    async with await open_engine(url, app) as engine:
        for first in range(0, actions, AT_ONCE):
            sent: list[Sent] = [
                (f"account:{n % keys}", "enter", {"amount": n % 100 + 1, "text": TEXT})
                for n in range(first, min(first + AT_ONCE, actions))
            ]
            refuse_refusals(await engine.submit_many(sent))


async def _folded(url: str, made: Path, other: Path) -> tuple[WhatIfTotals, float, float]:
    """In this process, as each process of the command does. Returns totals, CPU seconds and wall seconds."""
    reader, teller = RecordedStore(url), RecordedStore(url)
    changed, record = InertApp(other), InertApp(made)
    cpu, started = time.process_time(), time.perf_counter()
    judge, tally = WhatIf(reader, changed.registry, RefoldedStates(teller, record.registry)), WhatIfSummary()
    after: WorkflowKey | None = None
    while rows := await reader.instances("account", None, after, PAGE):
        for stored in rows:
            tally.add(await judge.instance(stored))
        after = rows[-1].key
    taken = time.process_time() - cpu, time.perf_counter() - started
    for one in (reader, teller, changed, record):
        one.close()
    return tally.totals, *taken


def _whole(url: str, made: Path, other: Path, actions: int) -> dict[str, int | float]:
    """The whole command: with processes, pages of work, and the record folded too where something differs."""
    before = getrusage(RUSAGE_CHILDREN)
    started = time.perf_counter()
    source = RunSource(store_url=url)
    cores = processes_for(actions, None)
    outcome = WhatIfRun(
        WhatIfTask(source, str(other)), WhatIfTask(source, str(made)), ["account"], processes=cores
    ).run()
    wall_s = time.perf_counter() - started
    after = getrusage(RUSAGE_CHILDREN)
    _check(outcome.tally.totals, actions)
    if outcome.fired:
        raise StateConsistencyError(f"{outcome.fired} effects ran in a what-if")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "command_wall_s": round(wall_s, 2),
        "command_wall_per_s": round(actions / wall_s),
        "command_cpu_per_s": round(actions / cpu_s),
        "largest_process_mib": round(after.ru_maxrss / 1024, 1),
    }


def _check(totals: WhatIfTotals, actions: int) -> None:
    """Raises StateConsistencyError unless the result is as planned: other numbers would mean nothing."""
    differs = sum(str(n).endswith("00") for n in range(totals.instances))
    if (totals.actions, totals.differs, totals.opened) != (actions, differs, 0):
        raise StateConsistencyError(
            f"what-if came to {totals}, {actions} actions and {differs} that differ were expected"
        )
