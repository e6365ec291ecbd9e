"""What a WorkerPool on a real Ray does, in a process of its own: ``python -m tests.adapters.ray_child WHERE FOLDER``.

Each scenario has assertions. One line of JSON says of each 'ok', or how it failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from onex.adapters.ray_workers import RayWorkers
from onex.adapters.worker_pool import WorkerPool
from onex.kernel.errors import DependencyResolutionError, EffectFailed, EngineClosed
from onex.nodes.compute import address_of
from onex.nodes.compute_call import ComputeCall
from onex.wiring.compute_workers import WORKER_ENTRY
from tests.nodes.algorithms import Rows, fatal, score

ENTRY = "tests.adapters.worker_tasks:run"


def at(function: str, app: object = "") -> tuple[str, str, str, str]:
    return (str(app), "code", "flow", function)


def is_alive(pid: bytes) -> bool:
    try:
        return Path(f"/proc/{int(pid)}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(6000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


async def failure(pool: WorkerPool, function: str, payload: bytes = b"", bound_s: float | None = None) -> EffectFailed:
    try:
        await pool.run(at(function), payload, {}, bound_s)
    except EffectFailed as failed:
        return failed
    raise AssertionError(f"{function} did not fail")


async def bytes_go_in_and_come_back(pool: WorkerPool, folder: Path) -> None:
    texts = [str(n).encode() * 1000 for n in range(50)]
    answers = await asyncio.gather(*(pool.run(at("echo"), text, {}) for text in texts))
    assert [answer for answer, _ in answers] == texts
    large = b"ab" * 500_000
    _, (made,) = await pool.run(at("upper"), b"name", {b"name": large})
    assert made.data == large.upper()
    assert len({(await pool.run(at("pid"), b"", {}))[0] for _ in range(10)}) <= 2


async def a_failure_comes_back_as_words(pool: WorkerPool, folder: Path) -> None:
    raised = await failure(pool, "raise")
    assert raised.message.startswith("raise raised Unpicklable: of a class of its own at "), raised.message
    assert (raised.reason, raised.retry) == ("raised", False)
    told = await failure(pool, "fail")
    assert (told.message, told.reason, told.retry) == ("the far side is busy", "busy", True)
    assert (await failure(pool, "missing")).reason == "algorithm_not_found"
    assert "SystemExit: 3" in (await failure(pool, "exit")).message


async def a_task_that_kills_its_workers_fails_alone(pool: WorkerPool, folder: Path) -> None:
    before = pool.deaths
    neighbours = asyncio.gather(*(pool.run(at("sleep"), b"0.02", {}) for _ in range(10)))
    killer = await failure(pool, "die")
    assert (killer.reason, killer.retry) == ("killed_its_worker", False)
    assert await neighbours == [(b"slept", ())] * 10
    assert pool.deaths == before + 3
    assert await pool.run(at("die_once", folder / "flag"), b"", {}) == (b"second time", ())
    assert pool.deaths == before + 4


async def a_worker_killed_while_idle_costs_no_task_a_try(pool: WorkerPool, folder: Path) -> None:
    for _ in range(4):  # one more than a task may cost
        pid, _ = await pool.run(at("pid"), b"", {})
        os.kill(int(pid), signal.SIGKILL)
        await until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]  # bound now
    assert await pool.run(at("echo"), b"still", {}) == (b"still", ())


async def a_task_over_its_time_is_stopped(pool: WorkerPool, folder: Path) -> None:
    pids = {(await pool.run(at("pid"), b"", {}))[0] for _ in range(4)}
    for _ in range(2):  # on both workers, if there are two
        late = await failure(pool, "sleep", b"60", 0.2)
        assert (late.reason, late.retry) == ("timed_out", True)
        assert "was stopped after 0.2 s" in late.message
    await until(lambda: not any(map(is_alive, pids)))


async def a_cancelled_task_frees_its_worker(pool: WorkerPool, folder: Path) -> None:
    tasks = [asyncio.create_task(pool.run(at("sleep"), b"60", {})) for _ in range(5)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    assert all(isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*tasks, return_exceptions=True))
    assert await pool.run(at("echo"), b"free", {}) == (b"free", ())


SHARED = (
    bytes_go_in_and_come_back,
    a_failure_comes_back_as_words,
    a_task_that_kills_its_workers_fails_alone,
    a_worker_killed_while_idle_costs_no_task_a_try,
    a_task_over_its_time_is_stopped,
    a_cancelled_task_frees_its_worker,
)


async def a_killed_worker_costs_a_retry_of_its_part(where: str, folder: Path) -> None:
    pool = WorkerPool(RayWorkers(WORKER_ENTRY, where, 2), max_workers=2)
    try:
        told: list[tuple[int, int]] = []
        call = ComputeCall(pool, address_of(fatal), fatal)
        done = await call.run(Rows(rows=list(range(12)), sign=folder), {}, lambda n, of: told.append((n, of)))
        assert json.loads(done.encoded) == {"scores": list(range(12))}
        assert [n for n, of in told] == [1, 2, 3, 4, 5, 6], "progress"
        ran = sorted((folder / "ran").read_text().split("\n")[:-1])
        assert [part for part in ran if ran.count(part) > 1] == ["[6, 7]", "[6, 7]"], ran
        assert (pool.deaths, len(ran)) == (1, 7)
        assert json.loads((await ComputeCall(pool, address_of(score), score).run(Rows(rows=[1, 2]), {})).encoded)
    finally:
        await pool.close()


async def an_entry_that_is_not_there_is_named(where: str, folder: Path) -> None:
    pool = WorkerPool(RayWorkers("no.such.module:run", where, 2), max_workers=1)
    try:
        await pool.run(at("echo"), b"", {})
    except DependencyResolutionError as error:
        assert "'no.such.module:run' cannot be loaded" in error.message
    else:
        raise AssertionError("it was loaded")
    finally:
        await pool.close()


async def close_ends_what_runs_and_what_waits(where: str, folder: Path) -> None:
    pool = WorkerPool(RayWorkers(ENTRY, where, 2), max_workers=8)  # more than there are processors
    pid, _ = await pool.run(at("pid"), b"", {})
    tasks = [asyncio.create_task(pool.run(at("sleep"), b"60", {})) for _ in range(4)]
    await asyncio.sleep(0.1)
    await pool.close(grace_s=0.01)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, EngineClosed) for one in ends), ends
    await until(lambda: not is_alive(pid))


async def main(where: str, folder: Path) -> dict[str, str]:
    said: dict[str, str] = {}

    async def tried(name: str, body: Awaitable[None]) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(120):
                await body
            said[name] = "ok"
        except Exception:
            said[name] = traceback.format_exc()
        print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr)

    pool = WorkerPool(RayWorkers(ENTRY, where, 2), max_workers=2)
    await pool.start()
    print("connected", file=sys.stderr, flush=True)
    for scenario in SHARED:
        await tried(scenario.__name__, scenario(pool, folder))
    await pool.close()
    if where == "ray":
        return said  # another Ray for each of the others would take too long
    for own in (
        a_killed_worker_costs_a_retry_of_its_part,
        an_entry_that_is_not_there_is_named,
        close_ends_what_runs_and_what_waits,
    ):
        await tried(own.__name__, own(where, folder))
    return said


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], Path(sys.argv[2])))))
