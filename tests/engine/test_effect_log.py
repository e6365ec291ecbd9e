"""What a function says while it works stands beside the engine's own events of the same action, without secrets."""

from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from onex.adapters.structlog_telemetry import StructlogTelemetry
from onex.engine.effect_log import EffectLog
from onex.engine.metrics import Events
from onex.kernel.action import Payload, WorkflowKey
from onex.kernel.intent import ModelIntent
from onex.kernel.secret import Secret
from onex.nodes.effect import EffectIO, FunctionExecutor
from tests.engine.test_external_call import Listener


class Pay(Payload):
    cents: int
    card: Annotated[str, Secret] = "4111-1111"


class Nobody:
    async def read(self, digest: bytes) -> bytes:
        raise AssertionError("no blob is read here")


def asked() -> ModelIntent[BaseModel]:
    return ModelIntent[BaseModel](
        intent_id=uuid4(),
        intent_type="api_call",
        target="bank",
        payload=Pay(cents=5),
        correlation_id=UUID(int=7),
        idempotency_key="k",
        name="charge",
        workflow_key=WorkflowKey("job", "1"),
        attempt=2,
    )


def plain(intent: ModelIntent[Pay], io: EffectIO) -> None:
    log = io.log.bind(bank="north")
    log.info("asked", cents=intent.payload.cents)
    log.warning(f"card {intent.payload.card} is old", card=intent.payload.card, key="mine", of=[intent.payload.card])


async def waiting(intent: ModelIntent[Pay], io: EffectIO) -> None:
    plain(intent, io)


@pytest.mark.parametrize("function", [plain, waiting])
def test_a_line_names_its_intent_its_try_and_its_cause_from_a_thread_too(function: object) -> None:
    listener = Listener(details=False)

    async def go() -> None:
        await FunctionExecutor(function, Nobody(), events=Events(listener)).execute(asked())  # type: ignore[arg-type]
        await asyncio.sleep(0)  # what a thread has said is told in the loop

    asyncio.run(go())
    about = {"key": "job:1", "intent": "charge", "attempt": 2, "target": "bank", "correlation": UUID(int=7)}
    assert listener.told == [
        ("effect_log", {"level": "info", "message": "asked", **about, "bank": "north", "cents": 5}),
        (
            "effect_log",
            {
                "level": "warning",
                "message": "card *** is old",
                **about,
                "bank": "north",
                "card": "***",
                "key_": "mine",
                "of": "['***']",
            },
        ),
    ]


def test_with_nobody_who_listens_it_costs_a_look_and_says_nothing() -> None:
    class Untouched:
        def __str__(self) -> str:
            raise AssertionError("nobody asked for its text")

    EffectLog(Events(), asked()).error("no", value=Untouched())
    EffectIO(Nobody()).log.info("a function that a test calls by hand", value=Untouched())


def test_it_never_raises_whatever_it_is_given() -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    listener = Listener(details=False)
    EffectLog(Events(listener)).info("odd", value=Odd(), name="n", self="s", number=float("nan"))
    ((name, fields),) = listener.told
    assert name == "effect_log"
    assert fields["value"] == "RuntimeError: no text"
    assert fields["name_"] == "n"
    assert fields["self_"] == "s"


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_structlog_gets_the_level_that_the_function_chose(level: str) -> None:
    called: list[tuple[str, str, dict[str, object]]] = []

    class Logger:
        def info(self, event: str, **fields: object) -> None:
            called.append(("info", event, fields))

        def warning(self, event: str, **fields: object) -> None:
            called.append(("warning", event, fields))

        def error(self, event: str, **fields: object) -> None:
            called.append(("error", event, fields))

    getattr(EffectLog(Events(StructlogTelemetry(Logger()))), level)("the bank is slow", ms=9)
    assert called == [(level, "effect_log", {"message": "the bank is slow", "ms": 9})]
