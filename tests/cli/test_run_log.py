"""What a person sees of a run: its log, the tries of an intent with the place in their code, and what waits for them."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from pydantic import JsonValue

import onex
from onex.cli.run_log import LogForm, LogLevel, stderr_logger
from onex.kernel.action import WorkflowKey
from tests.cli.conftest import JOBS, ORDERS, Commands, fill
from tests.cli.test_terminal import on_terminal

BROKEN_BANK = '''"""A bank that hangs up."""
from __future__ import annotations
from onex import ModelIntent, effect
from .payloads import Charge, Charged, Pack, Packed

@effect("bank")
def charge(intent: ModelIntent[Charge]) -> Charged:
    if intent.payload.cents == 13 and intent.attempt < 3:
        return call(intent.payload.cents)
    return Charged(receipt="r")

def call(cents: int) -> Charged:
    raise ConnectionError(f"hung up on {cents}\\x1b[31m")

@effect("warehouse")
def pack(intent: ModelIntent[Pack]) -> Packed:
    return Packed(parcel="p")
'''
RAISED_AT = 1 + BROKEN_BANK.splitlines().index('    raise ConnectionError(f"hung up on {cents}\\x1b[31m")')


def placed(sku: str, cents: int) -> dict[str, JsonValue]:
    return {"items": [{"sku": sku, "quantity": 1, "cents": cents}]}


@pytest.fixture
def shop(place: Path) -> Path:
    """The example with a bank that fails twice for 13 cents, and a reducer that raises for the article ``bad``."""
    app = Path(shutil.copytree(ORDERS, place / "shop"))
    (app / "effects.py").write_text(BROKEN_BANK)
    reducer, contract = app / "reducer.py", app / "contract.yaml"
    wrong = '    if action.payload.items[0].sku == "bad":\n        raise KeyError(action.payload.items[0].sku)\n'
    head = "def place(order: Order, action: Action[Place]) -> Step[Order]:\n"
    reducer.write_text(reducer.read_text().replace(head, head + wrong))
    text = contract.read_text()
    assert "retry: {max_attempts: 5}" in text
    contract.write_text(text.replace("retry: {max_attempts: 5}", "retry: {max_attempts: 3, initial_ms: 1}"))
    return app


@pytest.fixture
def sent(commands: Commands, shop: Path) -> Path:
    """Three actions that wait in the inbox: one goes well, one meets the bank that hangs up, one the reducer that raises."""
    fill(shop, [])
    for key, payload in (
        ("orders:1", placed("tea", 5)),
        ("orders:2", placed("tea", 13)),
        ("orders:3", placed("bad", 5)),
    ):
        assert commands("submit", key, "place", "--payload", json.dumps(payload), "--no-wait").code == 0
    return shop


def lines(err: str) -> list[dict[str, JsonValue]]:
    return [json.loads(line) for line in err.splitlines()]


def test_by_default_failures_are_logged_with_the_line_of_your_code(commands: Commands, sent: Path) -> None:
    told = commands("run", sent, "--until-idle")
    assert told.code == 0
    failed = [line for line in told.err.splitlines() if " warning attempt failed " in line]
    assert len(failed) == 2
    assert "key=orders:2 intent=charge attempt=1 " in failed[0]
    assert r'error="ConnectionError: hung up on 13\x1b[31m" next_s=' in failed[0]
    assert f"where=shop/effects.py:{RAISED_AT} correlation=" in failed[0]
    below = told.err.splitlines()[told.err.splitlines().index(failed[0]) + 1 :][:2]
    assert below == [f"    shop/effects.py:{RAISED_AT - 4} in charge", f"    shop/effects.py:{RAISED_AT} in call"]
    assert "warning reducer failed  key=orders:3 trigger=place" in told.err
    assert " info " not in told.err
    assert "\x1b" not in told.err


def test_verbose_logs_each_transition_and_each_attempt(commands: Commands, sent: Path) -> None:
    told = commands("run", sent, "--until-idle", "-v").err
    assert "info    transition  key=orders:1 trigger=place from_status=basket to_status=charging version=1" in told
    assert "info    attempt began  key=orders:1 intent=charge attempt=1" in told
    assert "info    attempt succeeded  key=orders:1 intent=charge attempt=1" in told
    assert told.index("attempt began  key=orders:1 intent=charge") < told.index("trigger=charged from_status=charging")
    assert "tea" not in told, "no payload is logged"


FETCHES = """
from typing import Literal
from onex import Action, EffectFailed, ModelIntent, Nothing, Payload, State, Step, workflow

