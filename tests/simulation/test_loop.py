from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from onex.simulation.loop import DeadlockError, StepLimitError, UnhandledError, UnsimulatedError
from onex.simulation.seeded_run import Sim, SimResult, run

# --- a program that leans on everything asyncio keeps in sets -------------------------------------------------------


async def ticks(sim: Sim, count: int) -> AsyncIterator[int]:
    for tick in range(count):
        await sim.clock.sleep(0.25)
        yield tick


async def crowd(sim: Sim) -> list[str]:
    """gather, wait, TaskGroup, queue, timeout, cancel, an abandoned generator, a crash; returns what was seen."""
    seen: list[str] = []
    queue: asyncio.Queue[str] = asyncio.Queue(maxsize=3)

    async def worker(name: str, naps: int) -> str:
        for nap in range(naps):
            await sim.clock.sleep(sim.faults.choice([0, 0, 0.5, 1.0]))
            seen.append(f"{name}{nap}")
            await queue.put(name)
        return name

    async def drain() -> None:
        while True:
            seen.append(f"got {await queue.get()}")

    async def failing() -> None:
        await asyncio.sleep(2)
        raise ValueError("planned")

    drainer = asyncio.create_task(drain())
    seen += await asyncio.gather(*(worker(f"g{n}.", 3) for n in range(6)))
    pending = {asyncio.create_task(worker(f"w{n}.", 2)) for n in range(8)}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        seen += [task.result() for task in done]
    try:
        async with asyncio.TaskGroup() as group:
            for n in range(8):
                group.create_task(worker(f"t{n}.", 50))
            group.create_task(failing())
    except* ValueError:
        seen.append("group failed")
    async for tick in ticks(sim, 9):
        if tick == 2:
            break
    try:
        async with asyncio.timeout(1):
            await worker("late", 10_000)
    except TimeoutError:
        seen.append("timed out")
    host = sim.host("h")
    lost = [host.spawn(worker(f"h{n}.", 1_000)) for n in range(4)]
    sim.loop.call_later(1.5, host.crash)
    done, _ = await asyncio.wait(lost)
    seen += [repr(task.exception()) for task in done]
    drainer.cancel()
    return seen


def fingerprint(outcome: SimResult[list[str]]) -> str:
    return f"{outcome.trace_hash} {outcome.steps} {outcome.virtual_s} {' '.join(outcome.result())}"


if __name__ == "__main__":
    for printed in (7, 8):
        print(fingerprint(run(crowd, printed)))
    sys.exit()


# --- one seed, one run ----------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_run_again_in_one_process() -> None:
    first = fingerprint(run(crowd, 7))
    clutter = [object() for _ in range(1_000)]
    assert fingerprint(run(crowd, 7)) == first
    assert len(clutter) == 1_000


def test_a_seed_gives_the_same_run_in_every_process_whatever_its_hash_seed() -> None:
    printed = set()
    for hash_seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        child = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
        printed.add(child.stdout)
    here = "".join(fingerprint(run(crowd, seed)) + "\n" for seed in (7, 8))
    assert printed == {here}


def test_seeds_differ() -> None:
    assert len({run(crowd, seed).trace_hash for seed in range(10)}) == 10


async def race(sim: Sim) -> str:
    order: list[str] = []

    async def racer(name: str) -> None:
        await asyncio.sleep(1)
        order.append(name)

    await asyncio.gather(racer("a"), racer("b"))
    return "".join(order)


def test_both_orders_of_a_race_come_up_within_twenty_seeds() -> None:
    assert {run(race, seed).result() for seed in range(20)} == {"ab", "ba"}


def test_every_order_of_four_callbacks_comes_up() -> None:
    async def main(sim: Sim) -> str:
        order: list[str] = []
        for name in "abcd":
            sim.loop.call_soon(order.append, name)
        await asyncio.sleep(1)
        return "".join(order)

    assert len({run(main, seed).result() for seed in range(300)}) == 24


def test_faults_and_order_are_drawn_from_two_streams() -> None:
    def drawing(faults: int) -> str:
        async def main(sim: Sim) -> str:
            for _ in range(faults):
                sim.faults.random()
            return await race(sim)

        return run(main, 3).trace_hash

    assert drawing(0) == drawing(1) == drawing(17)


def test_the_trace_names_steps_and_times_and_costs_nothing_when_it_is_not_kept() -> None:
    kept, bare = run(race, 1, keep_trace=True), run(race, 1)
    assert kept.trace_hash == bare.trace_hash
    assert bare.trace == ()
    names = [line for line in kept.trace if "racer" in line]
    assert len(names) == 4
    assert "@1.0" in kept.trace


