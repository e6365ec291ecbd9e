from __future__ import annotations

from uuid import UUID

from onex.ports import Clock, Ids
from onex.simulation.clock import EPOCH_US
from onex.simulation.seeded_run import Sim, run


def test_the_clock_and_the_ids_of_a_host_are_the_engines_ports() -> None:
    async def main(sim: Sim) -> tuple[int, int]:
        host = sim.host("h")
        clock: Clock = host.clock
        ids: Ids = host.ids
        before = clock.now_us()
        await clock.sleep(1.5)
        return clock.now_us() - before, len(ids.new())

    assert run(main, 1).result() == (1_500_000, 16)


def test_time_begins_in_2026_and_stands_still_while_code_runs() -> None:
    async def main(sim: Sim) -> list[int]:
        return [sim.clock.now_us() for _ in range(3)]

    assert run(main, 1).result() == [EPOCH_US] * 3


def test_skew_moves_the_wall_clock_of_one_host_and_no_duration() -> None:
    async def main(sim: Sim) -> None:
        ahead, behind = sim.host("ahead", skew_s=12), sim.host("behind", skew_s=-12)
        assert ahead.clock.now_us() - behind.clock.now_us() == 24_000_000
        start = ahead.clock.monotonic()
        await ahead.clock.sleep(10)
        assert ahead.clock.monotonic() - start == 10
        ahead.clock.skew_s = -60
        assert ahead.clock.now_us() == sim.clock.now_us() - 60_000_000
        assert ahead.clock.monotonic() - start == 10

    run(main, 1).result()


def test_a_clock_that_drifts_gains_or_loses_and_one_that_is_frozen_stands() -> None:
    async def main(sim: Sim) -> None:
        host = sim.host("h")
        await sim.clock.sleep(5)
        for drift, passed_us in ((0.01, 101_000_000), (-0.5, 50_000_000), (-1.0, 0)):
            host.clock.set(0.0, drift)
            before_us, start_s = host.clock.now_us(), host.clock.monotonic()
            assert before_us == sim.clock.now_us()
            await host.clock.sleep(100)
            assert host.clock.now_us() - before_us == passed_us
            assert host.clock.monotonic() - start_s == 100

    run(main, 1).result()


def test_who_sleeps_until_a_deadline_gets_there() -> None:
    """Of a wait too short for the clock's floats nothing would be left, and this would circle for ever."""

    async def main(sim: Sim) -> None:
        host = sim.host("h")
        await sim.clock.sleep(1e7)
        deadline = host.clock.monotonic() + 1e-6
        while host.clock.monotonic() < deadline:
            await host.clock.sleep((deadline - host.clock.monotonic()) / 1e6)

    run(main, 1, max_steps=5_000).result()


def test_no_wait_gives_way_once() -> None:
    async def main(sim: Sim) -> float:
        await sim.clock.sleep(0)
        await sim.clock.sleep(-5)
        return sim.loop.time()

    outcome = run(main, 1)
    assert outcome.result() == 0


def test_ids_are_version_7_of_the_hosts_clock() -> None:
    async def main(sim: Sim) -> tuple[int, UUID]:
        host = sim.host("h", skew_s=3)
        await sim.clock.sleep(5)
        return host.clock.now_us() // 1000, UUID(bytes=host.ids.new())

    ms, new = run(main, 1).result()
    assert new.version == 7
    assert new.variant == "specified in RFC 4122"
    assert new.int >> 80 == ms


def test_ids_rise_in_one_instant_and_when_the_clock_falls() -> None:
    async def main(sim: Sim) -> list[bytes]:
        host = sim.host("h")
        new = [host.ids.new() for _ in range(10_000)]
        host.clock.skew_s = -3600
        new += [host.ids.new() for _ in range(10_000)]
        await sim.clock.sleep(4000)
        return [*new, host.ids.new()]

    new = run(main, 1).result()
    assert new == sorted(set(new))


def test_ids_and_chance_follow_from_seed_host_and_boot() -> None:
    async def main(sim: Sim) -> list[tuple[bytes, float]]:
        drawn = []
        for name in ("a", "b", "a"):
            host = sim.host(name)
            drawn.append((host.ids.new(), host.rng.random()))
            host.crash()
        return drawn

    first, again, other = (run(main, seed).result() for seed in (1, 1, 2))
    assert first == again
    assert len({*first, *other}) == 6
