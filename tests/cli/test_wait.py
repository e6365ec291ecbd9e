"""`onex wait` returns when a status has come, says at once that it cannot, and opens no engine."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.cli.conftest import JOBS, ORDERS, Commands, Process, fill
from tests.cli.test_terminal import on_terminal


def test_a_status_that_is_there_is_told(commands: Commands, orders: Path) -> None:
    assert commands("wait", "orders:1") == (0, "orders:1  shipped (ended)  version 3\n", "")
    assert commands("wait", "orders:1", "--until", "shipped", "--timeout", "0").code == 0
    row = commands("wait", "orders:1", "--json", "--app", ORDERS).row
    assert row.pop("changed_at")
    assert row == {"key": "orders:1", "status": "shipped", "version": 3, "terminal": True}


def test_it_returns_when_the_engine_of_another_process_brings_the_status(
    processes: type[Process], commands: Commands
) -> None:
    engine = processes("run", ORDERS)
    engine.until("running orders")
    waiting = processes("wait", "orders:7", "--until", "shipped", "--timeout", "60")
    submitted = commands(
        "submit", "orders:7", "place", "--payload", '{"items": [{"sku": "t", "quantity": 1, "cents": 5}]}'
    )
    assert submitted.code == 0, submitted
    assert waiting.end() == (0, "orders:7  shipped (ended)  version 3\n", "")
    engine.end(signal.SIGTERM)


def test_a_status_that_cannot_come_any_more_is_said_at_once(commands: Commands, orders: Path) -> None:
    told = commands("wait", "orders:1", "--until", "charging", "--timeout", "inf")
    assert (told.code, told.out) == (1, "")
    assert told.err == "onex: orders:1 has ended in 'shipped', and status 'charging' cannot come\n"
    error = commands("wait", "orders:1", "--until", "charging", "--json").row["error"]
    assert isinstance(error, dict)
    assert error["code"] == "status_unreachable"
    assert error["context"] == {"status": "shipped", "until": "charging", "reachable": []}


def test_with_the_app_the_table_says_what_cannot_come(commands: Commands, place: Path) -> None:
    fill(JOBS, [("jobs:1", "add", {"amount": 1})])
    told = commands("wait", "jobs:1", "--until", "closd", "--app", JOBS)
    assert (told.code, told.err) == (2, "onex: jobs has no status 'closd'; did you mean 'closed'?\n")
    told = commands("wait", "orders:1", "--app", JOBS)
    assert told.err.startswith(f"onex: {JOBS} has no workflow 'orders'; it has jobs")


def test_an_empty_status_is_refused_at_once(commands: Commands, place: Path) -> None:
    fill(JOBS, [("jobs:1", "add", {"amount": 1})])
    told = commands("wait", "jobs:1", "--until", "")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("onex: the status to wait for is empty; ")


def test_one_that_did_not_come_in_time_is_told_with_where_it_stands(commands: Commands, place: Path) -> None:
    fill(JOBS, [("jobs:1", "add", {"amount": 1})])
    told = commands("wait", "jobs:1", "--timeout", "0.1")
    assert (told.code, told.out) == (3, "")
    assert told.err.splitlines() == [
        "no engine runs on sqlite:///store.db, so nothing changes there: onex run APP",
        "onex: jobs:1 did not reach a terminal status in 0.1 s; its status is 'open'",
    ]
    error = commands("wait", "jobs:9", "--timeout", "0", "--json").row["error"]
    assert isinstance(error, dict)
    assert (error["code"], error["context"], error["retryable"]) == ("not_reached", {"status": None}, True)


def test_where_there_is_no_store_it_says_what_makes_one(commands: Commands, place: Path) -> None:
    told = commands("wait", "jobs:1")
    assert told.code == 3
    assert told.err.startswith("onex: there is no store at ")
    assert list(place.iterdir()) == []


def test_ctrl_c_ends_it_without_a_word(processes: type[Process], place: Path) -> None:
    fill(JOBS, [("jobs:1", "add", {"amount": 1})])
    waiting = processes("wait", "jobs:1", "--timeout", "inf")
    waiting.until("no engine runs")
    assert waiting.end(signal.SIGINT) == (130, "", "")


def test_on_a_terminal_a_line_says_where_it_stands_and_is_gone_at_the_end(place: Path) -> None:
    fill(ORDERS, [("orders:2", "place", {"items": [{"sku": "car", "quantity": 9, "cents": 900_000}]})])
    code, seen = on_terminal("wait", "orders:2", "--timeout", "inf", until="waiting for terminal")
    assert code == 130
    assert "orders:2 is basket; waiting for terminal, 0 s" in seen
    assert seen.endswith("\r\x1b[2K")
