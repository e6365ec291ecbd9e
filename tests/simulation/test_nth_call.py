"""Every call of a port fails once, in every way a call can fail; CI tries a sample of them, and `make test-long` all.

The scenario holds 240 actions, and about 1,450 calls: reads and commits of the store, effects, computing, blobs, the inbox,
projections, start and end. Exactly one of them fails in each run; after it every promise is judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onex.adapters.sqlite.schema import create
from onex.simulation.disk import Disk, MemoryDisk, SqliteDisk
from tests.engine_sim.engine_run import Report, run_nth
from tests.engine_sim.nth_call import EnumFailure

STORES = ("memory", "sqlite")
STRIDE = 800
BLOCKS = 40
LEAST_CALLS, LEAST_ACTIONS = 1_000, 200
PORTS = {
    "own", "intern", "load", "applied", "commit", "waiting", "outbox", "inbox", "woken", "log", "history", "snapshot",
    "codes", "blob", "watermark", "project", "projected", "effect", "compute", "close",
}  # fmt: skip
"""Every port an engine calls. A scenario that leaves one out says nothing of it."""


def disk(kind: str, folder: Path) -> Disk:
    if kind == "memory":
        return MemoryDisk()
    create(folder / "empty.db")
    return SqliteDisk(folder, folder / "empty.db")


def counted(folder: Path) -> list[str]:
    """The port of each call, in order, of the run in which none fails: the same on either store."""
    report, nth = run_nth(0, EnumFailure.REFUSED, disk("memory", folder))
    assert report.violations == []
    return nth.calls


def sensible(failure: EnumFailure, port: str) -> bool:
    return failure is not EnumFailure.LOST or port == "commit"


def broken(cases: Iterator[tuple[int, EnumFailure]], kind: str, folder: Path) -> dict[str, list[str]]:
    """What was violated, by case. Each case must have struck, or it has proved nothing."""
    found: dict[str, list[str]] = {}
    for nth, failure in cases:
        report: Report
        report, faults = run_nth(nth, failure, disk(kind, folder))
        assert faults.struck, f"call {nth} was never made"
        if report.violations:
            found[f"{faults.calls[nth - 1]}, call {nth}, {failure}"] = report.violations
    return found


def sample(calls: list[str], kind: str) -> Iterator[tuple[int, EnumFailure]]:
    """Each way to fail at every 800th call, beginning elsewhere for each; and one call of every port, on either store."""
    ways = list(EnumFailure)
    for at, failure in enumerate(ways):
        start = (at * len(STORES) + STORES.index(kind)) * (STRIDE // 10)
        yield from ((n + 1, failure) for n in range(start, len(calls), STRIDE) if sensible(failure, calls[n]))
    for at, port in enumerate(sorted(set(calls))[STORES.index(kind) :: len(STORES)]):
        failure = ways[at % len(ways)]
        nth = calls.index(port) + 1
        yield nth, failure if sensible(failure, port) else EnumFailure.UNANSWERED
    yield calls.index("commit") + 1, EnumFailure.LOST


def test_the_scenario_calls_every_port_and_is_the_same_on_both_stores(tmp_path: Path) -> None:
    calls = counted(tmp_path)
    assert set(calls) == PORTS
    assert len(calls) >= LEAST_CALLS
    report, nth = run_nth(0, EnumFailure.REFUSED, disk("sqlite", tmp_path))
    assert (report.violations, nth.calls) == ([], calls)
    assert report.actions >= LEAST_ACTIONS


@pytest.mark.parametrize("kind", STORES)
def test_one_call_in_many_fails_and_every_promise_holds(kind: str, tmp_path: Path) -> None:
    calls = counted(tmp_path)
    assert broken(sample(calls, kind), kind, tmp_path) == {}


@pytest.mark.long
@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_each_call_fails_once_in_each_way_and_every_promise_holds(block: int, kind: str, tmp_path: Path) -> None:
    calls = counted(tmp_path)
    cases = (
        (nth, failure)
        for nth in range(1 + block, len(calls) + 1, BLOCKS)
        for failure in EnumFailure
        if sensible(failure, calls[nth - 1])
    )
    assert broken(cases, kind, tmp_path) == {}


def test_a_run_says_so_when_its_call_was_never_made(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="never made"):
        broken(iter([(10**6, EnumFailure.REFUSED)]), "memory", tmp_path)
