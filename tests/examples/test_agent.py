"""The agent example: what a thought leads to, and what ends a run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import onex
from onex import load_app
from onex.kernel.intent import Failure
from onex.kernel.step import State
from onex.testing.harness import Given, given

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "agent"


@pytest.fixture
def run() -> Given[State]:
    app = load_app(FOLDER)
    assert app.findings == ()
    return say(given(app.workflows["run"].reducer), "begin", task="find tea", limit=10)


def say(run: Given[State], trigger: str, **fields: object) -> Given[State]:
    return run.when(trigger, run.reducer.payloads[trigger].model_validate(fields))


def emitted(run: Given[State]) -> list[str]:
    return [one.name for one in run.emitted]


def test_a_thought_without_a_tool_is_the_answer(run: Given[State]) -> None:
    assert emitted(run) == ["think"]
    say(run, "think.succeeded", text="42", cents=1).then(status="done", messages=("find tea", "42"), intents=[])


def test_a_tool_answers_and_the_model_thinks_on(run: Given[State]) -> None:
    say(run, "think.succeeded", text="look", tool="search", argument="tea", cents=1).then(status="acting")
    assert emitted(run) == ["use_tool"]
    say(run, "use_tool.succeeded", text="green").then(status="thinking")
    assert emitted(run) == ["think"]


def test_a_dangerous_tool_waits_for_a_person(run: Given[State]) -> None:
    say(run, "think.succeeded", text="send", tool="send_mail", argument="hi", cents=1).then(status="asking")
    run.when("approve").then(status="acting")
    assert emitted(run) == ["use_tool", "@asking"]
    assert run.emitted[1].cancelled, "the timer of the question"


def test_nobody_who_answers_within_a_day_is_a_no(run: Given[State]) -> None:
    say(run, "think.succeeded", text="send", tool="send_mail", argument="hi", cents=1)
    (timer,) = run.emitted
    assert (timer.spec.trigger, timer.due_us) == ("expire", 24 * 3600 * 1_000_000)
    run.when("expire").then(status="stopped")


def test_the_budget_ends_a_run_that_costs_too_much(run: Given[State]) -> None:
    say(run, "think.succeeded", text="look", tool="search", argument="tea", cents=10).then(status="stopped", intents=[])


def test_a_model_that_fails_stops_the_run(run: Given[State]) -> None:
    run.when("think.failed", Failure(code="overloaded", message="no capacity", attempts=3)).then(status="stopped")


def test_a_run_from_its_task_to_its_answer(tmp_path: Path) -> None:
    async def go() -> tuple[str, ...]:
        async with await onex.open(f"sqlite:///{tmp_path}/store.db", FOLDER) as engine:
            await engine.submit("run:1", "begin", {"task": "tea"})
            await engine.wait("run:1", until="done", timeout_s=30)
            state = await engine.state("run:1")
            return tuple(getattr(state, "messages", ()))

    assert asyncio.run(go()) == ("tea", "I look it up", "search says: TEA", "done: search says: TEA")