def test_a_set_of_tasks_and_futures_is_walked_in_one_order() -> None:
    async def main(sim: Sim) -> list[int]:
        many = {sim.loop.create_future() for _ in range(200)} | {
            sim.loop.create_task(asyncio.sleep(0)) for _ in range(9)
        }
        return [hash(one) for one in many]

    assert run(main, 1).result() == run(main, 1).result()


def test_finalizers_run_at_the_same_step_whatever_the_garbage_collector_was_doing() -> None:
    closed: list[int] = []

    async def main(sim: Sim) -> None:
        async def source() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                closed.append(sim.loop.steps)

        for _ in range(20_000):
            cycle: list[object] = [stream := source()]
            cycle.append(cycle)
            if sim.loop.steps < 500:
                await anext(stream)
            await asyncio.sleep(0)

    def collecting(threshold: int) -> tuple[str, list[int]]:
        closed.clear()
        before = gc.get_threshold()
        gc.set_threshold(threshold)
        try:
            return run(main, 1).trace_hash, closed.copy()
        finally:
            gc.set_threshold(*before)

    often, seldom = collecting(100), collecting(100_000)
    assert often == seldom
    assert len(often[1]) > 100


# --- time -----------------------------------------------------------------------------------------------------------


def test_a_virtual_year_of_hours_passes() -> None:
    async def main(sim: Sim) -> float:
        for _ in range(24 * 366):
            await sim.clock.sleep(3600)
        return sim.loop.time()

    outcome = run(main, 1)
    assert outcome.result() == outcome.virtual_s == 24 * 366 * 3600
    assert outcome.steps < 24 * 366 * 3


def test_a_timer_runs_when_it_is_due_and_not_before() -> None:
    async def main(sim: Sim) -> list[float]:
        fired: list[float] = []
        start = sim.loop.time()
        for delay in (0.3, 0.1, 0.1 + 1e-9, 0.2):
            sim.loop.call_at(start + delay, lambda: fired.append(sim.loop.time() - start))
        await sim.clock.sleep(1)
        return fired

    assert run(main, 1).result() == [0.1, 0.1 + 1e-9, 0.2, 0.3]


def test_timers_are_exact_after_a_century() -> None:
    async def main(sim: Sim) -> list[float]:
        await sim.clock.sleep(100 * 366 * 86_400)
        start, fired = sim.loop.time(), []
        for delay in (1e-3, 2e-3):
            sim.loop.call_at(start + delay, lambda: fired.append(sim.loop.time()))
        await sim.clock.sleep(1)
        return [moment - start for moment in fired]

    assert run(main, 1).result() == pytest.approx([1e-3, 2e-3], abs=1e-6)


# --- what ends a run ------------------------------------------------------------------------------------------------


def test_a_deadlock_names_who_waits_and_where() -> None:
    async def main(sim: Sim) -> None:
        first, second = asyncio.Lock(), asyncio.Lock()

        async def cross(one: asyncio.Lock, other: asyncio.Lock) -> None:
            async with one:
                await asyncio.sleep(1)
                async with other:
                    pass

        host = sim.host("shop")
        host.start(cross(first, second), name="cross")
        await host.spawn(cross(second, first))

    error = run(main, 1).error
    assert isinstance(error, DeadlockError)
    assert len(error.waiting) == 3
    assert any(line.startswith("cross in Lock.acquire") for line in error.waiting)
    assert any(line.startswith("shop.1/") for line in error.waiting)
    assert any(line.startswith("main in ") and "test_loop.py" in line for line in error.waiting)
    assert "virtual 1.000000 s" in str(error)


def test_a_sleep_without_end_is_a_deadlock_too() -> None:
    async def main(sim: Sim) -> None:
        await sim.clock.sleep(float("inf"))

    outcome = run(main, 1)
    assert isinstance(outcome.error, DeadlockError)
    assert outcome.virtual_s == 0


def test_a_program_that_polls_for_ever_meets_the_step_limit() -> None:
    async def main(sim: Sim) -> None:
        while not sim.loop.is_closed():
            await sim.clock.sleep(0.1)

    outcome = run(main, 1, max_steps=1_000)
    assert isinstance(outcome.error, StepLimitError)
    assert outcome.steps == 1_001
    assert "main" in outcome.error.waiting[0]