class Import(State):
    status: Literal["new", "done"] = "new"

class Fetch(Payload):
    file: str

imports = workflow("imports", Import)

@imports.effect(retry=1)
def fetch(intent: ModelIntent[Fetch]) -> None:
    if intent.payload.file == "c":
        raise EffectFailed("gone")

@imports.on("new -> done")
def begin(state: Import, action: Action[Nothing]) -> Step[Import]:
    return Step(state, Fetch(file="a"), Fetch(file="b"), Fetch(file="c"))
"""


def test_each_of_several_intents_of_one_name_has_its_line_and_its_n(commands: Commands, place: Path) -> None:
    app = place / "imports.py"
    app.write_text(FETCHES)
    assert commands("submit", "imports:1", "begin", "--no-wait").code == 0
    told = commands("run", app, "--until-idle", "-v").err.splitlines()
    began = [line.partition("intent=")[2].partition(" correlation")[0] for line in told if " attempt began " in line]
    assert sorted(began) == ["fetch attempt=1", "fetch n=1 attempt=1", "fetch n=2 attempt=1"]
    dead = [line for line in told if " intent dead " in line]
    assert len(dead) == 1 and " n=2 " in dead[0]
    shown = commands("show", "imports:1", "--attempts").out
    heads = [line.partition(":")[0] for line in shown.splitlines() if " of version 1:" in line]
    assert heads == ["  fetch n=0 of version 1", "  fetch n=1 of version 1", "  fetch n=2 of version 1"]
    stories = commands("show", "imports:1", "--attempts", "--json").row["attempts"]
    assert isinstance(stories, list)
    assert [(one["intent"], one["n"]) for one in stories if isinstance(one, dict)] == [("fetch", n) for n in range(3)]


def test_quiet_says_nothing_of_what_is_tried_again(commands: Commands, sent: Path) -> None:
    told = commands("run", sent, "--until-idle", "-q")
    assert told.err == ""
    assert told.out.startswith("idle after ")


def test_the_log_as_json_is_one_object_per_line_and_nothing_else(commands: Commands, sent: Path) -> None:
    told = lines(commands("run", sent, "--until-idle", "-v", "--log", "json").err)
    failed = [line for line in told if line["event"] == "attempt_failed"]
    assert [(line["level"], line["key"], line["attempt"], line["code"]) for line in failed] == [
        ("warning", "orders:2", 1, "effect_raised"),
        ("warning", "orders:2", 2, "effect_raised"),
    ]
    assert str(failed[0]["where"]) == f"{sent}/effects.py:{RAISED_AT}"
    assert str(failed[0]["trace"]).splitlines()[-1] == f"{sent}/effects.py:{RAISED_AT} in call"
    of_one = {line["correlation"] for line in told if line.get("key") == "orders:2"}
    assert len(of_one) == 1, "one correlation id leads through the log"
    assert {"transition", "attempt_began", "attempt_succeeded", "reducer_failed"} <= {
        str(line["event"]) for line in told
    }


def test_verbose_and_quiet_contradict_each_other(commands: Commands) -> None:
    told = commands("run", ORDERS, "-v", "-q")
    assert (told.code, told.err) == (2, "onex: -v logs more and -q logs less; give one of them\n")


def test_a_dead_intent_is_an_error_of_the_log_and_stands_on_the_runs_line(commands: Commands, place: Path) -> None:
    fill(JOBS, [("jobs:1", "add", {"amount": 1})])
    assert commands("submit", "jobs:1", "blow", "--no-wait").code == 0
    told = commands("run", JOBS, "--until-idle", "-q")
    assert (
        'error   intent dead  key=jobs:1 intent=blow_horn attempt=1 error="there is no horn" redrive=0:2:0' in told.err
    )
    code, seen = on_terminal("run", JOBS, until="idle  1 dead")
    assert code == 130
    assert "idle  1 dead" in seen


# --- afterwards -------------------------------------------------------------------------------------------------------------


def test_show_tells_each_try_with_its_reason_and_the_line_of_your_code(commands: Commands, sent: Path) -> None:
    commands("run", sent, "--until-idle", "-q")
    told = commands("show", "orders:2", "--attempts").out.splitlines()
    at = told.index(
        next(line for line in told if line.startswith("  charge of version 1: after 3 tries, charged at version 2"))
    )
    assert [line.split()[0] for line in told[at + 1 : at + 9]] == [
        "try", "1", f"shop/effects.py:{RAISED_AT - 4}", f"shop/effects.py:{RAISED_AT}",
        "2", f"shop/effects.py:{RAISED_AT - 4}", f"shop/effects.py:{RAISED_AT}", "3",
    ]  # fmt: skip
    assert r"unknown    effect_raised: ConnectionError: hung up on 13\x1b[31m" in told[at + 2]
    assert told[at + 8].rstrip().endswith("ms  succeeded")
    assert any(line.startswith("  pack of version 2: packed at version 3, ") for line in told)


def test_show_as_json_tells_the_same(commands: Commands, sent: Path) -> None:
    commands("run", sent, "--until-idle", "-q")
    stories = commands("show", "orders:2", "--attempts", "--json").row["attempts"]
    assert isinstance(stories, list)
    charge, pack = stories
    assert isinstance(charge, dict) and isinstance(pack, dict)
    assert (charge["intent"], charge["outcome"], charge["outcome_version"]) == ("charge", "charged", 2)
    tries = charge["attempts"]
    assert isinstance(tries, list)
    assert [(one["attempt"], one["outcome"], one["code"]) for one in tries if isinstance(one, dict)] == [
        (1, "unknown", "effect_raised"), (2, "unknown", "effect_raised"), (3, "succeeded", None),
    ]  # fmt: skip
    assert [one["trace"][-1:] for one in tries if isinstance(one, dict) and isinstance(one["trace"], list)] == [
        [f"{sent}/effects.py:{RAISED_AT} in call"], [f"{sent}/effects.py:{RAISED_AT} in call"], [],
    ]  # fmt: skip
    assert (pack["intent"], pack["attempts"]) == ("pack", [])


def test_a_refusal_shows_where_the_reducer_raised(commands: Commands, sent: Path) -> None:
    commands("run", sent, "--until-idle", "-q")
    told = commands("rejections").out.splitlines()
    assert told[2].startswith("  shop/reducer.py:") and told[2].endswith(" in place")
    trace = commands("rejections", "--json").row["trace"]
    assert isinstance(trace, list) and str(trace[-1]).endswith(" in place")
    assert " in place\n" in commands("show", "orders:3").out


def test_history_shows_who_sent_what_and_cuts_a_long_payload_with_a_hint(commands: Commands, shop: Path) -> None:
    many: dict[str, JsonValue] = {"items": [{"sku": f"tea{n}", "quantity": 1, "cents": 5} for n in range(30)]}
    fill(shop, [("orders:1", "place", placed("tea", 5)), ("orders:2", "place", many)])
    told = commands("show", "orders:1", "--history")
    assert '           {"items":[{"sku":"tea","quantity":1,"cents":5}]}' in told.out.splitlines()
    assert "intent:charge" in told.out and "intent:pack" in told.out
    assert "cut" not in told.err
    told = commands("show", "orders:2", "--history")
    assert "tea9" in told.out and "tea29" not in told.out.partition("history")[2]
    assert told.err == "payloads are cut; with --json they are whole\n"
    history = commands("show", "orders:2", "--history", "--json").row["history"]
    assert isinstance(history, list) and isinstance(history[0], dict)
    assert history[0]["payload"] == many


def test_ls_tells_which_instances_have_intents_that_wait_for_a_person(commands: Commands, place: Path) -> None:
    fill(JOBS, [("jobs:1", "add", {"amount": 1}), ("jobs:2", "blow", None), ("jobs:2", "blow", None)])
    told = commands("ls")
    one, two = told.out.splitlines()[1:]
    assert one.endswith(("s ago", "now"))
    assert two.endswith("2 dead intents")
    assert told.err == "onex dead lists held and dead intents\n"
    assert [(row["held_intents"], row["dead_intents"]) for row in commands("ls", "--json").rows] == [(0, 0), (0, 2)]


STORY = """
from datetime import timedelta
from typing import Literal

