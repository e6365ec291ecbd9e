"""Compute functions that worker processes import by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, RootModel

from onex.kernel.action import Blob, Payload
from onex.kernel.errors import EffectFailed
from onex.nodes.chunks import cached, chunked
from onex.nodes.compute import ComputeIO, compute


class Numbers(RootModel[list[int]]):
    """What an algorithm over a plain list takes."""


class Total(RootModel[int]):
    """What it gives."""


def _added(totals: Sequence[Total]) -> Total:
    return Total(sum(one.root for one in totals))


@compute("sum")
@chunked("root", size=1000, merge=_added)
def total(task: Numbers) -> Total:
    return Total(sum(task.root))


class Rows(Payload):
    rows: list[int] = Field(default_factory=list)
    factor: int = 1
    sign: Path | None = None


class Scores(Payload):
    scores: list[int]


@compute("score")
@chunked("rows", size=3)
def score(task: Rows) -> Scores:
    return Scores(scores=[task.factor * row for row in task.rows])


@compute("fatal")
@chunked("rows", size=2)
def fatal(task: Rows) -> Scores:
    """Kills its worker at the row 7, but only if nobody has done so yet."""
    assert task.sign is not None
    with (task.sign / "ran").open("a") as file:
        file.write(f"{task.rows}\n")
    if 7 in task.rows and not (task.sign / "killed").exists():
        (task.sign / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Scores(scores=task.rows)


@compute("slow")
@chunked("rows", size=1)
def slow(task: Rows) -> Scores:
    """A row of 0 fails; any other one is told to the file, and takes its time."""
    if task.rows == [0]:
        raise EffectFailed("row 0 cannot be scored", code="bad_row")
    assert task.sign is not None
    (task.sign / f"began-{task.rows[0]}").touch()
    time.sleep(60)
    return Scores(scores=task.rows)


@compute("plain")
def plain(task: Rows) -> Scores:
    return Scores(scores=task.rows)


class Text(Payload):
    lines: Blob


class Lengths(Payload):
    lengths: list[int]


@compute("lengths")
@chunked("lines", size=2)
@cached
def lengths(task: Text, io: ComputeIO) -> Lengths:
    return Lengths(lengths=[len(line) for line in io.read(task.lines).splitlines()])
