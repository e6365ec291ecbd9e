"""What came from outside: refusals that can be looked up, and the inbox through which other processes submit."""

from __future__ import annotations

import asyncio
from typing import Any

from ...kernel.errors import InvalidPayload, OnexError, PayloadTooLarge
from ...kernel.size_limits import WIRE_BYTES
from ...ports import InboxAnswer, InboxRow, Rejection, RejectionRow, Sender
from .owner import A, action, row
from .suite import Place, Suite, behaviour

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def rejection(name: str, at_us: int, code: str = "illegal_transition", key: str = "orders:a") -> Rejection:
    return Rejection(key, action(name), code, f"{name} at {at_us}", b"body of " + name.encode(), at_us, f"{name}.py:1")


async def _refused(sender: Sender, body: Any) -> OnexError | None:
    try:
        await sender.send(body, 1)
    except OnexError as error:
        return error
    return None


class Refusals(Suite):
    @behaviour
    async def test_a_refusal_can_be_looked_up(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        await owner.commit(owner.change(A, row("a1")), rejections=(rejection("one", 5), rejection("two", 6, key="bus")))
        expected = RejectionRow(
            "orders:a", action("one"), "illegal_transition", "one at 5", b"body of one", 1, 5, 5, "one.py:1"
        )  # fmt: skip
        assert await reader.rejections("orders:a", None, 0, 10) == [expected]
        assert await reader.rejections(None, action("one"), 0, 10) == [expected]
        assert await reader.rejections("orders:a", action("two"), 0, 10) == []
        assert (await owner.stored(A)).version == 1

    @behaviour
    async def test_the_same_refusal_again_is_counted(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        await owner.commit(rejections=(rejection("one", 5), rejection("one", 6)))
        await owner.commit(rejections=(rejection("one", 9), rejection("one", 9, code="guard_failed")))
        found = await reader.rejections("orders:a", None, 0, 10)
        assert sorted((one.code, one.message, one.times, one.first_us, one.last_us) for one in found) == [
            ("guard_failed", "one at 9", 1, 9, 9),
            ("illegal_transition", "one at 9", 3, 5, 9),
        ]

    @behaviour
    async def test_refusals_come_newest_first_in_pages(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        for at_us, name in enumerate(["one", "two", "three", "one"], start=1):
            await owner.commit(rejections=(rejection(name, at_us),))
        names = [no.action_id.decode().strip(".") for no in await reader.rejections(None, None, 0, 10)]
        assert names == ["one", "three", "two"]
        assert await reader.rejections(None, None, 1, 1) == (await reader.rejections(None, None, 0, 10))[1:2]

    @behaviour
    async def test_no_more_than_4096_bytes_of_a_body_are_kept(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        await owner.commit(rejections=(rejection("one", 5)._replace(body=b"x" * 5_000),))
        (no,) = await reader.rejections(None, None, 0, 10)
        assert no.body == b"x" * 4_096

    @behaviour
    async def test_hostile_text_in_a_refusal_costs_the_neighbours_nothing(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        hostile = Rejection("key \ud800", action("one"), "invalid_key", "no \x00 no", b"\xff\x00", 5)
        await owner.commit(owner.change(A, row("a1")), rejections=(hostile,))
        (no,) = await reader.rejections(None, None, 0, 10)
        assert (no.key, no.message, no.body) == ("key \\ud800", "no \\x00 no", b"\xff\x00")
        assert (await owner.stored(A)).version == 1

    @behaviour
    async def test_of_too_many_refusals_the_oldest_leave(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        kept = self.rejections_kept
        await owner.commit(rejections=(rejection("seen again", 0),))
        for number in range(1, kept + 5):
            again = (rejection("seen again", number),) if number == kept else ()
            await owner.commit(rejections=(rejection(f"n{number}", number), *again))
        await owner.commit(rejections=tuple(rejection(f"m{number}", kept + 10 + number) for number in range(3)))
        found = await reader.rejections(None, None, 0, 10 * kept)
        assert len(found) == (await reader.counts()).rejections == kept
        assert min(no.last_us for no in found) == 9
        assert await reader.rejections(None, action("seen again"), 0, 10) != []

    @behaviour
    async def test_refusals_leave_after_seven_days(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        await owner.commit(rejections=(rejection("old", 5), rejection("seen again", 5)), at_us=5)
        await owner.commit(rejections=(rejection("seen again", 3 * DAY_US),), at_us=3 * DAY_US)
        await owner.commit(at_us=8 * DAY_US)
        assert [no.action_id for no in await reader.rejections(None, None, 0, 10)] == [action("seen again")]

    @behaviour
    async def test_what_another_process_sends_is_found_in_order(self, place: Place) -> None:
        sender, owner = await place.open(), await place.owner()
        first, second, third = [await sender.send(b"%d" % number, 100 + number) for number in range(3)]
        assert first < second < third
        assert await owner.store.inbox(0, 10) == [
            InboxRow(first, b"0", 100),
            InboxRow(second, b"1", 101),
            InboxRow(third, b"2", 102),
        ]
        assert [waits.ticket for waits in await owner.store.inbox(first, 1)] == [second]
        assert await sender.answer(first) is None

    @behaviour
    async def test_many_are_sent_together_or_not_at_all(self, place: Place) -> None:
        sender, owner = await place.open(), await place.owner()
        before = await sender.send(b"0", 1)
        tickets = await sender.send_all([b"1", b"2", b"3"], 5)
        assert [*tickets] == sorted({*tickets})
        assert tickets[0] > before
        waiting = await owner.store.inbox(before, 10)
        assert waiting == [InboxRow(tickets[n], body, 5) for n, body in enumerate((b"1", b"2", b"3"))]
        assert [*await sender.send_all([], 6)] == []
        try:
            await sender.send_all([b"4", b"x" * (WIRE_BYTES + 1)], 7)
        except PayloadTooLarge:
            assert await owner.store.inbox(before, 10) == waiting
        else:
            raise AssertionError("a body that is too large was taken")
        await owner.commit(answers=(InboxAnswer(tickets[1], b"applied", 9), InboxAnswer(before, b"first", 9)))
        assert dict(await sender.answers(tickets)) == {tickets[1]: b"applied"}
        assert dict(await sender.answers([99, tickets[1], before])) == {tickets[1]: b"applied", before: b"first"}

    @behaviour
    async def test_what_no_engine_would_take_is_refused_before_it_is_written(self, place: Place) -> None:
        sender, owner = await place.open(), await place.owner()
        strange: list[Any] = [None, "{}", 7, bytearray(b"{}"), ["{}"]]
        for body in strange:
            assert type(await _refused(sender, body)) is InvalidPayload
        assert type(await _refused(sender, b"x" * (WIRE_BYTES + 1))) is PayloadTooLarge
        assert await owner.store.inbox(0, 10) == []
        largest = await sender.send(b"x" * WIRE_BYTES, 1)
        assert [waits.ticket for waits in await owner.store.inbox(0, 10)] == [largest]

    @behaviour
    async def test_an_answer_is_there_once_its_commit_is(self, place: Place) -> None:
        sender, owner = await place.open(), await place.owner()
        first, second = await sender.send(b"1", 1), await sender.send(b"2", 1)
        await owner.commit(owner.change(A, row("a1")), answers=(InboxAnswer(first, b"applied", 9),))
        assert await sender.answer(first) == b"applied"
        assert [waits.ticket for waits in await owner.store.inbox(0, 10)] == [second]
        await owner.commit(answers=(InboxAnswer(first, b"other", 10), InboxAnswer(99, b"nobody's", 10)))
        assert await sender.answer(first) == b"applied"
        assert await sender.answer(99) is None

    @behaviour
    async def test_answers_leave_after_an_hour_and_questions_stay(self, place: Place) -> None:
        sender, owner = await place.open(), await place.owner()
        first, second = await sender.send(b"1", 1), await sender.send(b"2", 1)
        await owner.commit(answers=(InboxAnswer(first, b"applied", 10),), at_us=10)
        await owner.commit(at_us=10 + HOUR_US // 2)
        assert await sender.answer(first) == b"applied"
        await owner.commit(at_us=10 + 2 * HOUR_US)
        assert await sender.answer(first) is None
        assert [waits.ticket for waits in await owner.store.inbox(0, 10)] == [second]
        assert await sender.send(b"3", 1) > second

    @behaviour
    async def test_the_owner_is_woken_by_what_another_process_sends(self, place: Place) -> None:
        owner, sender = await place.owner(), await place.open()
        for number in range(3):
            woken = asyncio.create_task(owner.store.woken())
            await asyncio.sleep(0)
            ticket = await sender.send(b"%d" % number, 1)
            while not any(waits.ticket == ticket for waits in await owner.store.inbox(0, 10)):
                await woken
                woken = asyncio.create_task(owner.store.woken())
            woken.cancel()

    @behaviour
    async def test_what_was_sent_before_anybody_owned_is_found(self, place: Place) -> None:
        sender = await place.open()
        ticket = await sender.send(b"early", 1)
        owner = await place.owner()
        assert [waits.ticket for waits in await owner.store.inbox(0, 10)] == [ticket]