from onex import Action, EffectFailed, ModelIntent, Nothing, Payload, RetryPolicy, State, Step, workflow


class Job(State):
    status: Literal["new", "busy", "idle"] = "new"


class Pay(Payload):
    cents: int


class Mail(Payload):
    text: str


jobs = workflow("jobs", Job)


@jobs.effect(retry=RetryPolicy(initial_s=600, max_s=600))
def pay(intent: ModelIntent[Pay]) -> None:
    raise EffectFailed("closed", retryable=True)


@jobs.effect()
def mail(intent: ModelIntent[Mail]) -> None:
    pass


@jobs.on("new -> busy")
def begin(job: Job, action: Action[Nothing]) -> Step[Job]:
    return Step(job, Pay(cents=5), Mail(text="begun"))


@jobs.on("busy -> idle")
def stop(job: Job, action: Action[Nothing]) -> Step[Job]:
    return Step(job, pay.cancel())
"""


def test_an_intent_without_an_outcome_is_done_or_cancelled_at_a_version(commands: Commands, place: Path) -> None:
    app = place / "jobs.py"
    app.write_text(STORY)

    async def play() -> None:
        async with await onex.open("sqlite:///store.db", app) as engine:
            await engine.submit("jobs:1", "begin")
            async with asyncio.timeout(60):
                while (
                    not await engine.reader.attempts(WorkflowKey("jobs", "1"), 1)
                    or (await engine.reader.counts()).outbox["waiting"] > 1
                ):
                    await asyncio.sleep(0.02)

    asyncio.run(play())
    told = commands("show", "jobs:1", "--attempts").out
    assert "  pay  waiting  attempt 2, due " in told
    assert "  pay of version 1: waiting, 1 try so far, " in told
    assert "  mail of version 1: done\n" in told

    async def end() -> None:
        async with await onex.open("sqlite:///store.db", app) as engine:
            await engine.submit("jobs:1", "stop")

    asyncio.run(end())
    told = commands("show", "jobs:1", "--attempts").out
    assert "  pay of version 1: cancelled at version 2 after 1 try\n" in told
    assert "  mail of version 1: done, or left when the instance ended, at version 2\n" in told, "no row tells which"


def test_a_loop_that_fails_again_in_the_same_way_is_not_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    log = stderr_logger(LogForm.TEXT, LogLevel.WARNING)
    for failures in (1, 2, 3):
        log.error(
            "loop failed", loop="onex-bus-intake", failures=failures, error=f"no broker answers (after {failures}ms)"
        )
    log.error("loop failed", loop="onex-bus-intake", failures=4, error="no such topic")
    assert [line.partition("loop=")[2] for line in capsys.readouterr().err.splitlines()] == [
        'onex-bus-intake failures=1 error="no broker answers (after 1ms)"',
        'onex-bus-intake failures=4 error="no such topic"',
    ]
