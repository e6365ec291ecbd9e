"""`onex whatif`: which recorded instances come out otherwise on other code, as text, as JSON, as a page, and as a gate."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import onex
from onex.cli.whatif import _since
from onex.cli.whatif_budget import over, parse_budgets
from onex.cli.whatif_page import WhatIfQuestion, page
from onex.engine.payload_reading import PayloadInput
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import ContractError
from onex.processes.child_process import FoldingBroken, sendable
from onex.processes.whatif_run import WhatIfOutcome, WhatIfRun
from onex.processes.whatif_work import Since, WhatIfTask
from onex.whatif.result import (
    EnumIntentChange,
    FirstDifference,
    InstanceResult,
    IntentChange,
    OpenFrom,
    RefusedAction,
    WhatIfSummary,
    WhatIfTotals,
)
from onex.whatif.value_diff import Changes, ValueChange
from onex.wiring.recorded import RunSource
from tests.cli.conftest import ITEMS, ORDERS, STORE, Commands, fill

CHEAPER = ("sum(item.quantity * item.cents for item in items)", "sum(item.cents for item in items)")
GAP = ("for item in items), trouble=", "for item in items) + 1, trouble=")


def changed(place: Path, *changes: tuple[str, str], name: str = "changed") -> Path:
    """The orders app with something said otherwise."""
    app = place / name / "orders"
    app.mkdir(parents=True)
    for file in ORDERS.glob("*.*"):
        text = file.read_text()
        for old, new in changes:
            text = text.replace(old, new)
        (app / file.name).write_text(text)
    texts = "".join(file.read_text() for file in app.iterdir())
    assert all(new in texts for _, new in changes)
    return app


def git(place: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, *words], cwd=place, check=True, capture_output=True)


def place_many(count: int) -> None:
    async def go() -> None:
        async with await onex.open(STORE, ORDERS) as engine:
            placed: list[tuple[str, str, PayloadInput]] = [
                (f"orders:{n}", "place", {"items": ITEMS}) for n in range(count)
            ]
            await engine.submit_many(placed)
            await engine.idle()

    asyncio.run(go())


# --- the command --------------------------------------------------------------------------------------------------------


def test_the_same_code_makes_the_same_of_everything(commands: Commands, orders: Path) -> None:
    told = commands("whatif", ORDERS, "--against", ORDERS, "--budget", "differs=0,open=0%,refused=0,stranded=0")
    assert told.code == 0
    assert told.out.splitlines()[:3] == [
        f"2 instances, 5 actions against {ORDERS}", "  same              2", "  differs           0",
    ]  # fmt: skip
    assert told.out.endswith("effects fired: 0\n")


def test_a_changed_line_is_shown_with_where_what_and_why(commands: Commands, orders: Path, place: Path) -> None:
    other = changed(place, CHEAPER)
    before = sorted(path.name for path in (place / "out").rglob("*"))
    told = commands("whatif", ORDERS, "--against", other, "--json", "--html", "page.html", "--budget", "differs=0")
    one, two, totals = told.rows
    assert told.code == 1
    assert told.err == "over budget: differs=0 but 2 of 2 (100.0%)\n"
    assert (one["key"], two["key"]) == ("orders:1", "orders:2")
    assert one["first"] == {
        "version": 1, "status": "basket", "trigger": "place", "what": "changed charge (cents); state: total_cents",
        "why": "charge: payload.cents 450, recorded 900; total_cents 450, recorded 900",
    }  # fmt: skip
    assert one["state"] == [{"path": "total_cents", "recorded": 900, "now": 450}]
    assert one["open"] == {
        "from": 2, "trigger": "charged", "why": "it is the outcome of 'charge', which the other code emits with another payload",
    }  # fmt: skip
    assert (totals["ok"], totals["differs"], totals["open"], totals["effects_fired"]) == (False, 2, 2, 0)
    assert sorted(path.name for path in (place / "out").rglob("*")) == before
    written = (place / "page.html").read_text()
    assert "orders:1" in written and "total_cents" in written and "Over budget" in written


def test_what_was_renamed_with_a_mapping_is_the_same(commands: Commands, orders: Path, place: Path) -> None:
    """promise 32 and 36: a status with its timer, a trigger, an intent and a field have other names, and nothing differs."""
    other = changed(
        place,
        ("state_model: Order", "state_schema: 2\nstate_model: Order"),
        ("basket", "cart"),
        ("charging", "asking_bank"),
        ("trigger: charged", "trigger: settled"),
        ("succeeded: charged", "succeeded: settled"),
        ('orders.on("charged")', 'orders.on("settled")'),
        ("name: charge,", "name: bill,"),
        ("total_cents", "total"),
    )
    (other / "migrations.py").write_text(
        "from onex import renames\n\n"
        "renames(1, statuses={'basket': 'cart', 'charging': 'asking_bank'}, triggers={'charged': 'settled'},\n"
        "        intents={'charge': 'bill'}, fields={'total_cents': 'total'})\n"
    )
    for made_by in ([ORDERS], [other], []):
        told = commands("whatif", *made_by, "--against", other, "--budget", "differs=0,open=0,refused=0,stranded=0")
        assert told.code == 0, told
        assert told.out.splitlines()[1].startswith("  same              2")
    assert commands("replay", other, "--json").row["by_verdict"] == {"other code, equal": 2}


def test_who_named_the_app_is_not_asked_to_name_it(commands: Commands, orders: Path, place: Path) -> None:
    other = changed(place, ('    trouble: str = ""', '    trouble: str = ""\n    note: str = ""'))
    named, unnamed = (commands("whatif", *app, "--against", other).out for app in ([other], []))
    assert f"only the last state was compared; {other} did not make their record" in named
    assert "only the last state was compared; give APP, the code that made the record" in unnamed


def test_without_the_code_of_the_record_it_still_tells_what_the_outside_would_see(
    commands: Commands, orders: Path, place: Path
) -> None:
    told = commands("whatif", "--against", changed(place, GAP), "--type", "orders", "--since", "30d")
    assert told.code == 0
    assert "changed charge (cents)" in told.out and "effects fired: 0" in told.out


def test_a_git_revision_is_the_other_code_and_what_it_prints_is_not_the_answer(
    commands: Commands, orders: Path, place: Path
) -> None:
    app = changed(place, ("orders = reducer(Order)", 'print("a module that talks")\norders = reducer(Order)'))
    git(app, "init", "-q")
    git(app, "add", "-A")
    git(app, "commit", "-qm", "first")
    (app / "reducer.py").write_text((app / "reducer.py").read_text().replace(*CHEAPER))
    told = commands("whatif", app, "--against", "HEAD", "--json")
    assert (told.code, told.row["same"], told.row["against"]) == (0, 2, "HEAD")
    assert commands("whatif", app, "--against", "nowhere").code == 2


def test_one_process_or_two_come_to_the_same(place: Path) -> None:
    place_many(130)
    source = RunSource(store_url=STORE)
    task = WhatIfTask(source, str(changed(place, CHEAPER)), Since(), 2, True)
    outcomes: list[tuple[WhatIfOutcome, bytes]] = []
    for processes in (1, 2):
        outcome = WhatIfRun(task, None, ["orders"], processes=processes).run()
        outcomes.append((outcome, b"".join(outcome.lines)))
    (one, lines), (two, others) = outcomes
    assert one.tally == two.tally and lines == others
    assert one.tally.totals.differs == 130 and one.fired == two.fired == 0
    keys = [WorkflowKey.parse(json.loads(line)["key"]) for line in lines.splitlines()]
    assert keys == sorted(keys) and len(keys) == 130


def test_receivers_are_folded_again_until_no_message_is_new(commands: Commands, place: Path) -> None:
    app = place / "round" / "post"
    for name, (contract, handlers) in {"hand": (HAND, PASSING), "lamp": (LAMP, SHINING)}.items():
        folder = app / name
        folder.mkdir(parents=True)
        (folder / "contract.yaml").write_text(contract)
        (folder / "payloads.py").write_text(STATES)
        (folder / "reducer.py").write_text(handlers)
    fill(app, [(f"hand:{n}", "touch", None) for n in ("a", "b")])
    other = place / "other" / "post"
    shutil.copytree(app, other, ignore=shutil.ignore_patterns("__pycache__"))
    silent = PASSING.replace("Step(hand, ", "Step(hand) if action.key.instance_id == 'a' else Step(hand, ")
    (other / "hand" / "reducer.py").write_text(silent)
    told = commands("whatif", app, "--against", other, "--json")
    *rows, totals = told.rows
    assert (totals["rounds"], totals["instances"], totals["same"]) == (3, 4, 2)
    opened: list[Any] = [(row["key"], row["branch"], (row["open"] or {})) for row in rows]
    assert [(key, branch) for key, branch, _ in opened] == [("hand:a", "differs"), ("lamp:a", "open")]
    assert opened[1][2]["why"] == "hand:a sent it, and not the same in the other code"


STATES = """
from __future__ import annotations
from onex import State
class Thing(State):
    times: int = 0
