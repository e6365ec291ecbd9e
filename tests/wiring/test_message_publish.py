"""A reducer publishes by an intent: the message has the intent's id at every try, and the bus's answer is the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

import onex
from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.bus import BusMessage, EnumPublished, Publication
from onex.engine.bus.message_publish import MessagePublishEffect
from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.message_signature import SharedKeys

APP = """
from typing import Literal

from onex import Action, Nothing, Payload, RetryPolicy, State, Step, workflow
from onex import ModelIntent


class News(State):
    status: Literal["quiet", "telling", "told", "untold", "doubtful"] = "quiet"


class Announce(Payload):
    text: str


news = workflow("news", News)


@news.effect(retry=RetryPolicy(max_attempts=3, initial_s=0.01, max_s=0.01), kind="message_publish")
def announce(intent: ModelIntent[Announce]) -> None:
    raise AssertionError("the program serves this")


@news.on("quiet -> telling")
def tell(state: News, action: Action[Nothing]) -> Step[News]:
    return Step(state, Announce(text="hello"))


news.move(announce.succeeded, "telling -> told")
news.move(announce.failed, "telling -> untold")
news.move(announce.unknown, "telling -> doubtful")
"""
TOPIC, KEYS = "news.v1", SharedKeys.of("a shared key of at least 16")


class Answering(MemoryBus):
    """Answers with these outcomes first; a message that is ``unknown`` did arrive."""

    def __init__(self, broker: MemoryBroker, *outcomes: EnumPublished) -> None:
        super().__init__(broker)
        self.outcomes = list(outcomes)

    async def publish(self, messages: Sequence[BusMessage]) -> Sequence[Publication]:
        outcome = self.outcomes.pop(0) if self.outcomes else EnumPublished.PUBLISHED
        if outcome in (EnumPublished.PUBLISHED, EnumPublished.UNKNOWN):
            await super().publish(messages)
        return [Publication(outcome, reason="told so")] * len(messages)


P, R, F, U = EnumPublished.PUBLISHED, EnumPublished.REJECTED, EnumPublished.FAILED, EnumPublished.UNKNOWN


@pytest.mark.parametrize(
    ("outcomes", "status", "arrived"),
    [([P], "told", 1), ([F, F, P], "told", 1), ([U, P], "told", 2), ([R], "untold", 0), ([F, F, F], "untold", 0),
     ([F, U, F], "doubtful", 1)],
)  # fmt: skip
def test_what_the_bus_answers_is_the_outcome(
    tmp_path: Path, outcomes: list[EnumPublished], status: str, arrived: int
) -> None:
    app = tmp_path / "news.py"
    app.write_text(APP)

    async def go() -> None:
        broker = MemoryBroker()
        effect = MessagePublishEffect(Answering(broker, *outcomes), TOPIC, KEYS)
        async with await onex.open("memory:", app, executors={"announce": effect}) as engine:
            await engine.submit("news:1", "tell")
            assert (await engine.wait("news:1", until=status)).status == status
        member = await MemoryBus(broker).subscribe("looking", [TOPIC])
        found = await member.read(10)
        assert len(found) == arrived
        for one in found:
            KEYS.check(one.topic, one.key, one.value, one.headers)
            envelope = OnexEnvelopeV1.from_bytes(one.value)
            assert (one.key, envelope.event_type, envelope.payload) == (b"news:1", "announce", {"text": "hello"})
        assert len({OnexEnvelopeV1.from_bytes(one.value).envelope_id for one in found}) == min(1, arrived)

    asyncio.run(go())
