"""``start:`` of a contract: runs begin when the policies let them, in order, and nothing that was asked for is lost or doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

import pytest

import onex
from onex.app import load_app
from onex.kernel.errors import ContractError, GuardFailed, InternalTrigger, InvalidPayload
from onex.kernel.finding import Finding
from onex.orchestration.start_queue import StartQueue
from onex.simulation.clock import stream
from onex.testing.virtual_time import VirtualRun, virtual

BEGIN: Final = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
CONTRACT: Final = """
name: job
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
description: A job
state_model: Job
state_machine:
  initial_state: new
  terminal_states: [done]
  transitions:
    - {from_state: new, to_state: at_work, trigger: begin, payload: Begin}
    - {from_state: at_work, to_state: done, trigger: finish}
start: {trigger: begin, %s}
"""
PAYLOADS: Final = """
from onex import Payload, State

class Item(Payload):
    customer: str = ""
    n: int = 0

class Begin(Payload):
    items: tuple[Item, ...] = ()
    customer: str = ""
    text: str = ""

class Job(State):
    pass
"""


def app(folder: Path, policies: str) -> Path:
    (folder / "contract.yaml").write_text(CONTRACT % policies)
    (folder / "payloads.py").write_text(PAYLOADS)
    return folder


@contextmanager
def queued(folder: Path, policies: str) -> Iterator[VirtualRun]:
    with virtual(app(folder, policies), start=BEGIN) as run:
        yield run


def ask(run: VirtualRun, own_id: str, queue: str = "all", **more: object) -> None:
    payload = {"id": own_id, "payload": {"customer": "" if queue == "all" else queue}, **more}
    run.submit(f"job_start:{queue}", "ask", payload)  # type: ignore[arg-type]  # of any plain values


def begun(run: VirtualRun) -> dict[str, datetime]:
    """The runs, and when each began."""
    rows = run.run(run.engine.reader.instances("job", None, None, 1000))
    found = {row.key: run.history(row.key)[0].row.issued_us for row in rows}
    return {key.instance_id: BEGIN + timedelta(microseconds=us - 1772438400000000) for key, us in found.items()}


def queue(run: VirtualRun, name: str = "all") -> StartQueue:
    return run.state(f"job_start:{name}", StartQueue)


def errors_of(error: ContractError) -> list[Finding]:
    return [one for one in error.findings if isinstance(one, Finding)]


def test_a_client_asks_and_cannot_begin_a_run_beside_the_queue(tmp_path: Path) -> None:
    with queued(tmp_path, "concurrency: 1") as run:
        with pytest.raises(InternalTrigger, match="start policy"):
            run.submit("job:1", "begin", {})
        with pytest.raises(InvalidPayload):
            ask(run, "1", payload={"colour": "red"})
        ask(run, "1")
        assert list(begun(run)) == ["1"]
        run.submit("job_start:all", "ask", {"payload": {}})
        assert queue(run).waiting[0].id == "all-2", "an ask without an id gets one"


def test_so_many_runs_at_once_and_the_next_begins_when_one_has_ended(tmp_path: Path) -> None:
    with queued(tmp_path, "concurrency: 2") as run:
        for name in "abcd":
            ask(run, name)
        assert list(begun(run)) == ["a", "b"]
        run.skip(hours=30)
        assert list(begun(run)) == ["a", "b"], "a watch that ends begins nothing"
        run.submit("job:b", "finish")
        assert list(begun(run)) == ["a", "b", "c"]


def test_each_value_of_per_has_a_queue_of_its_own(tmp_path: Path) -> None:
    with queued(tmp_path, "concurrency: 1, per: customer") as run:
        for name in ("ada-1", "ada-2", "bo-1"):
            ask(run, name, name.partition("-")[0])
        assert list(begun(run)) == ["ada-1", "bo-1"]
        with pytest.raises(GuardFailed):
            run.submit("job_start:ada", "ask", {"payload": {"customer": "bo"}})
        assert queue(run, "ada").asked == 2, "what was refused left no trace"


def test_a_rate_spreads_what_comes_at_once(tmp_path: Path) -> None:
    with queued(tmp_path, "rate: {most: 2, per_ms: 60000}") as run:
        for name in "abcde":
            ask(run, name)
        run.skip(minutes=10)
        minutes = [(at - BEGIN).total_seconds() // 60 for at in begun(run).values()]
        assert minutes == [0, 0, 1, 1, 2]


def test_a_run_begins_later(tmp_path: Path) -> None:
    with queued(tmp_path, "delay_ms: 3600000") as run:
        ask(run, "a")
        ask(run, "b", not_before=(BEGIN + timedelta(hours=5)).isoformat())
        run.skip(minutes=59)
        assert begun(run) == {}
        run.skip(hours=5)
        assert begun(run) == {"a": BEGIN + timedelta(hours=1), "b": BEGIN + timedelta(hours=5)}


def test_of_asks_that_follow_each_other_the_last_one_wins(tmp_path: Path) -> None:
    with queued(tmp_path, "debounce_ms: 60000") as run:
        for n in range(5):
            ask(run, "a", payload={"text": f"{n}"})
            run.skip(seconds=50)
        run.skip(seconds=9)
        assert begun(run) == {}
        run.skip(seconds=1)
        (first,) = run.history("job:a")
        assert b'"text":"4"' in first.row.payload and begun(run) == {"a": BEGIN + timedelta(seconds=260)}


def test_what_is_urgent_comes_first_and_who_waits_long_enough_comes_too(tmp_path: Path) -> None:
    with queued(tmp_path, "concurrency: 1") as run:
        ask(run, "first")
        for name, priority in (("low", "low"), ("normal", "normal"), ("high", "high")):
            ask(run, name, priority=priority)
        run.submit("job:first", "finish")
        run.submit("job:high", "finish")
        assert set(begun(run)) == {"first", "high", "normal"}
        run.skip(minutes=2)
        ask(run, "late", priority="high")
        run.submit("job:normal", "finish")
        assert "low" in begun(run) and "late" not in begun(run)


def test_an_id_that_is_taken_is_refused(tmp_path: Path) -> None:
    with queued(tmp_path, "concurrency: 1") as run:
        ask(run, "a")
        ask(run, "b")
        for taken in ("a", "b"):
            with pytest.raises(GuardFailed):
                ask(run, taken)
        assert (queue(run).asked, queue(run).waits) == (2, 1)


def test_the_existing_run_is_used(tmp_path: Path) -> None:
    with queued(tmp_path, "concurrency: 1, reuse: use_existing") as run:
        for _ in range(3):
            ask(run, "a")
        assert queue(run).begun == 1 and queue(run).waits == 0


def test_the_next_run_of_an_id_begins_when_the_last_has_ended(tmp_path: Path) -> None:
    with queued(tmp_path, "concurrency: 9, reuse: after_terminal") as run:
        ask(run, "a")
        ask(run, "b")
        ask(run, "a")
        assert sorted(begun(run)) == ["a~1", "b~2"]
        run.submit("job:a~1", "finish")
        assert sorted(begun(run)) == ["a~1", "a~3", "b~2"]


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    with queued(tmp_path, "concurrency: 1, waiting: 3") as run:
        for n in range(4):
            ask(run, f"{n}")
        with pytest.raises(GuardFailed, match=r"state\.waits < 3"):
            ask(run, "4")


def test_a_batch_is_whole_when_enough_wait_or_the_first_has_waited_long_enough(tmp_path: Path) -> None:
    with queued(tmp_path, "batch: {field: items, most: 3, wait_ms: 60000}") as run:
        for n in range(4):
            ask(run, f"{n}", payload={"n": n})
        assert list(begun(run)) == ["all-1"], "three are enough"
        run.skip(seconds=59)
        assert len(begun(run)) == 1
        run.skip(seconds=1)
        assert begun(run) == {"all-1": BEGIN, "all-4": BEGIN + timedelta(minutes=1)}
        (first,), (second,) = run.history("job:all-1"), run.history("job:all-4")
        assert b'"n":0' in first.row.payload and b'"n":2' in first.row.payload
        assert b'"n":3' in second.row.payload


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_doubled_or_too_much_whatever_comes(tmp_path: Path, seed: int) -> None:
    chance: Random = stream(seed, "asks")
    policies = "concurrency: 3, rate: {most: 4, per_ms: 60000}, delay_ms: 5000, waiting: 1000"
    with queued(tmp_path, policies) as run:
        names = [f"n{n}" for n in range(60)]
        for name in names:
            ask(run, name, priority=chance.choice(("high", "normal", "low")))
            run.skip(seconds=chance.random() * 20)
            at_work = [row.key for row in run.run(run.engine.reader.instances("job", "at_work", None, 1000))]
            assert len(at_work) <= 3
            if at_work and chance.random() < 0.7:
                run.submit(chance.choice(at_work), "finish")
        while len(found := begun(run)) < len(names):
            for row in run.run(run.engine.reader.instances("job", "at_work", None, 1000)):
                run.submit(row.key, "finish")
            run.skip(seconds=30)
        times = sorted(found.values())
        assert all(later - earlier >= timedelta(minutes=1) for earlier, later in zip(times, times[4:], strict=False))
        assert queue(run).begun == len(names) and not queue(run).refused and not queue(run).waiting


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ("per: colour", "no field 'colour'"),
        ("reuse: use_existing", "without concurrency no run is watched"),
        ("delay_ms: 5, debounce_ms: 5", "keep one of"),
        ("batch: {field: text, most: 2, wait_ms: 5}", "no list of models 'text'"),
        ("batch: {field: items, most: 200, wait_ms: 5}", "never gathers"),
        ("debounce_ms: 5, batch: {field: items, most: 2, wait_ms: 5}", "no ask of it has a run"),
        ("rate: {most: 0, per_ms: 5}", "at least 1"),
    ],
)
def test_policies_that_mean_nothing_are_findings(tmp_path: Path, policies: str, words: str) -> None:
    with pytest.raises(ContractError) as caught:
        load_app(app(tmp_path, policies))
    assert words in "".join(f"{one.message} {one.fix}" for one in errors_of(caught.value))


def test_what_waits_is_there_when_the_next_engine_runs(tmp_path: Path) -> None:
    folder = app(tmp_path, "concurrency: 1")
    store = f"sqlite:///{tmp_path}/store.db"

    async def go() -> None:
        async with await onex.open(store, folder) as engine:
            for name in "abc":
                await engine.submit("job_start:all", "ask", {"id": name, "payload": {}})
            await engine.wait("job:a", "at_work")
        for name in "abc":
            async with await onex.open(store, folder) as engine:
                await engine.wait(f"job:{name}", "at_work")
                await engine.submit(f"job:{name}", "finish")
        async with await onex.open(store, folder) as engine:
            await engine.idle()
            state = await engine.state("job_start:all")
            assert state is not None and state.model_dump()["begun"] == 3 and not state.model_dump()["running"]

    asyncio.run(go())
