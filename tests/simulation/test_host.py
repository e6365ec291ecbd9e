from __future__ import annotations

import asyncio
import gc

import pytest

from onex.simulation.host import Host, HostCrashed, SimulationError, current_host
from onex.simulation.loop import DeadlockError, UnhandledError
from onex.simulation.seeded_run import Sim, run


class Log:
    """A port of the world: what is written here outlasts every host, and a dead host cannot write."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(f"{current_host().label} {line}")


async def beat(sim: Sim, log: Log) -> None:
    while True:
        log.write(f"{sim.loop.time():.0f}")
        await sim.clock.sleep(1)


@pytest.mark.parametrize("seed", range(10))
def test_no_step_of_a_host_runs_after_its_crash_and_neighbours_go_on(seed: int) -> None:
    log = Log()

    async def tree(sim: Sim) -> None:
        sim.loop.call_later(3.5, log.write, "timer")
        async with asyncio.TaskGroup() as group:
            group.create_task(beat(sim, log))
            group.create_task(beat(sim, log))

    async def main(sim: Sim) -> None:
        first, second = sim.host("first"), sim.host("second")
        first.start(tree(sim))
        second.start(tree(sim))
        await sim.clock.sleep(2.5)
        first.crash()
        await sim.clock.sleep(4)

    outcome = run(main, seed)
    outcome.result()
    assert sorted(line for line in log.lines if line.startswith("first")) == ["first.1 0", "first.1 0"] + [
        f"first.1 {second}" for second in (1, 1, 2, 2)
    ]
    assert sum(line.startswith("second.1") for line in log.lines) == 2 * 7 + 1
    assert "second.1 timer" in log.lines


@pytest.mark.parametrize("seed", range(10))
def test_a_crash_runs_no_finally_and_no_except_of_the_host(seed: int) -> None:
    heard: list[str] = []

    async def careful(sim: Sim) -> None:
        try:
            await sim.clock.sleep(10)
        except BaseException as error:
            heard.append(f"except {type(error).__name__}")
            raise
        finally:
            heard.append("finally")
            await sim.clock.sleep(0)
            heard.append("after finally")

    async def main(sim: Sim) -> int:
        host = sim.host("h")
        host.start(careful(sim))
        await sim.clock.sleep(1)
        host.crash()
        await sim.clock.sleep(100)
        return len(heard)

    assert run(main, seed).result() == 0
    assert "after finally" not in heard


def test_what_dead_code_tries_when_it_is_closed_every_port_refuses() -> None:
    log, refused = Log(), []

    async def last_words(sim: Sim, name: str) -> None:
        try:
            await sim.clock.sleep(100)
        finally:
            try:
                log.write("last words")
            except BaseException as error:
                refused.append(f"{name} {type(error).__name__}")
            await asyncio.create_task(last_words(sim, "child"))

    async def main(sim: Sim) -> None:
        host = sim.host("h")
        host.start(last_words(sim, "crashed"))
        sim.host("k").start(last_words(sim, "running at the end"))
        await sim.clock.sleep(1)
        host.crash()
        await sim.clock.sleep(1)

    run(main, 1).result()
    assert log.lines == []
    assert refused == ["crashed HostCrashed", "running at the end HostCrashed"]


@pytest.mark.parametrize("seed", range(5))
def test_who_waits_for_a_task_of_a_dead_host_gets_host_crashed(seed: int) -> None:
    async def main(sim: Sim) -> str:
        host = sim.host("h")
        task = host.spawn(sim.clock.sleep(1e6))
        sim.loop.call_later(1, host.crash)
        with pytest.raises(HostCrashed):
            await task
        return f"crashed at {sim.loop.time()}"

    assert run(main, seed).result() == "crashed at 1.0"


def test_timers_of_a_dead_host_do_not_move_time() -> None:
    async def main(sim: Sim) -> None:
        host = sim.host("h")
        host.start(sim.clock.sleep(1e6))
        await sim.clock.sleep(1)
        host.crash()
        await sim.loop.create_future()

    outcome = run(main, 1)
    assert outcome.virtual_s == 1
    assert "1 tasks wait" in str(outcome.error)


@pytest.mark.parametrize("seed", range(5))
def test_a_host_that_dies_inside_a_port_goes_no_further(seed: int) -> None:
    log = Log()

    async def commit(sim: Sim) -> None:
        log.write("committed")
        await current_host().die()

    async def engine(sim: Sim) -> None:
        try:
            await commit(sim)
            log.write("acknowledged")
        except BaseException:
            log.write("caught")
        finally:
            log.write("cleaned up")

    async def main(sim: Sim) -> None:
        host = sim.host("h")
        with pytest.raises(HostCrashed):
            await host.spawn(engine(sim))
        assert not host.alive
        await sim.clock.sleep(1)

    run(main, seed).result()
    assert log.lines == ["h.1 committed"]


def test_a_crash_by_the_hosts_own_hand_unwinds_it_past_except_exception() -> None:
    log, caught = Log(), []

    async def engine(sim: Sim) -> None:
        while True:
            try:
                log.write("step")
                current_host().crash()
                caught.append("went on")
            except Exception:
                caught.append("caught")

    async def main(sim: Sim) -> None:
        host = sim.host("h")
        with pytest.raises(HostCrashed):
            await host.spawn(engine(sim))
        await sim.clock.sleep(1)

    run(main, 1).result()
    assert log.lines == ["h.1 step"]
    assert caught == []


def test_only_the_host_itself_can_die() -> None:
    async def main(sim: Sim) -> None:
        await sim.host("h").die()

    assert isinstance(run(main, 1).error, SimulationError)


def test_work_begun_in_the_world_goes_on_when_its_caller_dies() -> None:
    async def main(sim: Sim) -> list[str]:
        done: list[str] = []

        async def transaction() -> None:
            await sim.clock.sleep(2)
            done.append("committed")

        async def engine() -> None:
            await asyncio.shield(sim.world.spawn(transaction()))
            done.append("told")

        host = sim.host("h")
        host.start(engine())
        await sim.clock.sleep(1)
        host.crash()
        await sim.clock.sleep(5)
        return done

    assert run(main, 1).result() == ["committed"]


def test_a_message_through_a_queue_reaches_the_living_only() -> None:
    log = Log()

    async def main(sim: Sim) -> None:
        inboxes: dict[Host, asyncio.Queue[str]] = {}

        async def serve(host: Host) -> None:
            while True:
                log.write(await inboxes[host].get())

        for name in ("a", "b"):
            host = sim.host(name)
            inboxes[host] = asyncio.Queue()
            host.start(serve(host))
        dead, alive = inboxes
        await sim.clock.sleep(1)
        dead.crash()
        for inbox in inboxes.values():
            inbox.put_nowait("hello")
        await sim.clock.sleep(1)
        assert alive.alive

    run(main, 1).result()
    assert log.lines == ["b.1 hello"]


def test_a_host_boots_again_under_its_name_with_nothing_of_its_past() -> None:
    log = Log()

    async def main(sim: Sim) -> tuple[bytes, bytes, float]:
        old = sim.host("h", skew_s=9)
        old.start(beat(sim, log))
        await sim.clock.sleep(0.5)
        old.crash()
        new = sim.host("h")
        new.start(beat(sim, log))
        await sim.clock.sleep(0.1)
        with pytest.raises(HostCrashed):
            old.start(beat(sim, log))
        return old.ids.new(), new.ids.new(), old.clock.monotonic() - new.clock.monotonic()

    before, after, monotonic_gap = run(main, 1).result()
    assert log.lines == ["h.1 0", "h.2 0"]
    assert before != after
    assert monotonic_gap != 0


def test_one_name_is_one_living_host() -> None:
    async def main(sim: Sim) -> None:
        sim.host("h")
        sim.host("h")

    assert "crash it before" in str(run(main, 1).error)


def test_a_crash_twice_is_a_crash_once() -> None:
    async def main(sim: Sim) -> bool:
        host = sim.host("h")
        host.crash()
        host.crash()
        return host.alive

    assert run(main, 1).result() is False


def test_a_started_task_is_kept_alive_by_its_host_alone() -> None:
    async def main(sim: Sim) -> None:
        async def forgotten() -> None:
            await sim.loop.create_future()

        sim.host("h").start(forgotten(), name="forgotten")
        await sim.clock.sleep(1)
        gc.collect()
        await sim.loop.create_future()

    error = run(main, 1).error
    assert isinstance(error, DeadlockError)
    assert "forgotten" in str(error)


def test_the_failure_of_a_task_dies_with_its_host() -> None:
    async def main(sim: Sim) -> None:
        kept: list[asyncio.Task[None]] = []

        async def failing() -> None:
            raise LookupError("nobody looked in time")

        async def engine() -> None:
            kept.append(asyncio.create_task(failing()))
            await sim.clock.sleep(100)

        host = sim.host("h")
        host.start(engine())
        await sim.clock.sleep(1)
        host.crash()
        kept.clear()
        await sim.clock.sleep(1)

    run(main, 1).result()


def test_the_failure_of_a_living_hosts_task_does_not() -> None:
    async def main(sim: Sim) -> None:
        kept: list[asyncio.Task[None]] = []

        async def failing() -> None:
            raise LookupError("nobody looked")

        kept.append(sim.host("h").spawn(failing()))
        await sim.clock.sleep(1)
        kept.clear()
        await sim.clock.sleep(1)

    assert isinstance(run(main, 1).error, UnhandledError)


def test_outside_a_simulation_there_is_no_host() -> None:
    with pytest.raises(SimulationError, match="outside a simulation"):
        current_host()


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt()])
def test_what_a_program_raises_is_its_outcome_and_ends_nobody_else(raised: BaseException) -> None:
    async def main(sim: Sim) -> None:
        raise raised

    assert run(main, 1).error is raised


def test_a_future_of_a_dead_host_that_nobody_looked_at_is_no_failure() -> None:
    kept: list[asyncio.Future[None]] = []

    async def left(sim: Sim) -> None:
        kept.append(asyncio.get_running_loop().create_future())
        kept[0].set_exception(ValueError("nobody looks"))

    async def main(sim: Sim) -> None:
        host = sim.host("mortal")
        host.start(left(sim))
        await sim.clock.sleep(1)
        host.crash()
        kept.clear()
        gc.collect()
        await sim.clock.sleep(1)

    run(main, 1).result()
