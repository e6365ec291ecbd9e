"""What is dead or held is listed with its reason, and goes on when a person says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import onex
from onex.ports import EnumOutboxState, Note
from tests.cli.conftest import JOBS, STORE, Commands, Process, fill


@pytest.fixture
def stopped(place: Path) -> None:
    """One dead intent, one held outcome, one held instance."""
    fill(
        JOBS,
        [
            ("jobs:quiet", "blow", None),
            ("jobs:sick", "begin", {"text": "poison"}),
            *[("jobs:held", "add", {"amount": amount}) for amount in (1, 13, 13, 13, 2)],
        ],
    )


def mended(place: Path) -> Path:
    app = place / "jobs"
    app.mkdir()
    for file in JOBS.glob("*.*"):
        (app / file.name).write_text(file.read_text().replace('== "poison"', '== "venom"'))
    return app


def test_dead_lists_what_waits_for_a_person(commands: Commands, stopped: None) -> None:
    rows = commands("dead", "--json").rows
    assert [(row["key"], row["status"], row["intent"], row["state"]) for row in rows] == [
        ("jobs:quiet", "open", "blow_horn", "dead"),
        ("jobs:sick", "working", "work", "held"),
    ]
    lines = commands("dead").out.splitlines()
    assert lines[0].split() == ["pointer", "instance", "status", "intent", "state", "attempts", "why"]
    assert "there is no horn" in lines[1]
    assert "cannot digest poison" in lines[2]


def test_a_run_says_at_its_start_what_waits_for_a_person(processes: type[Process], stopped: None) -> None:
    ran = processes("run", JOBS, "--until-idle").end()
    assert ran.code == 0
    assert ran.err.splitlines()[1] == "1 held, 1 dead: onex dead"


def test_a_held_failure_is_shown_with_the_tries_that_were_made(commands: Commands, place: Path) -> None:
    app = place / "jobs"
    app.mkdir()
    for file in JOBS.glob("*.*"):
        text = file.read_text().replace(
            "failed}, retry: {max_attempts: 1}", "failed}, retry: {max_attempts: 3, initial_ms: 1}"
        )
        text = text.replace(
            "    return Worked(", '    raise EffectFailed("no answer", retryable=True)\n    return Worked('
        )
        text = text.replace(
            "    return Step(job.evolve(text=action.payload.message))", '    raise ValueError("cannot fail")'
        )
        (app / file.name).write_text(text)
    fill(app, [("jobs:1", "begin", {"text": "a"})])
    row = commands("dead", "--json").row
    assert isinstance(row["result"], dict) and isinstance(row["result"]["payload"], dict)
    assert (row["state"], row["attempts"], row["result"]["payload"]["attempts"]) == ("held", 3, 3)
    assert " held " in commands("dead").out and "      3  " in commands("dead").out
    assert "held  attempt 3" in commands("show", "jobs:1").out
    shown = commands("show", "jobs:1", "--json").row["open"]
    assert isinstance(shown, list) and isinstance(shown[0], dict)
    assert shown[0]["attempt"] == 3


def test_a_dead_intent_runs_again_and_ends(commands: Commands, stopped: None, place: Path) -> None:
    (place / "horn").touch()
    pointer = str(commands("dead", "--json").rows[0]["pointer"])
    told = commands("dead", "--redrive", pointer, "--app", JOBS)
    assert (told.code, told.out) == (0, "1 intent started again; 1 dead or held now\n")
    did = "it did all that was due: 1 effect run, 0 actions committed"
    assert told.err == f"no engine ran, so one was opened here, and {did}\n"
    assert [row["state"] for row in commands("dead", "--json").rows] == ["held"]


def test_a_dead_intent_that_fails_again_is_dead_again(commands: Commands, stopped: None) -> None:
    pointer = str(commands("dead", "--json").rows[0]["pointer"])
    assert commands("dead", "--redrive", pointer, "--app", JOBS, "--json").row == {
        "redriven": 1, "ended": 0, "drained": True, "left": 2, "effects_run": 1, "committed": 0,
    }  # fmt: skip


def test_what_nobody_takes_the_outcome_of_is_not_run_again(commands: Commands, stopped: None, place: Path) -> None:
    app = mended(place)
    text = (app / "contract.yaml").read_text()
    stop = "    - {from_state: working, to_state: closed, trigger: stop}\n"
    (app / "contract.yaml").write_text(text.replace("\nintents:", f"{stop}\nintents:", 1))

    async def end_it() -> None:
        async with await onex.open(STORE, JOBS) as engine:
            (held,) = await engine.reader.outbox((EnumOutboxState.HELD,), None, None, 9)
            await engine.service.note_durably(Note(held.pointer, EnumOutboxState.DEAD, 1, error="no more"))
        async with await onex.open(STORE, app) as engine:
            await engine.submit("jobs:sick", "stop")

    asyncio.run(end_it())
    (place / "horn").touch()
    row = commands("dead", "--json").rows[1]
    assert (row["status"], row["state"]) == ("closed (ended)", "dead")
    told = commands("dead", "--redrive", str(row["pointer"]), "--app", app)
    assert told.code != 0
    assert "(instance_finished) 'work' of jobs:sick is not run again: jobs:sick is 'closed'" in told.err
    told = commands("dead", "--all", "--app", app)
    assert (told.code, told.out) == (0, "1 intent started again; 1 dead or held now\n")
    assert "1 intent left out: its instance has ended" in told.err


def test_an_engine_that_is_opened_for_a_request_reports_what_else_it_ran(commands: Commands, stopped: None) -> None:
    commands("submit", "jobs:late", "begin", "--payload", '{"text": "fine"}', "--no-wait")
    told = commands("release", "jobs:held", "--app", JOBS)
    assert "jobs:held takes actions again" in told.out
    assert "it did all that was due: 1 effect run, 2 actions committed" in told.err  # of jobs:late, which waited


def test_mended_code_takes_what_was_held(commands: Commands, stopped: None, place: Path) -> None:
    (place / "horn").touch()
    told = commands("dead", "--all", "--app", mended(place), "--json")
    assert told.row["left"] == 0
    assert commands("show", "jobs:sick", "--json").row["status"] == "closed"
    assert commands("dead").err == "no intents are dead or held\n"


@pytest.mark.parametrize("words", [("jobs:held",), ("jobs", "held")], ids=["key", "type and instance"])
def test_a_held_instance_is_released(words: tuple[str, ...], commands: Commands, stopped: None) -> None:
    shown = commands("show", "jobs:held").out
    assert "held" in shown
    assert "onex release jobs:held --app APP" in shown
    assert "held: " in commands("ls").out
    told = commands("release", *words, "--app", JOBS)
    assert told.code == 0
    assert told.out.startswith("jobs:held takes actions again; it was held: ")
    fill(JOBS, [("jobs:held", "add", {"amount": 4})])
    assert commands("show", "jobs:held", "--json").row["state"] == {"status": "open", "total": 5, "text": ""}


def test_release_of_what_is_not_held_says_so(commands: Commands, stopped: None) -> None:
    assert commands("release", "jobs:quiet", "--app", JOBS).out == "jobs:quiet was not held\n"
    assert f"onex release jobs:held --app {JOBS}" in commands("show", "jobs:held", "--app", JOBS).out
