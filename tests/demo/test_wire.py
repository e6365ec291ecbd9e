"""Parent and engine understand each other, and each notices that the other is gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import pytest

from onex.cli.demo.wire import (
    Connection,
    EffectReport,
    EngineIdle,
    FinishWork,
    Input,
    InputsTaken,
    Message,
    Pulse,
    RefusedInput,
    ReportsWritten,
    TakeInputs,
)
from onex.cli.demo.workload import numbered

INPUTS: tuple[Input, ...] = numbered([("orders:1", "place", {"items": [{"sku": "tea", "quantity": 1, "cents": 5}]})])
MESSAGES: tuple[Message, ...] = (
    TakeInputs(inputs=INPUTS),
    ReportsWritten(reports=(1, 2)),
    FinishWork(),
    EffectReport(number=1, idempotency_key="k", instance="orders:é:1", version=3, name="charge", n=0, body="00"),
    InputsTaken(inputs=(0,)),
    RefusedInput(input=0, why="no\nroom"),
    Pulse(committed=5, latency=[(3, 4), (7, 1)]),
    EngineIdle(since_us=1_700_000_000_000_000),
)


async def heard(data: Sequence[Message], raw: bytes = b"") -> list[Message]:
    ours, theirs = socket.socketpair()
    sender, receiver = await Connection.over(ours), await Connection.over(theirs)
    for message in data:
        sender.send(message)
    if raw:
        sender._writer.write(raw)
    await sender.close()
    found = []
    while (message_ := await receiver.read()) is not None:
        found.append(message_)
    await receiver.close()
    return found


def test_every_message_arrives_as_it_was_sent() -> None:
    assert asyncio.run(heard(MESSAGES)) == list(MESSAGES)


@pytest.mark.parametrize("half", [b"\0\0", b'\0\0\0\x20{"kind":'])
def test_what_was_half_sent_when_the_other_died_is_dropped(half: bytes) -> None:
    assert asyncio.run(heard(MESSAGES[:2], half)) == list(MESSAGES[:2])


def test_a_message_to_one_that_is_gone_is_dropped() -> None:
    async def go() -> Message | None:
        ours, theirs = socket.socketpair()
        theirs.close()
        link = await Connection.over(ours)
        for _ in range(100):
            link.send(FinishWork())
            await asyncio.sleep(0)
        answer = await link.read()
        await link.close()
        return answer

    assert asyncio.run(go()) is None
