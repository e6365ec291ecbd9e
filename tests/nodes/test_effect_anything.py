"""What an effect raises or returns, and what comes of it: one outcome by its policy, or a dead row. The engine goes on."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import onex
from onex.engine import attempt
from onex.nodes import isolated_call as beside
from onex.ports import EnumOutboxState
from onex.wiring.engine import WiredEngine

JOB = Path(__file__).parent / "job"
Story = Callable[[WiredEngine], Awaitable[None]]


@pytest.fixture
def run_app(tmp_path: Path) -> Callable[[Story], None]:
    """Runs a story on an engine with a real store."""

    def run(story: Story) -> None:
        async def go() -> None:
            async with asyncio.timeout(30), await onex.open(f"sqlite:///{tmp_path}/store.db", JOB) as engine:
                await story(engine)
                assert engine.service.closed is None

        asyncio.run(go())

    return run


@pytest.fixture(autouse=True)
def effects() -> Iterator[None]:
    for module in modules():
        module.HANGING.clear()
        module.FORKED.clear()
    yield
    for module in modules():
        module.HANGING.set()


def modules() -> list[Any]:
    return [
        module
        for name, module in list(sys.modules.items())
        if name.endswith(".job.effects") and hasattr(module, "HANGING")
    ]


async def outcome_of(engine: WiredEngine, trigger: str, what: str) -> tuple[str, str, int]:
    """Status, what the outcome said, tries; and a neighbour of the same target is done afterwards."""
    await engine.submit("job:1", trigger, {"what": what})
    await engine.idle()
    stored, state = await engine.stored("job:1"), await engine.state("job:1")
    await engine.submit("job:2", trigger, {"what": "well"})
    neighbour = await engine.wait("job:2", timeout_s=5)
    assert neighbour.status == "done"
    assert stored is not None
    return stored.status, getattr(state, "why", ""), getattr(state, "tries", 0)


RAISED = {
    "exit": ("unknown", "effect_raised: SystemExit: usage: ...", 2),
    "exit0": ("unknown", "effect_raised: SystemExit: 0", 2),
    "exit3": ("unknown", "effect_raised: SystemExit: 3", 2),
    "ctrl-c": ("unknown", "effect_raised: KeyboardInterrupt", 2),
    "panic": ("unknown", "effect_raised: Panic: called unwrap() on a None value", 2),
    "generator exit": ("unknown", "effect_raised: GeneratorExit", 2),
    "stop async iteration": ("unknown", "effect_raised: ", 2),
    "cancelled": ("unknown", "effect_raised: CancelledError", 2),
    "own time-out": ("unknown", "effect_raised: TimeoutError: connect timed out after 0.1 s", 2),
    "mute": ("unknown", "effect_raised: Mute (no text: its __str__ raised IndexError)", 2),
    "exits when told": ("unknown", "effect_raised: Exits (no text: its __str__ raised SystemExit)", 2),
    "huge": ("unknown", "effect_raised: ValueError: xxxxxxxx", 2),
    "surrogate": ("unknown", r"effect_raised: ValueError: \ud800\x00 bad", 2),
    "group": ("unknown", "effect_raised: BaseExceptionGroup: several (2 sub-exceptions)", 2),
    "uncopied": ("unknown", "effect_raised: Uncopied: me", 2),
    "unnamed": ("unknown", "effect_raised: Unnamed: me", 2),
    "faceless": ("unknown", "effect_raised: Faceless: me", 2),
    "unknown": ("unknown", "half_done: perhaps", 2),
    "of ours": ("unknown", "onex: of ours", 2),
    "of ours with a code that is a number": ("unknown", "effect_raised: forty-two", 2),
    "refused": ("failed", "too_poor: no money", 1),
    "refused for now": ("failed", "busy: busy", 2),
    "refused in text no store takes": ("failed", r"\ud800\x00: \ud800\x00", 1),
    "refused without end": ("failed", "yyyyyyyy", 1),
    "hostile refusal": ("failed", "effect_failed: Hostile (no text", 1),
    "mistyped refusal": ("failed", "effect_failed: EffectFailed: x", 1),
}


@pytest.mark.parametrize("trigger", ["plain", "waits"])
@pytest.mark.parametrize("what", RAISED)
def test_whatever_an_effect_raises_its_intent_has_one_outcome(
    what: str, trigger: str, run_app: Callable[[Story], None]
) -> None:
    async def story(engine: WiredEngine) -> None:
        status, why, tries = await outcome_of(engine, trigger, what)
        expected = RAISED[what]
        assert (status, why[: len(expected[1])], tries) == expected
        assert len(why) < 2200

    run_app(story)


@pytest.mark.parametrize(
    ("trigger", "why"), [("plain", "StopIteration"), ("waits", "RuntimeError: coroutine raised StopIteration")]
)
def test_stop_iteration_is_reported_though_no_future_takes_it(
    trigger: str, why: str, run_app: Callable[[Story], None]
) -> None:
    async def story(engine: WiredEngine) -> None:
        assert await outcome_of(engine, trigger, "stop iteration") == ("unknown", f"effect_raised: {why}", 2)

    run_app(story)


RETURNED = {
    "nothing": "wrong_result: {} returned NoneType; it is annotated to return Did",
    "another class": "wrong_result: {} returned Other",
    "a class": "wrong_result: {} returned ModelMetaclass",
    "a generator": "wrong_result: {} returned generator",
    "an exception": "wrong_result: {} returned EffectFailed",
    "text": "wrong_result: {} returned str",
    "too much": "payload_too_large: {} returned too much",
    "a surrogate": "invalid_payload: {} returned what cannot be kept",
    "a number too large": "invalid_payload: ",
    "a NUL": "invalid_payload: ",
    "what exits when written": "",
    "what has no face": "wrong_result: {} returned Faceless",
}


@pytest.mark.parametrize(("trigger", "name"), [("plain", "work"), ("waits", "awork")])
@pytest.mark.parametrize("what", RETURNED)
def test_what_ran_and_returned_anything_is_unknown_and_is_not_run_again(
    what: str, trigger: str, name: str, run_app: Callable[[Story], None]
) -> None:
    async def story(engine: WiredEngine) -> None:
        status, why, tries = await outcome_of(engine, trigger, what)
        wanted = RETURNED[what].format(name)
        assert (status, why[: len(wanted)], tries) == ("unknown", wanted, 1)

    run_app(story)


def test_an_awaitable_that_is_handed_back_and_exits_is_contained(run_app: Callable[[Story], None]) -> None:
    async def story(engine: WiredEngine) -> None:
        assert await outcome_of(engine, "twice", "future") == ("unknown", "effect_raised: SystemExit: 7", 2)

    run_app(story)


@pytest.mark.parametrize("what", ["exit", "cancelled", "hostile refusal"])
def test_an_awaitable_that_a_plain_effect_returns_is_awaited_too(what: str, run_app: Callable[[Story], None]) -> None:
    async def story(engine: WiredEngine) -> None:
        status, why, tries = await outcome_of(engine, "twice", what)
        expected = RAISED[what]
        assert (status, why[: len(expected[1])], tries) == expected

    run_app(story)


def test_a_coroutine_that_was_not_awaited_is_reported(run_app: Callable[[Story], None]) -> None:
    async def story(engine: WiredEngine) -> None:
        why = "wrong_result: awork returned a coroutine that was not awaited: write await before the call"
        assert await outcome_of(engine, "waits", "forgot await") == ("unknown", why, 1)

    run_app(story)


LATE = "timed_out: no answer within 0.3 s"
STOPPED = {
    "cancels itself": ("unknown", "effect_raised: CancelledError", 2),
    "is cancelled when it has ended": ("done", "", 0),
    "waits for a cancelled task": ("unknown", "effect_raised: CancelledError", 2),
    "its own asyncio.timeout": ("unknown", "effect_raised: TimeoutError", 2),
    "swallows cancellation": ("unknown", LATE, 2),
    "raises when stopped": ("unknown", f"{LATE}; cancelled, it raised ValueError: stopped in the middle", 2),
    "refuses when stopped": ("failed", "rolled_back: no answer within 0.3 s; cancelled, it raised rolled back", 1),
    "answers when stopped": ("done", "", 0),
    "closes badly": ("unknown", f"{LATE}; cancelled, it raised SystemExit: in the end", 2),
}


@pytest.mark.parametrize("what", STOPPED)
def test_an_async_effect_reaches_no_task_but_its_own(
    what: str, run_app: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "GRACE_S", 0.05)

    async def story(engine: WiredEngine) -> None:
        await engine.submit("job:1", "waits_hasty", {"what": what})
        await engine.idle()
        stored, state = await engine.stored("job:1"), await engine.state("job:1")
        assert stored is not None
        assert (stored.status, getattr(state, "why", ""), getattr(state, "tries", 0)) == STOPPED[what]
        await engine.submit("job:2", "waits_hasty", {"what": "well"})
        assert (await engine.wait("job:2", timeout_s=5)).status == "done"

    run_app(story)


@pytest.mark.parametrize("what", ["exit", "panic", "nothing", "refused"])
def test_fire_and_forget_that_failed_is_a_dead_row(what: str, run_app: Callable[[Story], None]) -> None:
    async def story(engine: WiredEngine) -> None:
        await engine.submit("job:1", "quiet", {"what": what})
        await engine.idle()
        (row,) = await engine.reader.outbox((EnumOutboxState.DEAD,), None, None, 10)
        assert row.error

    run_app(story)


@pytest.mark.parametrize("trigger", ["plain", "waits"])
@pytest.mark.parametrize("what", ["shared", "from shared", "shared refusal"])
def test_the_traceback_of_one_exception_that_is_raised_again_and_again_does_not_grow(
    what: str, trigger: str, run_app: Callable[[Story], None]
) -> None:
    async def story(engine: WiredEngine) -> None:
        depths = []
        for n in range(8):
            await engine.submit(f"job:{n}", trigger, {"what": what})
            await engine.idle()
            depths.append(max(depth(module, what) for module in modules()))
        assert depths[-1] == depths[2] > 0

    run_app(story)


def depth(module: Any, what: str) -> int:
    error = {"shared": module.SHARED, "from shared": module.SHARED_CAUSE}.get(what, module.SHARED_REFUSAL)
    trace, frames = error.__traceback__, 0
    while trace is not None:
        trace, frames = trace.tb_next, frames + 1
    return frames


def test_plain_effects_that_hang_take_no_more_threads_than_their_concurrency(run_app: Callable[[Story], None]) -> None:
    def ours() -> int:
        return sum(thread.name == "onex-effect" for thread in threading.enumerate())

    async def story(engine: WiredEngine) -> None:
        before = ours()
        await engine.submit_many([(f"job:{n}", "hasty", {"what": "hang"}) for n in range(8)])
        await engine.submit("job:other", "twice", {"what": "well"})
        assert (await engine.wait("job:other", timeout_s=5)).status == "done"  # other targets go on
        await engine.idle()
        assert ours() - before <= 2 + 2  # of the other target two may have been started
        states = [await engine.state(f"job:{n}") for n in range(8)]
        statuses = sorted(getattr(state, "status", "") for state in states)
        assert statuses == ["failed"] * 6 + ["unknown"] * 2  # two ran and may have been done; six surely never began
        reasons = {getattr(state, "why", "") for state in states}
        assert reasons == {
            "not_begun: not begun within 0.3 s: all 2 slots of 'worker' are taken, 2 of them by calls that never came "
            "back; give the call a time-out of its own, or raise concurrency"
        }
        for module in modules():
            module.HANGING.set()
        await engine.submit("job:after", "plain", {"what": "well"})  # they came back, and so did their slots
        assert (await engine.wait("job:after", timeout_s=5)).status == "done"

    run_app(story)


def test_an_effect_that_forks_comes_back_once(
    run_app: Callable[[Story], None], capfd: pytest.CaptureFixture[str]
) -> None:
    async def story(engine: WiredEngine) -> None:
        pid = os.getpid()
        assert (await outcome_of(engine, "plain", "fork"))[0] == "done"
        assert os.getpid() == pid

    run_app(story)
    (forked,) = [pid for module in modules() for pid in module.FORKED]
    os.waitpid(forked, 0)
    assert "its child came back into the engine" in capfd.readouterr().err


def test_nothing_of_an_effect_is_left_on_the_heap(run_app: Callable[[Story], None]) -> None:
    async def story(engine: WiredEngine) -> None:
        for n in range(5):
            await engine.submit(f"job:{n}", "plain", {"what": "huge"})
        await engine.idle()
        gc.collect()
        assert not [one for one in gc.get_objects() if type(one) is ValueError and len(str(one.args)) > 1_000_000]

    run_app(story)


def test_the_grace_is_a_stated_time() -> None:
    assert attempt.GRACE_S == 5.0


# of a coroutine that ignores even its end Python says so itself
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("what", ["swallows cancellation", "swallows everything"])
def test_an_engine_closes_though_an_effect_swallows_its_cancellation(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "GRACE_S", 0.05)
    url = f"sqlite:///{tmp_path}/store.db"

    async def go() -> None:
        async with await onex.open(url, JOB) as engine:
            await engine.submit("job:1", "waits", {"what": what})
            while engine.counters.effects_run == 0:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
        reader = await onex.open_reader(url)
        (row,) = await reader.outbox((EnumOutboxState.WAITING,), None, None, 10)
        await reader.close()
        assert (row.started, row.crashes) == (False, 0)  # the next owner runs it again, and it is no crash

    asyncio.run(asyncio.wait_for(go(), 20))
    gc.collect()
