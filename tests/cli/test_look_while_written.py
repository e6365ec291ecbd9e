"""A store is looked at while an engine writes into it: no look waits for it, and what one look shows belongs together."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue

import onex
from onex.adapters.sqlite.store import SqliteStore
from onex.kernel.action import ModelAction, WorkflowKey
from onex.ports import EnumOutboxState, OutboxRow, Pointer
from onex.wiring import open_sender
from tests.cli.conftest import JOBS, STORE, Commands, Process, fill

SUM = WorkflowKey("jobs", "sum")
HOT = WorkflowKey("jobs", "hot")
ROUNDS, BURST = 12, 10


def body(key: WorkflowKey, kind: str, **payload: JsonValue) -> bytes:
    action = ModelAction(workflow_key=key, kind=kind, command_payload=payload)
    return action.model_dump_json(exclude_none=True).encode()


def send(bodies: Sequence[bytes]) -> int:
    """From this process into the inbox; the last ticket."""

    async def go() -> int:
        sender = await open_sender(STORE)
        tickets = [await sender.send(one, 0) for one in bodies]
        await sender.close()
        return tickets[-1]

    return asyncio.run(go())


def number(value: JsonValue) -> int:
    assert isinstance(value, int)
    return value


def objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    assert isinstance(value, list)
    return [one for one in value if isinstance(one, dict)]


def show_is_whole(commands: Commands) -> None:
    """The sum of ones is the version; the timer was set by the action that changed it last."""
    added = commands("show", str(SUM), "--history", "--json")
    if added.code == 0:
        state = added.row["state"]
        assert isinstance(state, dict)
        assert state["total"] == added.row["version"] == len(objects(added.row["history"]))
    timed = commands("show", str(HOT), "--json")
    if timed.code == 0:
        (timer,) = objects(timed.row["timers"])
        due = datetime.fromisoformat(str(timer["due_at"]))
        assert due == datetime.fromisoformat(str(timed.row["changed_at"])) + timedelta(hours=2)


def log_is_whole(commands: Commands, before: int) -> int:
    """Dense positions, dense versions per instance; never shorter than it was."""
    rows = commands("log", "--after", "0:0", "--limit", "100000", "--json").rows
    assert [row["position"] for row in rows] == [f"0:{n}" for n in range(1, len(rows) + 1)]
    for key in (SUM, HOT):
        versions = [row["version"] for row in rows if row["key"] == str(key)]
        assert versions == list(range(1, len(versions) + 1))
    assert len(rows) >= before
    return len(rows)


def test_what_is_seen_beside_a_running_engine_is_whole(processes: type[Process], commands: Commands) -> None:
    engine = processes("run", JOBS, "--projection")
    engine.until("running jobs")
    seen, versions = 0, {str(SUM): 0, str(HOT): 0}
    for _ in range(ROUNDS):
        last = send([*BURST * [body(SUM, "add", amount=1)], *BURST * [body(HOT, "later")]])
        show_is_whole(commands)
        seen = log_is_whole(commands, seen)
        for row in commands("ls", "--json").rows:
            assert number(row["version"]) >= versions[str(row["key"])]
            versions[str(row["key"])] = number(row["version"])
        kept = commands("projection", "--json")
        if kept.code == 0:
            watermark = int(str(kept.row["watermark"]).partition(":")[2])
            assert sum(number(row["version"]) for row in objects(kept.row["rows"])) >= watermark
    assert last == 2 * ROUNDS * BURST
    for _ in range(2000):
        if seen == last:
            break
        seen = log_is_whole(commands, seen)
    assert seen == last
    assert engine.popen.poll() is None


COMMANDS = ("ls", "ls --count", "log", "log jobs:sum", "show jobs:sum --history", "rejections", "dead", "projection")


@pytest.mark.parametrize("words", COMMANDS)
def test_no_look_waits_for_a_writer(words: str, commands: Commands, place: Path) -> None:
    fill(JOBS, [(str(SUM), "add", {"amount": 1})])
    assert commands("run", JOBS, "--until-idle", "--projection").code == 0
    writer = sqlite3.connect(place / "store.db", isolation_level=None)
    writer.execute("begin immediate")
    writer.execute("update workflow_state set status = 'unseen'")
    told = commands(*words.split(), "--json")
    writer.execute("rollback")
    writer.close()
    assert told.code == 0
    assert "unseen" not in told.out


class Moving:
    """A reader beside an engine that moves the instance whenever its open intents are asked for."""

    def __init__(self, store: SqliteStore, moves: int) -> None:
        self.store, self.moves = store, moves

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    async def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]:
        if self.moves:
            self.moves -= 1
            async with await onex.open(STORE, JOBS) as engine:
                await engine.submit(SUM, "add", {"amount": 1})
                await engine.submit(SUM, "blow")
                await engine.idle()
        return await self.store.outbox(states, key, after, limit)


@pytest.mark.parametrize(("moves", "version"), [(1, 3), (10**6, 19)], ids=["once", "always"])
def test_an_instance_that_moves_under_the_look_is_shown_at_one_version(
    commands: Commands, place: Path, monkeypatch: pytest.MonkeyPatch, moves: int, version: int
) -> None:
    fill(JOBS, [(str(SUM), "add", {"amount": 1})])

    async def opened(url: str) -> Moving:
        return Moving(await SqliteStore.open(place / "store.db", read_only=True), moves)

    monkeypatch.setattr("onex.cli.store_reading.open_reader", opened)
    row = commands("show", str(SUM), "--history", "--json").row
    assert (row["version"], len(objects(row["history"]))) == (version, version)
    assert [one["version"] for one in objects(row["open"])] == [*range(3, version + 1, 2)]
