"""A projection as a person sees it: kept by the engine that runs, shown by anybody, and called late when it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import onex
from tests.cli.conftest import JOBS, ORDERS, STORE, Commands, Process, fill
from tests.cli.test_terminal import on_terminal

PLACE = '{"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}'


def keep(commands: Commands) -> dict[str, object]:
    told = commands("run", ORDERS, "--projection", "--until-idle", "--json")
    assert told.code == 0
    return dict(told.row)


def test_it_is_kept_while_an_engine_runs_and_shown_by_another_process(
    processes: type[Process], commands: Commands
) -> None:
    engine = processes("run", ORDERS, "--projection")
    engine.until("running orders")
    assert commands("submit", "orders:2", "cancel").code == 0
    assert commands("submit", "orders:1", "place", "--payload", PLACE).code == 0
    for _ in range(500):
        shown = commands("projection", "--json")
        if shown.code == 0 and shown.row["watermark"] == "0:4":
            break
    assert (shown.row["projection"], shown.row["lag_rows"], shown.row["more"]) == ("workflow", 0, False)
    assert shown.row["rows"] == [
        {"key": "orders:1", "tag": "shipped", "version": 3, "last_action": "packed", "fields": {}},
        {"key": "orders:2", "tag": "cancelled", "version": 1, "last_action": "cancel", "fields": {}},
    ]
    assert engine.popen.poll() is None


def test_what_the_log_had_before_is_there_when_a_run_ends_idle(commands: Commands, orders: Path) -> None:
    assert keep(commands)["projection_lag_rows"] == 0
    lines = commands("projection").out.splitlines()
    assert lines[0] == "workflow  watermark 0:5  up to date"
    assert lines[1].split() == ["instance", "tag", "version", "last", "action"]
    assert lines[2].split() == ["orders:1", "shipped", "3", "packed"]


def test_rows_are_narrowed_and_paged(commands: Commands, orders: Path) -> None:
    keep(commands)
    tagged = commands("projection", "workflow", "--tag", "shipped", "--json").row["rows"]
    assert isinstance(tagged, list)
    assert len(tagged) == 1
    first = commands("projection", "--limit", "1")
    assert first.out.splitlines()[-1].split()[0] == "orders:1"
    assert first.err == "there are more; --after orders:1 continues\n"
    assert commands("projection", "--after", "orders:1").out.splitlines()[-1].split()[0] == "orders:2"


def test_one_that_nobody_keeps_any_more_is_called_late(
    commands: Commands, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(commands)
    fill(ORDERS, [("orders:9", "cancel", None), ("orders:8", "cancel", None)])
    monkeypatch.setenv("PROJECTION_LAG_THRESHOLD_MS", "1")
    row = commands("projection", "--json").row
    assert (row["watermark"], row["lag_rows"], row["late"]) == ("0:5", 2, True)
    told = commands("projection")
    assert told.code == 0
    assert told.out.startswith("workflow  watermark 0:5  2 rows, ")
    assert "PROJECTION_LAG_THRESHOLD_MS=1; it advances only while an engine maintains it" in told.err
    monkeypatch.setenv("PROJECTION_LAG_THRESHOLD_MS", "3600000")
    assert commands("projection", "--json").row["late"] is False
    assert commands("projection").err == ""


def test_one_that_nobody_ever_kept_is_missing(commands: Commands, orders: Path) -> None:
    told = commands("projection", "totals")
    assert told.code == 1
    assert "there is no projection 'totals' on sqlite:///store.db" in told.err


def test_an_empty_log_has_nothing_behind(commands: Commands, place: Path) -> None:
    fill(ORDERS, [])
    assert commands("projection").out == "workflow  watermark 0:0  up to date\n"


def test_the_status_line_says_that_it_is_late(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with await onex.open(STORE, JOBS) as engine:
            await engine.submit_many([(f"jobs:{n}", "add", {"amount": 1}) for n in range(500)])

    asyncio.run(go())
    monkeypatch.setenv("PROJECTION_BATCH_SIZE", "1")  # so that 500 rows take a while
    monkeypatch.setenv("PROJECTION_LAG_THRESHOLD_MS", "1")
    code, told = on_terminal("run", JOBS, "--projection", until=" s late")
    assert code == 130
    assert "projection " in told
