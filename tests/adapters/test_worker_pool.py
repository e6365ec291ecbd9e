from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from blake3 import blake3

from onex.adapters.forked_workers import ForkedWorkers
from onex.adapters.worker_pool import WorkerPool
from onex.kernel.errors import DependencyResolutionError, EffectFailed, EngineClosed
from tests.adapters.inline_workers import InlineWorkers

ENTRY = "tests.adapters.worker_tasks:run"
ROOT = Path(__file__).resolve().parents[2]


def at(function: str, app: object = "") -> tuple[str, str, str, str]:
    return (str(app), "code", "flow", function)


Body = Callable[[WorkerPool], Awaitable[None]]
OnPool = Callable[[Body, int], None]


@pytest.fixture(scope="module")
def on_pool() -> Iterator[OnPool]:
    """Runs a test on a pool of one or two workers; most tests share these pools, as long as an engine's would live."""
    pools = {size: WorkerPool(ForkedWorkers(ENTRY), max_workers=size) for size in (1, 2)}
    with asyncio.Runner() as runner:
        yield lambda body, size: runner.run(asyncio.wait_for(body(pools[size]), 20))
        for pool in pools.values():
            runner.run(pool.close(grace_s=0))


async def failure(
    pool: WorkerPool | InlineWorkers, function: str, payload: bytes = b"", app: object = ""
) -> EffectFailed:
    with pytest.raises(EffectFailed) as caught:
        await pool.run(at(function, app), payload, {})
    return caught.value


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


def stat(pid: str | bytes) -> tuple[str, int]:
    """State letter and parent of a process."""
    state, parent = Path(f"/proc/{int(pid)}/stat").read_text().rpartition(") ")[2].split()[:2]
    return state, int(parent)


