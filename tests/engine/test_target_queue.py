"""A target with a rate or a breaker: how many calls begin when, whose turn it is, and that what waits is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel

from onex.app import load_app
from onex.engine.limits import Limits
from onex.engine.registry import ReducerRegistry
from onex.kernel.errors import ContractError, EffectFailed, EffectUnknown
from onex.kernel.intent import ModelIntent
from onex.kernel.retry import BreakerPolicy, EnumBreakerState
from onex.kernel.target_policy import TargetPolicy
from onex.ports import EnumOutboxState
from onex.testing.virtual_time import VirtualRun, virtual
from tests.engine.conftest import OneStore
from tests.engine.jobs import Start, registry

APP = Path(__file__).parent / "called_app" / "calls.py"
OK: Mapping[str, str] = {}


class Bank:
    """Notes when it was called, in virtual seconds, and for whom; answers as ``answer`` says."""

    def __init__(self, answer: Callable[[int], object] = lambda call: OK) -> None:
        self.called: list[tuple[float, str]] = []
        self.run: VirtualRun | None = None
        self.answer = answer

    async def __call__(self, intent: ModelIntent[BaseModel]) -> object:
        assert self.run is not None
        self.called.append((self.seconds, str(intent.workflow_key)))
        answer = self.answer(len(self.called))
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def seconds(self) -> float:
        assert self.run is not None
        return self.run.engine.clock.monotonic()

    @property
    def begun(self) -> list[float]:
        return [at_s for at_s, _ in self.called]


def go(bank: Bank, run: VirtualRun, key: str, calls: int, priority: str = "normal") -> None:
    bank.run = run
    run.submit(f"calls:{key}", "go", {"calls": calls, "priority": priority})


def counts(run: VirtualRun, key: str) -> tuple[int, int, int]:
    state = run.state(f"calls:{key}").model_dump()
    return state["answered"], state["refused"], state["unclear"]


def spans_hold(begun: list[float], per_s: float, burst: int) -> bool:
    return all(
        count <= burst + per_s * (end_s - first_s) + 1e-6
        for n, first_s in enumerate(begun)
        for count, end_s in enumerate(begun[n:], 1)
    )


def test_no_more_calls_begin_than_the_rate_and_none_is_lost() -> None:
    bank = Bank()
    with virtual(APP, executors={"bank": bank}) as run:
        go(bank, run, "a", 60)
        run.skip(seconds=7)
        assert counts(run, "a") == (60, 0, 0)
    assert spans_hold(bank.begun, 10, 2)
    assert 5.7 < bank.begun[-1] - bank.begun[0] < 6.0


def test_an_instance_with_many_calls_does_not_hold_up_another_with_one() -> None:
    bank = Bank()
    with virtual(APP, executors={"bank": bank}) as run:
        for _ in range(10):
            go(bank, run, "greedy", 64)
        run.skip(seconds=1)
        go(bank, run, "modest", 1)
        begun_s = bank.seconds
        run.skip(seconds=0.35)
        (modest_s,) = [at_s for at_s, key in bank.called if key == "calls:modest"]
        assert modest_s - begun_s <= 0.3
        assert len(bank.called) < 20


def test_within_a_target_the_more_urgent_come_first() -> None:
    bank = Bank()
    with virtual(APP, executors={"bank": bank}) as run:
        go(bank, run, "slow", 20, "low")
        go(bank, run, "fast", 5, "high")
        run.skip(seconds=30)
    order = [key for _, key in bank.called]
    assert order[2:7] == ["calls:fast"] * 5
    assert len(order) == 25


def test_an_open_breaker_uses_up_no_try_and_lets_all_through_when_the_target_answers() -> None:
    down = Bank(lambda call: EffectUnknown("503") if call <= 4 else OK)
    with virtual(APP, executors={"bank": down}) as run:
        go(down, run, "a", 8)
        run.skip(seconds=30)
        assert len(down.called) == 3  # then it is left alone
        (target,) = run.engine.relay.targets
        assert (target.workflow_type, target.target, target.breaker) == ("calls", "bank", EnumBreakerState.OPEN)
        assert (target.running, target.waiting) == (0, 8)
        assert 29 < target.retry_after_s < 31
        run.skip(seconds=31)  # a probe fails
        assert len(down.called) == 4
        run.skip(seconds=65)  # the next one succeeds
        assert counts(run, "a") == (8, 0, 0)
        assert run.engine.relay.targets[0].breaker is EnumBreakerState.CLOSED
        assert run.engine.counters.breakers_opened == 2
    assert len(down.called) == 12


@pytest.mark.parametrize(
    ("answer", "opens"),
    [
        (EffectUnknown("503"), True),
        (EffectFailed("429", retryable=True), True),
        (OSError("the line dropped"), True),
        (EffectFailed("declined", code="declined"), False),
        ("no answer of its class", False),
    ],
)
def test_what_the_target_says_of_business_opens_nothing(answer: Exception | str, opens: bool) -> None:
    bank = Bank(lambda call: answer)
    with virtual(APP, executors={"bank": bank}) as run:
        go(bank, run, "a", 10)
        run.skip(seconds=3)
        assert len(bank.called) == (3 if opens else 10)
        assert run.engine.relay.targets[0].breaker == ("open" if opens else "closed")


def test_behind_an_open_breaker_every_row_stands_in_the_store() -> None:
    """The queue is a cache: an engine that ends meanwhile leaves every row to the next one."""
    bank = Bank(lambda call: EffectUnknown("503"))
    with virtual(APP, executors={"bank": bank}) as run:
        go(bank, run, "a", 9)
        run.skip(seconds=5)
        waiting = run.run(run.engine.reader.outbox((EnumOutboxState.WAITING,), None, None, 100))
        assert len(waiting) == 9
        assert sum(row.attempt > 1 for row in waiting) == 3


def test_who_cancels_a_call_that_waits_for_its_turn_makes_no_call() -> None:
    bank = Bank()
    with virtual(APP, executors={"bank": bank}) as run:
        go(bank, run, "a", 30)
        run.submit("calls:a", "end")
        run.skip(seconds=10)
        assert len(bank.called) == 2
        assert not run.engine.relay.busy


def refused_text(tmp_path: Path, decorator: str) -> str:
    text = APP.read_text()
    begin = text.index("@calls.effect(")
    end = text.index("\n", begin)
    (tmp_path / "calls.py").write_text(text[:begin] + decorator + text[end:])
    with pytest.raises(ContractError) as refused:
        load_app(tmp_path / "calls.py")
    return str(refused.value.findings[0])


@pytest.mark.parametrize(
    ("decorator", "named"),
    [
        ('@calls.effect("bank", rate_per_s=0)', "rate_per_s is 0"),
        ('@calls.effect("bank", burst=3)', "give rate_per_s too"),
        ('@calls.effect("bank", circuit_breaker=5)', "circuit_breaker is 5"),
        ('@calls.effect("bank", heartbeat=5)', "5 is no span of time"),
    ],
)
def test_a_policy_out_of_range_is_found_at_its_line(tmp_path: Path, decorator: str, named: str) -> None:
    found = refused_text(tmp_path, decorator)
    assert named in found
    assert "calls.py:33:2" in found


# --- over real stores -------------------------------------------------------------------------------------------------------


def with_policy(one_store: OneStore, policy: TargetPolicy) -> ReducerRegistry:
    (workflow,) = registry(one_store.worker).workflows
    return ReducerRegistry((replace(workflow, policies={"worker": policy}),))


def test_a_target_that_is_left_alone_leaves_the_memory_to_the_others(one_store: OneStore) -> None:
    """A hundred intents behind an open breaker, and room for forty: what another target is asked runs all the same."""
    reducers = with_policy(one_store, TargetPolicy(circuit_breaker=BreakerPolicy(failures=1, open_s=1000.0)))

    async def go() -> None:
        async with one_store.engine(limits=Limits(kept=40), reducers=reducers) as engine:
            await engine.submit_many([(f"job:{n}", "start", Start(text="broken")) for n in range(100)])
            await engine.submit("job:other", "shout")
            while not any(text == "shout" for _, text in one_store.worker.done):
                await asyncio.sleep(0)
            assert len(one_store.worker.tries) <= 11  # ten at once, until the first has failed; and the shout
            assert engine.relay.busy
            rows = await engine.reader.outbox((EnumOutboxState.WAITING,), None, None, 200)
            assert len(rows) >= 100

    asyncio.run(go())


def test_what_memory_has_no_room_for_is_read_again_until_all_are_done(one_store: OneStore) -> None:
    reducers = with_policy(one_store, TargetPolicy(rate_per_s=2000.0, burst=5))

    async def go() -> None:
        async with one_store.engine(limits=Limits(kept=40), reducers=reducers) as engine:
            await engine.submit_many([(f"job:{n}", "start", Start(text="hello")) for n in range(120)])
            await engine.idle()
            assert len(one_store.worker.done) == 120
            assert len({key for key, _ in one_store.worker.done}) == 120

    asyncio.run(go())


def test_the_next_engine_runs_what_waited_behind_a_breaker(one_store: OneStore) -> None:
    reducers = with_policy(one_store, TargetPolicy(circuit_breaker=BreakerPolicy(failures=1, open_s=1000.0)))

    async def go() -> None:
        async with one_store.engine(reducers=reducers) as engine:
            await engine.submit_many([(f"job:{n}", "start", Start(text="busy")) for n in range(30)])
            while engine.counters.breakers_opened == 0:
                await asyncio.sleep(0)
        tried = len(one_store.worker.tries)
        assert tried < 30
        async with one_store.engine() as engine:
            await engine.idle()
            assert len({key for key, _ in one_store.worker.done}) == 30
            assert all([(await engine.wait(f"job:{n}")).status == "done" for n in range(30)])

    asyncio.run(go())