"""
HAND = """
name: hand
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_model: Thing
state_machine:
  initial_state: open
  states: [{name: open}]
  transitions:
    - {from_state: open, to_state: open, trigger: touch}
    - {from_state: open, to_state: open, trigger: seen}
intents:
  - {name: light, type: action_send, target: lamp, trigger: shine}
"""
PASSING = """
from __future__ import annotations
from onex import Action, Nothing, Step, reducer, send
from .payloads import Thing
hands = reducer(Thing)
@hands.on("touch")
def touch(hand: Thing, action: Action[Nothing]) -> Step[Thing]:
    return Step(hand, send("light", action.key.instance_id))
"""
LAMP = (
    HAND.replace("name: hand", "name: lamp")
    .replace("touch", "shine")
    .replace(
        "name: light, type: action_send, target: lamp, trigger: shine",
        "name: tell, type: action_send, target: hand, trigger: seen",
    )
)
SHINING = """
from __future__ import annotations
from onex import Action, Nothing, Step, reducer, send
from .payloads import Thing
lamps = reducer(Thing)
@lamps.on("shine")
def shine(lamp: Thing, action: Action[Nothing]) -> Step[Thing]:
    return Step(lamp.evolve(times=lamp.times + 1), send("tell", action.key.instance_id))
"""


def test_what_ends_a_process_is_told_and_nothing_is_left_running(commands: Commands, orders: Path, place: Path) -> None:
    dying = changed(place, ("    items = action.payload.items\n", "    __import__('os')._exit(9)\n"), name="dying")
    told = commands("whatif", "--against", dying)
    assert (told.code, told.out) == (1, "")
    assert "a process that folded ended with exit code 9" in told.err
    told = commands("whatif", dying, "--against", changed(place, CHEAPER))
    assert (told.code, told.out) == (1, "")
    assert "the process that folds the record ended" in told.err
    broken = changed(place, ("initial_state: basket", "initial_state: baskt"), name="broken")
    told = commands("whatif", "--against", broken)
    assert told.code == 1
    assert f"{broken}/contract.yaml:" in told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name the other code: --against"),
        (["--against", "./missing"], "./missing does not exist"),
        (["--against", ".", "--budget", "better=3"], "--budget 'better=3' is not valid"),
        (["--against", ".", "--budget", "differs=0.5"], "--budget 'differs=0.5' is not valid"),
        (["--against", ".", "--budget", ""], "--budget '' is not valid"),
        (["--against", ".", "--html", "nowhere/page.html"], "--html: nowhere/page.html lies in a folder that does not"),
        (["--against", ".", "--html", "."], "--html: . is a folder; name a file"),
        (["--against", ".", "--since", "yesterday"], "--since 'yesterday' is neither a time nor a position"),
        (["--against", ".", "--from", "x.onexrun", "--store", STORE], "--from and --store both name a source"),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], said: str, commands: Commands, orders: Path) -> None:
    told = commands("whatif", *words)
    assert told.code == 2
    assert said in told.err and "Traceback" not in told.err


def test_a_store_with_nothing_to_compare_passes_no_gate(commands: Commands, orders: Path) -> None:
    told = commands("whatif", "--against", ORDERS, "--type", "parcels", "--budget", "differs=0")
    assert told.code == 1
    assert "nothing was compared" in told.err


def test_an_exported_run_is_judged_like_the_store_it_came_from(commands: Commands, orders: Path, place: Path) -> None:
    assert commands("export", "--out", "run.onexrun").code == 0
    (place / "store.db").unlink()
    told = commands("whatif", ORDERS, "--against", ORDERS, "--from", "run.onexrun", "--json")
    assert (told.code, told.rows[-1]["same"], told.rows[-1]["store"]) == (0, 2, "run.onexrun")


# --- its parts ----------------------------------------------------------------------------------------------------------


def test_a_budget_counts_instances_or_a_share_of_them() -> None:
    totals = WhatIfTotals(instances=200, differs=10, opened=11, stranded=1)
    assert over(parse_budgets("differs=10, open=5.5%"), totals) == []
    assert over(parse_budgets("differs=9,open=5%,stranded=0"), totals) == [
        "differs=9 but 10 of 200 (5.0%)", "open=5% but 11 of 200 (5.5%)", "stranded=0 but 1 of 200 (0.5%)",
    ]  # fmt: skip


def test_since_is_a_time_or_a_position() -> None:
    assert _since("2026-03-01T12:00Z") == Since(at_us=1_772_366_400_000_000)
    assert _since("2026-03-01") == Since(at_us=1_772_323_200_000_000)
    assert _since("0:17") == Since(n=17)
    assert _since("2d").at_us > _since("3d").at_us > 0


HOSTILE = '<script>alert("x")</script>\u202e&amp;'


def hostile() -> WhatIfSummary:
    changes = Changes(30, tuple(ValueChange(HOSTILE, HOSTILE, f"{n}") for n in range(20)))
    told = InstanceResult(
        WorkflowKey("orders", HOSTILE), 9, 4, FirstDifference(3, HOSTILE, HOSTILE, HOSTILE, HOSTILE), changes, HOSTILE
    )
    told.status, told.stranded, told.opened = HOSTILE, HOSTILE, OpenFrom(5, HOSTILE, HOSTILE)
    told.add_refusal(RefusedAction(3, HOSTILE, HOSTILE, HOSTILE))
    for how in EnumIntentChange:
        told.add_intent(IntentChange(3, how, HOSTILE, HOSTILE, "", changes))
    tally = WhatIfSummary()
    tally.add(told)
    return tally


def test_whatever_a_store_holds_is_text_on_the_page() -> None:
    asked = WhatIfQuestion(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    written = page(asked, hostile(), 0, [HOSTILE])
    assert "<script" not in written and "\u202e" not in written
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;\\u202e&amp;amp;" in written
    assert "the first 20 of 30" in written


def test_the_page_fetches_nothing() -> None:
    written = page(WhatIfQuestion(None, "x", STORE, None, None, None), hostile(), 0, [])
    for reference in ("http:", "https:", "src=", "href=", "url(", "@import", "<link", "<iframe"):
        assert reference not in written


def test_an_error_whose_class_does_not_travel_travels_as_its_sentence() -> None:
    class Local(ContractError):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    assert type(sendable(Local(1, 2))) is onex.OnexError
    assert sendable(Local(1, 2)).message == "1 and 2"
    assert type(sendable(FoldingBroken("gone"))) is FoldingBroken
