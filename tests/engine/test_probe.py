"""A question that may hang is asked once for all who wait, and none of them waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from onex.engine.probe import Probe


def test_many_who_ask_share_one_question_and_its_answer_stays_fresh() -> None:
    async def go() -> None:
        asked = 0

        async def ask() -> int:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0)
            return asked

        probe = Probe(ask, within_s=60.0, fresh_s=3600.0)
        answers = await asyncio.gather(*(probe.answer() for _ in range(20)))
        assert {answer.value for answer in answers if answer is not None} == {1}
        assert await probe.answer() is answers[0]
        probe.fresh_s = 0.0
        again = await probe.answer()
        assert again is not None and again.value == 2

    asyncio.run(go())


def test_one_that_hangs_is_given_up_by_who_waits_and_goes_on() -> None:
    async def go() -> None:
        answered = asyncio.Event()

        async def ask() -> str:
            await answered.wait()
            return "late"

        probe = Probe(ask, within_s=0.01)
        assert await probe.answer() is None
        assert await probe.answer() is None
        answered.set()
        probe.within_s = 60.0
        late = await probe.answer()
        assert late is not None and late.value == "late"

    asyncio.run(go())


def test_an_error_goes_to_who_waits_and_the_next_asks_anew() -> None:
    async def go() -> None:
        answers: list[int] = []

        async def ask() -> int:
            answers.append(1)
            return 1 // (len(answers) - 1)

        probe = Probe(ask, within_s=60.0)
        with pytest.raises(ZeroDivisionError):
            await probe.answer()
        again = await probe.answer()
        assert again is not None and again.value == 1

    asyncio.run(go())


def test_close_ends_what_hangs() -> None:
    async def go() -> None:
        probe = Probe(asyncio.Event().wait, within_s=0.0)
        assert await probe.answer() is None
        await probe.close()
        await probe.close()
        assert {task.get_name() for task in asyncio.all_tasks()} & {"onex-probe"} == set()

    asyncio.run(go())