def running(mark: str) -> dict[int, str]:
    """Processes, zombies aside, whose environment holds the mark: a whole tree, whoever its parents are by now."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                marked = mark.encode() in (entry / "environ").read_bytes()
                if marked and stat(entry.name)[0] not in "ZX":
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")[:80]
            except OSError:
                continue
    return found


# --- answers ----------------------------------------------------------------------------------------------------------


def test_bytes_go_in_and_come_back_with_the_blobs_made(on_pool: OnPool) -> None:
    async def body(pool: WorkerPool) -> None:
        assert await pool.run(at("echo"), b"\x00payload", {}) == (b"\x00payload", ())
        large = b"ab" * 1_000_000
        digest = blake3(large).digest()
        result, (made,) = await pool.run(at("upper"), digest, {digest: large})
        assert result == b"{}"
        assert made == (blake3(large.upper()).digest(), "text/plain", large.upper())

    on_pool(body, 2)


def test_many_tasks_share_few_workers_and_each_gets_its_own_answer(on_pool: OnPool) -> None:
    async def body(pool: WorkerPool) -> None:
        texts = [str(n).encode() for n in range(200)]
        answers = await asyncio.gather(*(pool.run(at("echo"), text, {}) for text in texts))
        assert [answer for answer, _ in answers] == texts
        pids = {(await pool.run(at("pid"), b"", {}))[0] for _ in range(20)}
        assert 1 <= len(pids) <= 2

    on_pool(body, 2)


def test_what_a_function_prints_goes_to_stderr_and_disturbs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        pool = WorkerPool(ForkedWorkers(ENTRY))
        assert await pool.run(at("chatter"), b"kept", {}) == (b"kept", ())
        await pool.close()

    asyncio.run(main())
    out, err = capfd.readouterr()
    assert out == ""
    for line in ("said to stdout", "said to stderr", "a warning", "written to 1"):
        assert line in err


@pytest.mark.parametrize("kind", ["pool", "inline"])
def test_an_exception_comes_back_as_words_with_type_message_and_place(on_pool: OnPool, kind: str) -> None:
    async def body(pool: WorkerPool | InlineWorkers) -> None:
        app = ROOT / "tests"
        raised = await failure(pool, "raise", app=app)
        assert raised.message.startswith("raise raised Unpicklable: of a class of its own at adapters/worker_tasks.py:")
        assert (raised.reason, raised.retry) == ("raised", False)
        assert "worker_tasks.py:" in raised.trace.splitlines()[-1]
        assert (await failure(pool, "exit", app=app)).message.startswith(
            "exit raised SystemExit: 3 at adapters/worker_"
        )
        told = await failure(pool, "fail")
        assert (told.message, told.reason, told.retry) == ("the far side is busy", "busy", True)
        assert (await failure(pool, "missing")).reason == "algorithm_not_found"
        assert await pool.run(at("echo"), b"still here", {}) == (b"still here", ())

    if kind == "inline":
        asyncio.run(body(InlineWorkers(ENTRY)))
    else:
        on_pool(body, 1)


def test_whatever_a_function_raises_or_does_to_its_process_the_pool_goes_on(on_pool: OnPool) -> None:
    async def body(pool: WorkerPool) -> None:
        before, _ = await pool.run(at("pid"), b"", {})
        told = await failure(pool, "mistyped")
        assert (told.message, told.reason, told.retry) == ("EffectFailed: x", "effect_failed", False)
        told = await failure(pool, "surrogate")
        assert (told.message, told.reason) == (r"\udc80 bad", r"\udc80")
        assert (await failure(pool, "ctrl_c")).message.startswith("ctrl_c raised KeyboardInterrupt at ")
        assert await pool.run(at("fork"), b"once", {}) == (b"once", ())
        assert await pool.run(at("echo"), b"its own answer", {}) == (b"its own answer", ())  # not the child's
        assert await pool.run(at("mute"), b"kept", {}) == (b"kept", ())
        assert (await pool.run(at("pid"), b"", {}))[0] == before

    on_pool(body, 1)


def test_a_worker_whose_own_child_lives_is_missed_at_once(on_pool: OnPool) -> None:
    async def body(pool: WorkerPool) -> None:
        assert (await failure(pool, "fork_and_die")).reason == "killed_its_worker"

    on_pool(body, 1)


def test_a_function_that_recurses_too_deep_has_failed_and_its_worker_goes_on(on_pool: OnPool) -> None:
    async def body(pool: WorkerPool) -> None:
        before, _ = await pool.run(at("pid"), b"", {})
        assert "raised RecursionError" in (await failure(pool, "recurse")).message
        assert (await pool.run(at("pid"), b"", {}))[0] == before

    on_pool(body, 1)


# --- deaths and time-outs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "told"), [("die", "exit code 9"), ("segfault", "signal 11: Segmentation fault")])
def test_a_task_that_kills_its_workers_fails_alone_and_its_neighbours_notice_nothing(
    on_pool: OnPool, function: str, told: str
) -> None:
    async def body(pool: WorkerPool) -> None:
        before = pool.deaths
        neighbours = asyncio.gather(*(pool.run(at("sleep"), b"0.02", {}) for _ in range(10)))
        killer = await failure(pool, function)
        assert await neighbours == [(b"slept", ())] * 10
        assert (killer.reason, killer.retry) == ("killed_its_worker", False)
        assert f"flow.{function} killed its worker 3 times ({told}; {told}; {told})" in killer.message
        assert pool.deaths == before + 3

    on_pool(body, 2)


def test_a_task_whose_worker_dies_once_is_done_by_another(on_pool: OnPool, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        before = pool.deaths
        assert await pool.run(at("die_once", tmp_path / "flag"), b"", {}) == (b"second time", ())
        assert pool.deaths == before + 1

    on_pool(body, 2)


def test_a_worker_killed_while_idle_costs_no_task_anything(on_pool: OnPool) -> None:
    async def body(pool: WorkerPool) -> None:
        pid, _ = await pool.run(at("pid"), b"", {})
        os.kill(int(pid), signal.SIGKILL)
        await until(lambda: stat(pid)[0] == "Z")
        other, _ = await pool.run(at("pid"), b"", {})
        assert other != pid

    on_pool(body, 1)


def test_a_dead_fork_server_is_replaced_and_no_task_is_lost(on_pool: OnPool) -> None:
    async def body(pool: WorkerPool) -> None:
        pid, _ = await pool.run(at("pid"), b"", {})
        _, server = stat(pid)
        waiting = asyncio.gather(*(pool.run(at("sleep"), b"0.2", {}) for _ in range(4)))
        await asyncio.sleep(0.05)
        os.kill(server, signal.SIGKILL)
        assert await waiting == [(b"slept", ())] * 4

    on_pool(body, 2)


@pytest.mark.parametrize("function", ["sleep", "hold_the_lock"])
def test_a_task_over_its_time_is_stopped_and_the_next_gets_a_new_worker(
    on_pool: OnPool, function: str, tmp_path: Path
) -> None:
    async def body(pool: WorkerPool) -> None:
        before, _ = await pool.run(at("pid"), b"", {})
        with pytest.raises(EffectFailed, match=rf"flow.{function} was stopped after 0.1 s") as caught:
            await pool.run(at(function, tmp_path / "flag"), b"60", {}, 0.1)
        assert (caught.value.reason, caught.value.retry) == ("timed_out", True)
        after, _ = await pool.run(at("pid"), b"", {})
        assert after != before
        with pytest.raises(FileNotFoundError):
            stat(before)

    on_pool(body, 1)


def test_a_cancelled_task_frees_its_worker_whether_it_ran_or_waited(on_pool: OnPool) -> None:
    async def body(pool: WorkerPool) -> None:
        before, _ = await pool.run(at("pid"), b"", {})
        ran = asyncio.create_task(pool.run(at("sleep"), b"60", {}))
        await asyncio.sleep(0.05)
        waited = asyncio.create_task(pool.run(at("sleep"), b"60", {}))
        await asyncio.sleep(0)
        for task in (waited, ran):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        after, _ = await pool.run(at("pid"), b"", {})
        assert after != before

    on_pool(body, 1)


def test_tasks_cancelled_at_any_moment_leave_the_pool_whole(on_pool: OnPool) -> None:
    async def body(pool: WorkerPool) -> None:
        for turn in range(60):
            tasks = [asyncio.create_task(pool.run(at("echo"), b"x", {})) for _ in range(3)]
            for _ in range(turn % 15):
                await asyncio.sleep(0)
            tasks[turn % 3].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert await asyncio.gather(*(pool.run(at("echo"), b"y", {}) for _ in range(8))) == [(b"y", ())] * 8

    on_pool(body, 2)


def test_a_pool_closed_at_any_moment_of_its_start_closes() -> None:
    async def main(turns: int) -> None:
        pool = WorkerPool(ForkedWorkers(ENTRY), max_workers=3)
        tasks = [asyncio.create_task(pool.run(at("echo"), b"x", {})) for _ in range(3)]
        await pool.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        await pool.close(grace_s=0)
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            assert answer == (b"x", ()) or isinstance(answer, EngineClosed)

    for turns in (0, 4, 12):
        asyncio.run(main(turns))


# --- start and end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["no.such.module:run", "tests.adapters.worker_tasks:missing"])
def test_an_entry_that_cannot_be_loaded_is_named_at_the_start(entry: str) -> None:
    async def main() -> None:
        pool = WorkerPool(ForkedWorkers(entry))
        try:
            with pytest.raises(DependencyResolutionError, match=f"'{entry}' cannot be loaded"):
                await pool.start()
            with pytest.raises(DependencyResolutionError):
                await pool.run(at("echo"), b"", {})
        finally:
            await pool.close()

    asyncio.run(main())


def test_close_lets_a_running_task_end_and_refuses_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = uuid4().hex
    monkeypatch.setenv("ONEX_TEST_MARK", mark)

    async def main() -> None:
        pool = WorkerPool(ForkedWorkers(ENTRY), max_workers=1)
        await pool.start()
        runs = asyncio.create_task(pool.run(at("sleep"), b"0.2", {}))
        await asyncio.sleep(0.05)
        waits = asyncio.create_task(pool.run(at("echo"), b"", {}))
        await asyncio.sleep(0)
        await asyncio.gather(pool.close(grace_s=10), pool.close())
        assert await runs == (b"slept", ())
        with pytest.raises(EngineClosed):
            await waits
        with pytest.raises(EngineClosed):
            await pool.run(at("echo"), b"", {})
        assert running(mark) == {}

    asyncio.run(main())


def test_close_ends_what_does_not_end_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mark = uuid4().hex
    monkeypatch.setenv("ONEX_TEST_MARK", mark)

    async def main() -> None:
        pool = WorkerPool(ForkedWorkers(ENTRY))
        held = asyncio.create_task(pool.run(at("hold_the_lock", tmp_path / "held"), b"", {}))
        child = asyncio.create_task(pool.run(at("own_child", tmp_path / "child"), b"", {}))
        await until(lambda: (tmp_path / "held").exists() and (tmp_path / "child").exists())
        await until(lambda: len(running(mark)) == 4)  # the child's child may not have begun yet
        await pool.close(grace_s=0.01)
        for task in (held, child):
            with pytest.raises(EngineClosed):
                await task
        assert running(mark) == {}

    asyncio.run(main())


ENGINE = """
    import asyncio, sys
    from onex.adapters.forked_workers import ForkedWorkers
    from onex.adapters.worker_pool import WorkerPool

    async def main():
        pool = WorkerPool(ForkedWorkers("tests.adapters.worker_tasks:run"), max_workers=4)
        at = lambda function, name="": (sys.argv[1] + name, "code", "flow", function)
        busy = [("sleep", ""), ("hold_the_lock", "/held"), ("own_child", "/child")]
        tasks = [asyncio.create_task(pool.run(at(*names), b"60", {})) for names in busy]
        await pool.run(at("echo"), b"", {})
        print("up", flush=True)
        try:
            await asyncio.sleep(60)
        finally:
            await pool.close(grace_s=0)
            await asyncio.gather(*tasks, return_exceptions=True)

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("closed", flush=True)
"""


def engine(tmp_path: Path, mark: str) -> subprocess.Popen[str]:
    """A script without an ``if __name__`` guard, in a process group of its own, with busy workers."""
    script = tmp_path / "engine.py"
    script.write_text(textwrap.dedent(ENGINE))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "ONEX_TEST_MARK": mark, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    asyncio.run(until(lambda: (tmp_path / "held").exists() and (tmp_path / "child").exists()))
    # engine, server, four workers, the child of one; a process that begins another program shows no environment for a moment
    asyncio.run(until(lambda: len(running(mark)) == 7))
    return process


def test_after_sigkill_of_the_engine_no_process_of_it_is_alive_two_seconds_later(tmp_path: Path) -> None:
    mark = uuid4().hex
    with engine(tmp_path, mark) as process:
        process.kill()
        process.wait()
        deadline = time.monotonic() + 2
        while running(mark) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert running(mark) == {}
        assert process.communicate() == ("", "")


def test_ctrl_c_ends_everything_without_a_word_from_the_workers(tmp_path: Path) -> None:
    mark = uuid4().hex
    with engine(tmp_path, mark) as process:
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert (out, err, process.returncode) == ("closed\n", "", 0)
        assert running(mark) == {}


def test_signals_meant_for_the_engine_do_not_end_a_worker(on_pool: OnPool) -> None:
    async def body(pool: WorkerPool) -> None:
        pid, _ = await pool.run(at("pid"), b"", {})
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(int(pid), number)
        assert (await pool.run(at("pid"), b"", {}))[0] == pid

    on_pool(body, 1)
