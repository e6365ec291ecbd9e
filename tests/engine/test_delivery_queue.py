"""The queue of due work under a wall clock that does not go on: it waits for it, and does not ask ten thousand times a second."""

from __future__ import annotations

import asyncio

from onex.engine.delivery import Delivery
from onex.engine.delivery_queue import LONGEST_NAP_S, LOOK_AGAIN_S, LOOK_FOR_S, DeliveryQueue
from onex.kernel.action import WorkflowKey
from onex.kernel.intent import Emitted, EnumIntentType, IntentSpec
from onex.kernel.intent_fields import EnumIntentPriority
from onex.ports import Pointer
from tests.engine.jobs import Worker, registry

ALARM = IntentSpec("alarm", EnumIntentType.TIMER, trigger="alarm")


class Standing:
    """A clock whose hands stand, and which lets nobody wait for real."""

    def __init__(self) -> None:
        self.at_us = 1_000_000
        self.slept: list[float] = []

    def now_us(self) -> int:
        return self.at_us

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def due(at_us: int) -> Delivery:
    emitted = Emitted(ALARM, None, EnumIntentPriority.NORMAL, at_us)
    at = Pointer(0, 1, 0), WorkflowKey("job", "1"), 1
    return Delivery(registry(Worker(), b"1")["job"], *at, bytes(16), bytes(16), emitted, 0, at_us)


def test_before_a_clock_that_stands_still_the_queue_naps_longer_and_longer() -> None:
    """Seed 769 of the campaign: 0.7 ms before a due time the clock stood, and the engine woke for it 1,400 times a second."""

    async def go() -> None:
        clock = Standing()
        queue = DeliveryQueue(clock, lambda target: None, 10, 60_000_000)
        queue.add(due(clock.at_us + 7))
        for _ in range(20):
            await queue.wake_due(30.0)
        assert clock.slept[0] == 7e-6
        assert clock.slept == sorted(clock.slept)
        assert clock.slept[-1] == LONGEST_NAP_S
        clock.at_us += 7
        await queue.wake_due(30.0)
        assert queue.next_due_us() is None
        assert clock.slept[-1] == 30.0

    asyncio.run(go())


def test_what_was_dropped_in_doubt_and_is_read_again_stands_beside_what_is_left_of_it() -> None:
    """A timer of a commit whose answer was lost is dropped, and read again for the same time. That ended the engine."""

    async def go() -> None:
        queue = DeliveryQueue(Standing(), lambda target: None, 10, 60_000_000)
        for at_us in (1_000_007, 999_999):  # one that is due later, one that is due by now
            first, second = due(at_us), due(at_us)
            queue.add(first)
            queue.withhold([first.pointer])
            queue.doubt([])
            queue.resolve([first.pointer])
            assert queue.add(second)
            assert queue.get(second.pointer) is second
            queue.forget([second.pointer])

    asyncio.run(go())


def test_what_was_dropped_because_the_clock_was_set_back_is_looked_for_each_second() -> None:
    """Seed 743 of a thousand: the clock was set forth again, and a retry that was due waited half a minute for the next look."""

    async def go() -> None:
        clock = Standing()
        clock.at_us = 1_000_000_000
        queue = DeliveryQueue(clock, lambda target: None, 10, 60_000_000)
        queue.add(due(clock.at_us + 5_000_000))
        clock.at_us -= 300_000_000
        await queue.wake_due(30.0)
        assert (len(queue), queue.later_us) == (0, 1_005_000_000)
        await queue.wake_due(30.0)
        assert clock.slept[-1] == LOOK_AGAIN_S
        await clock.sleep(LOOK_FOR_S)
        await queue.wake_due(30.0)
        assert clock.slept[-1] == 30.0

    asyncio.run(go())