def test_what_the_program_raises_is_the_outcome_with_its_seed() -> None:
    async def main(sim: Sim) -> None:
        await asyncio.sleep(2)
        raise LookupError("gone")

    outcome = run(main, 41)
    with pytest.raises(LookupError, match="gone") as raised:
        outcome.result()
    assert raised.value.__notes__ == ["seed 41: step 4, virtual 2.000000 s"]


def test_a_task_that_fails_unseen_ends_the_run() -> None:
    async def main(sim: Sim) -> None:
        async def failing() -> None:
            raise LookupError("nobody looks")

        sim.host("h").start(failing(), name="quiet")
        await sim.clock.sleep(1e6)

    outcome = run(main, 1)
    assert isinstance(outcome.error, UnhandledError)
    assert isinstance(outcome.error.__cause__, LookupError)
    assert "quiet" in str(outcome.error)
    assert outcome.virtual_s == 0


def test_a_failed_task_that_is_still_held_at_the_end_is_seen() -> None:
    async def main(sim: Sim) -> None:
        async def failing() -> None:
            raise LookupError("nobody looks")

        held: list[object] = [asyncio.create_task(failing())]
        held.append(held)
        await sim.clock.sleep(1)

    outcome = run(main, 1)
    assert isinstance(outcome.error, UnhandledError)


def test_a_callback_that_fails_ends_the_run() -> None:
    async def main(sim: Sim) -> None:
        sim.loop.call_later(1, int, "three")
        await sim.clock.sleep(1e6)

    outcome = run(main, 1)
    assert isinstance(outcome.error, UnhandledError)
    assert isinstance(outcome.error.__cause__, ValueError)
    assert outcome.virtual_s == 1


def test_what_runs_at_the_end_is_dropped_without_a_word() -> None:
    heard: list[str] = []

    async def main(sim: Sim) -> str:
        async def stubborn() -> None:
            try:
                await sim.clock.sleep(100)
            finally:
                try:
                    await sim.clock.sleep(1)
                    heard.append("after the end")
                finally:
                    await asyncio.sleep(0)
                    heard.append("after the end")

        async def unfinished() -> None:
            async with asyncio.TaskGroup() as group, asyncio.timeout(5):
                group.create_task(stubborn())
                async for _ in ticks(sim, 100):
                    await sim.clock.sleep(1)

        sim.world.start(unfinished())
        sim.world.start(stubborn())
        await sim.clock.sleep(2)
        sim.world.start(stubborn())
        return "done"

    assert run(main, 1).result() == "done"
    assert heard == []


# --- what is outside stays outside ----------------------------------------------------------------------------------


async def blocking() -> None:
    await asyncio.to_thread(print)


async def dialling() -> None:
    await asyncio.open_connection("localhost", 1)


async def serving() -> None:
    await asyncio.start_server(lambda reader, writer: None, "localhost", 0)


async def forking() -> None:
    await asyncio.create_subprocess_exec("true")


async def resolving() -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 1)


async def watching() -> None:
    asyncio.get_running_loop().add_reader(0, print)


@pytest.mark.parametrize(
    ("reach", "name"),
    [
        (blocking, "run_in_executor"),
        (dialling, "create_connection"),
        (serving, "create_server"),
        (forking, "subprocess_exec"),
        (resolving, "getaddrinfo"),
        (watching, "add_reader"),
    ],
)
def test_threads_sockets_and_processes_are_fenced(reach: object, name: str) -> None:
    async def main(sim: Sim) -> None:
        assert callable(reach)
        await reach()

    error = run(main, 1).error
    assert isinstance(error, UnsimulatedError)
    assert str(error).startswith(f"{name} reaches outside")


def test_a_thread_that_calls_in_ends_the_run() -> None:
    refused: list[BaseException] = []

    async def main(sim: Sim) -> None:
        def call() -> None:
            try:
                sim.loop.call_soon_threadsafe(print)
            except UnsimulatedError as error:
                refused.append(error)

        thread = threading.Thread(target=call, name="stranger")
        thread.start()
        thread.join()
        await sim.clock.sleep(1)

    error = run(main, 1).error
    assert isinstance(error, UnsimulatedError)
    assert "stranger" in str(error)
    assert refused == [error]


def test_the_loops_own_thread_may_call_threadsafe() -> None:
    async def main(sim: Sim) -> bool:
        called = asyncio.Event()
        sim.loop.call_soon_threadsafe(called.set)
        return await called.wait()

    assert run(main, 1).result()
