"""An operator's word reaches the engine that runs in another process, and is told what came of it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import JOBS, ORDERS, Commands, Process, fill


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


@pytest.fixture
def engine(processes: type[Process], stopped: None) -> Process:
    """Runs on the store in another process."""
    started = processes("run", JOBS)
    started.until("running jobs")
    return started


def test_a_dead_intent_runs_again_under_the_engine_that_runs(engine: Process, commands: Commands, place: Path) -> None:
    pointer = str(commands("dead", "--json").rows[0]["pointer"])
    again = commands("dead", "--redrive", pointer, "--json")
    assert again.row == {"redriven": 1, "ended": 0, "drained": True, "left": 2}  # there is no horn yet
    (place / "horn").touch()
    told = commands("dead", "--redrive", pointer)
    assert (told.code, told.out, told.err) == (0, "1 intent started again; 1 dead or held now\n", "")
    assert engine.end(signal.SIGTERM).code == 0


def test_all_of_them_go_on_and_what_is_not_mended_is_held_again(
    engine: Process, commands: Commands, place: Path
) -> None:
    (place / "horn").touch()
    assert commands("dead", "--all", "--json").row == {"redriven": 2, "ended": 0, "drained": True, "left": 1}
    assert [row["key"] for row in commands("dead", "--json").rows] == ["jobs:sick"]


def test_a_held_instance_is_released_under_the_engine_that_runs(engine: Process, commands: Commands) -> None:
    refused = commands("submit", "jobs:held", "add", "--payload", '{"amount": 4}', "--json").row["error"]
    assert isinstance(refused, dict)
    assert refused["code"] == "instance_held"
    told = commands("release", "jobs", "held")
    assert told.code == 0
    assert told.out.startswith("jobs:held takes actions again; it was held: ")
    assert commands("submit", "jobs:held", "add", "--payload", '{"amount": 4}', "--json").row["version"] == 2
    assert commands("release", "jobs:held", "--json").row == {
        "key": "jobs:held", "was_held": False, "reason": None, "drained": True, "left": 2,
    }  # fmt: skip


def test_an_engine_that_is_not_seen_is_asked_all_the_same(
    engine: Process, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onex.cli.operator_requests.owner_pid", lambda url: None)  # as where the system lists no locks
    assert commands("release", "jobs:held", "--app", JOBS).code == 0
    assert commands("show", "jobs:held", "--json").row["held"] is None


def test_an_engine_that_does_not_answer_does_it_later(engine: Process, commands: Commands) -> None:
    engine.popen.send_signal(signal.SIGSTOP)
    told = commands("release", "jobs:held", "--timeout", "0.1")
    assert told.code == 3
    assert f"process {engine.popen.pid}, which runs on sqlite:///store.db, has not answered" in told.err
    assert commands("show", "jobs:held", "--json").row["held"]
    engine.popen.send_signal(signal.SIGCONT)
    for _ in range(500):
        if commands("show", "jobs:held", "--json").row["held"] is None:
            return
        time.sleep(0.02)
    pytest.fail("it was never released")


def test_what_an_engine_was_asked_before_it_was_killed_the_next_one_does(engine: Process, commands: Commands) -> None:
    engine.popen.send_signal(signal.SIGSTOP)
    assert commands("release", "jobs:held", "--timeout", "0.1").code == 3
    engine.end(signal.SIGKILL)
    assert commands("run", JOBS, "--until-idle").code == 0
    assert commands("show", "jobs:held", "--json").row["held"] is None


def test_an_engine_of_another_app_refuses_and_goes_on(
    processes: type[Process], stopped: None, commands: Commands
) -> None:
    other = processes("run", ORDERS)
    other.until("running orders")
    told = commands("release", "jobs:held")
    assert told.code == 1
    assert "the engine refused: (unknown_workflow) no reducer for workflow type 'jobs'" in told.err
    assert commands("submit", "orders:1", "cancel").code == 0


def test_a_control_can_be_submitted_by_its_name_and_no_other_is_known(engine: Process, commands: Commands) -> None:
    assert commands("submit", "jobs:held", "@release").out == "jobs:held  @release done\n"
    assert commands("submit", "jobs:held", "@release", "--json").row["done"] is True
    unknown = commands("submit", "jobs:held", "@shutdown")
    assert unknown.code == 1
    assert unknown.err.startswith("refused (reserved_kind): trigger '@shutdown' is the engine's own")
    malformed = commands("submit", "jobs:held", "@redrive", "--payload", '{"pointer": "12"}')
    assert malformed.code == 1
    assert malformed.err.startswith("refused (invalid_payload): ")
    assert engine.popen.poll() is None


def test_an_internal_trigger_is_refused_from_a_client_and_taken_from_an_operator(
    engine: Process, commands: Commands
) -> None:
    refused = commands("submit", "jobs:late", "alarm")
    assert refused.code == 1
    assert "refused (internal_trigger): 'alarm' is internal to jobs: timer 'wake' brings it" in refused.err
    taken = commands("submit", "jobs:late", "alarm", "--as-operator", "--operator", "ann", "--json")
    assert (taken.code, taken.row["trigger"], taken.row["status"]) == (0, "alarm", "closed")
    assert '"issuer":"operator:ann"' in commands("show", "jobs:late", "--history", "--json").out.replace(": ", ":")


def test_an_operator_without_a_name_is_the_user_of_the_system(
    engine: Process, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "maria")
    assert commands("submit", "jobs:late", "alarm", "--as-operator").code == 0
    assert "operator:maria" in commands("show", "jobs:late", "--history", "--json").out


def test_a_name_alone_makes_no_operator(commands: Commands, place: Path) -> None:
    told = commands("submit", "jobs:late", "alarm", "--operator", "ann")
    assert (told.code, told.out) == (2, "")
    assert "give both" in told.err


def test_an_action_may_name_the_version_it_was_decided_on(engine: Process, commands: Commands) -> None:
    add = ("submit", "jobs:held", "add", "--payload", '{"amount": 4}')
    commands("release", "jobs", "held")
    told = commands(*add, "--expected-version", "7")
    assert (told.code, told.err.startswith("refused (version_conflict): ")) == (1, True)
    assert commands(*add, "--expected-version", "1", "--json").row["version"] == 2
    assert commands("submit", "-", "--expected-version", "1").code == 2
