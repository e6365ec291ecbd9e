"""A far side that says when to come again is not asked before: the next try waits for the longer of its word and the policy."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from onex.engine.attempt import RETRY_AFTER_MOST_S, effect_error, retry_after_s
from onex.kernel.errors import EffectFailed, EffectUnknown, OnexError
from onex.kernel.intent import ModelIntent
from onex.ports import EnumOutboxState, Result
from tests.engine.conftest import OneStore
from tests.engine.jobs import Start


@pytest.mark.parametrize(
    ("error", "least_s", "most_s"),
    [
        (EffectFailed("429", retryable=True, retry_after_s=120), 119, 121),
        (EffectUnknown("503", retry_after_s=120.5), 119, 121),
        (EffectFailed("a year, by mistake", retryable=True, retry_after_s=366 * 86400), 3599, 3601),
    ],
)
def test_the_next_try_is_put_off_and_stored(
    one_store: OneStore, monkeypatch: pytest.MonkeyPatch, error: OnexError, least_s: float, most_s: float
) -> None:
    tried = asyncio.Event()

    async def refuse(intent: ModelIntent[BaseModel]) -> Result:
        tried.set()
        raise error

    async def go() -> None:
        monkeypatch.setattr(one_store.worker, "execute", refuse)
        async with one_store.engine() as engine:
            before_us = engine.clock.now_us()
            await engine.submit("job:1", "start", Start(text="any"))
            await tried.wait()
            while (
                not (rows := await engine.reader.outbox((EnumOutboxState.WAITING,), None, None, 9)) or not rows[0].error
            ):
                await asyncio.sleep(0)
            after_us = engine.clock.now_us()
            assert before_us + least_s * 1e6 <= rows[0].due_us <= after_us + most_s * 1e6
            assert rows[0].attempt == 2

    asyncio.run(go())


def test_what_is_not_to_be_tried_again_is_not(one_store: OneStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(intent: ModelIntent[BaseModel]) -> Result:
        raise EffectFailed("declined", code="declined", retry_after_s=5)

    async def go() -> None:
        monkeypatch.setattr(one_store.worker, "execute", refuse)
        async with one_store.engine() as engine:
            await engine.submit("job:1", "start", Start(text="any"))
            assert (await engine.wait("job:1")).status == "failed"

    asyncio.run(go())


@pytest.mark.parametrize("said", ["soon", None, True, -5, 0, float("nan"), [3]])
def test_what_is_no_number_of_seconds_is_not_followed(said: object) -> None:
    try:
        raise EffectFailed("429", retryable=True, retry_after_s=said)  # type: ignore[arg-type]  # a function of a user's may
    except EffectFailed as error:
        assert retry_after_s(effect_error(error)) == 0.0


def test_a_number_without_end_is_cut() -> None:
    try:
        raise EffectUnknown("503", retry_after_s=10**400)
    except EffectUnknown as error:
        assert retry_after_s(effect_error(error)) == RETRY_AFTER_MOST_S
