"""``onex bulk``: what a condition finds is fixed, sent once, and recorded; a job that was killed goes on where it was."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import onex
from onex.kernel.action import WorkflowKey

APP = """
from __future__ import annotations

from typing import Literal

from onex import Action, Payload, State, Step, workflow


class Parcel(State):
    status: Literal["new", "sent", "cancelled"] = "new"
    weight: int = 0
    touched: int = 0


class Weigh(Payload):
    weight: int


parcels = workflow("parcel", Parcel, search="weight")


@parcels.on("new -> new")
def weigh(parcel: Parcel, action: Action[Weigh]) -> Step[Parcel]:
    if action.payload.weight < 0:
        raise ValueError("no scale shows that")
    return Step(parcel.evolve(weight=action.payload.weight))


@parcels.on("new -> new")
def touch(parcel: Parcel, action: Action[Weigh]) -> Step[Parcel]:
    return Step(parcel.evolve(touched=parcel.touched + 1))


parcels.move("send", "new -> sent")
parcels.move("cancel", "new -> cancelled")
"""
ONEX = [sys.executable, "-c", "from onex.cli.start import start; raise SystemExit(start())"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "parcels.py").write_text(APP)

    async def fill() -> None:
        async with await onex.open(f"sqlite:///{tmp_path}/s.db", tmp_path / "parcels.py") as engine:
            await engine.submit_many([(f"parcel:{n:03}", "weigh", {"weight": n}) for n in range(60)])
            await engine.submit("parcel:gone", "send")
            await engine.submit("parcel:gone2", "weigh", {"weight": 5})
            await engine.submit("parcel:gone2", "send")

    asyncio.run(fill())
    return tmp_path


def bulk(place: Path, *words: str, exits: int = 0) -> list[dict[str, object]]:
    """What it printed, as JSON."""
    done = subprocess.run(
        [*ONEX, "bulk", *words, "--json", "--store", "sqlite:///s.db"], cwd=place, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == exits, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def versions(place: Path) -> dict[str, tuple[int, str]]:
    """Version and status of each instance."""

    async def read() -> dict[str, tuple[int, str]]:
        reader = await onex.open_reader(f"sqlite:///{place}/s.db")
        try:
            rows = await reader.instances(None, None, None, 1000)
            return {str(row.key): (row.version, row.status) for row in rows}
        finally:
            await reader.close()

    return asyncio.run(read())


def test_a_dry_run_counts_and_sends_nothing(place: Path) -> None:
    before = versions(place)
    (told,) = bulk(place, "cancel", "--where", "weight between 10 and 19", "--dry-run")
    assert (told["selected"], len(told["sample"])) == (10, 5)  # type: ignore[arg-type]  # a list
    assert (versions(place), (place / ".onex").exists()) == (before, False)


def test_each_is_told_and_what_has_ended_is_left_out(place: Path) -> None:
    *each, last = bulk(place, "cancel", "--where", "weight < 6", "--app", "parcels.py", "--yes")
    assert [one["key"] for one in each] == [f"parcel:{n:03}" for n in range(6)]
    assert {(one["outcome"], one["status"]) for one in each} == {("applied", "cancelled")}
    assert (last["selected"], last["applied"]) == (6, 6)
    again = bulk(place, "resume", str(last["job"]), "--app", "parcels.py")
    assert [one["applied"] for one in again] == [6]


def test_what_is_refused_is_told_and_the_others_go_on(place: Path) -> None:
    words = (
        "signal",
        "weigh",
        "--payload",
        '{"weight": -1}',
        "--where",
        "weight in (1, 2)",
        "--app",
        "parcels.py",
        "--yes",
    )
    *each, last = bulk(place, *words, exits=1)
    assert [(one["key"], one["code"]) for one in each] == [
        ("parcel:001", "reducer_failed"),
        ("parcel:002", "reducer_failed"),
    ]
    assert last["refused"] == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cancel", "--where", "weight = 1"], "--dry-run"),
        (["cancel"], "name the instances"),
        (["signal", "--where", "weight = 1"], "needs a trigger"),
        (["cancel", "weigh", "--where", "weight = 1"], "no other command takes one"),
        (["burn", "--where", "weight = 1"], "no bulk command"),
        (["cancel", "--where", "wieght = 1"], "did you mean weight"),
        (["resume", "nobody"], "no bulk job"),
        (["cancel", "--where", "weight = 1", "--yes"], "--app PATH"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_next_step(place: Path, words: list[str], told: str) -> None:
    done = subprocess.run(
        [*ONEX, "bulk", *words, "--store", "sqlite:///s.db"], cwd=place, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode in (1, 2, 3)
    assert told in done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_job_that_was_ended_goes_on_and_nothing_is_done_twice(place: Path, number: signal.Signals) -> None:
    words = (
        "signal",
        "touch",
        "--payload",
        '{"weight": 0}',
        "--where",
        "weight < 40",
        "--rate",
        "40",
        "--yes",
        "--app",
        "parcels.py",
    )
    running = subprocess.Popen(
        [*ONEX, "bulk", *words, "--store", "sqlite:///s.db"], cwd=place, stderr=subprocess.PIPE, text=True
    )
    end_s = time.monotonic() + 60
    while sum(path.read_bytes().count(b'"n":') for path in (place / ".onex" / "bulk").glob("*.jsonl")) < 5:
        assert running.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.02)
    os.kill(running.pid, number)
    _, said = running.communicate(timeout=60)
    (path,) = (place / ".onex" / "bulk").glob("*.jsonl")
    if number is signal.SIGINT:
        assert (running.returncode, f"onex bulk resume {path.stem}" in said) == (130, True)
    with path.open("ab") as file:
        file.write(b'{"n":39,"outco')  # a line that was cut off
    *_, last = bulk(place, "resume", path.stem, "--app", "parcels.py")
    assert last["selected"] == 40
    now = versions(place)
    assert [now[f"parcel:{n:03}"][0] for n in range(60)] == [2] * 40 + [1] * 20


def test_held_instances_are_released(place: Path) -> None:
    async def hold() -> None:
        async with await onex.open(f"sqlite:///{place}/s.db", place / "parcels.py") as engine:
            for key in ("parcel:001", "parcel:002"):
                for _ in range(3):
                    await engine.submit_many([(key, "weigh", {"weight": -1})])
            assert (await engine.stored(WorkflowKey.parse("parcel:001"))).held  # type: ignore[union-attr]  # it is there

    asyncio.run(hold())
    (told,) = bulk(place, "release", "--type", "parcel", "--dry-run")
    *each, last = bulk(place, "release", "--where", "weight < 100", "--app", "parcels.py", "--yes")
    assert told["selected"] == 2
    assert [(one["key"], one["outcome"]) for one in each] == [("parcel:001", "done"), ("parcel:002", "done")]
    assert last["done"] == 2
