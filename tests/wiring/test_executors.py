"""What a program gives in ``executors`` serves a target in place of the app's own function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest
from pydantic import BaseModel, JsonValue

import onex
from examples.orders.payloads import Charged, Packed
from onex.kernel.errors import EffectFailed
from onex.kernel.intent import Failure, ModelIntent
from onex.kernel.step import State
from onex.nodes.effect import EffectIO
from onex.nodes.given import GivenEffect, InvalidExecutor
from onex.ports import Result
from tests.wiring.test_wiring import ORDERS, SUMS

TEA: dict[str, JsonValue] = {"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}
PACKED = {"parcel": "p1"}


@pytest.fixture(autouse=True)
def _outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))


def order(until: str, **given: GivenEffect) -> dict[str, object]:
    """The state of an order that was placed with these fakes, once its status is ``until``."""

    async def story() -> State | None:
        async with await onex.open("memory:", ORDERS, executors=given) as engine:
            await engine.submit("orders:1", "place", TEA)
            await engine.wait("orders:1", until, 10)
            return await engine.state("orders:1")

    state = asyncio.run(story())
    assert state is not None
    return state.model_dump()


def plain(intent: ModelIntent[BaseModel]) -> Charged:
    return Charged(receipt=f"for {intent.payload.model_dump()['cents']}")


async def asynchronous(intent: ModelIntent[BaseModel]) -> Charged:
    await asyncio.sleep(0)
    return plain(intent)


def with_io(intent: ModelIntent[BaseModel], io: EffectIO) -> Charged:
    io.blob(b"the receipt")
    return plain(intent)


class Bank:
    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        model = onex.load_app(ORDERS).workflows["orders"].reducer.payloads["charged"]
        return Result(model.model_validate({"receipt": "for 900"}))


FAKES: dict[str, GivenEffect] = {
    "a function": plain,
    "an async function": asynchronous,
    "a function that also takes io": with_io,
    "a lambda that returns fields": lambda intent: {"receipt": "for 900"},
    "a lambda that returns a coroutine": lambda intent, _=None: asynchronous(intent),
    "a mock": Mock(return_value={"receipt": "for 900"}),
    "an async mock": AsyncMock(return_value={"receipt": "for 900"}),
    "an executor": Bank(),
}


@pytest.mark.parametrize("name", FAKES)
def test_what_is_given_replaces_the_apps_own_effect(name: str, tmp_path: Path) -> None:
    """The real bank writes a file for each charge: none is there."""
    state = order("shipped", bank=FAKES[name], warehouse=lambda intent: PACKED)
    assert (state["receipt"], state["parcel"]) == ("for 900", "p1")
    assert not (tmp_path / "out").exists()


def test_a_target_that_is_not_given_keeps_its_own_effect(tmp_path: Path) -> None:
    order("shipped", bank=plain)
    assert [folder.name for folder in (tmp_path / "out").iterdir()] == ["parcels"]


def declines(intent: ModelIntent[BaseModel]) -> Charged:
    raise EffectFailed("no credit", code="declined")


WRONG: dict[str, tuple[Callable[[ModelIntent[BaseModel]], object], str]] = {
    "another class": (
        lambda intent: Packed(parcel="p"),
        "what serves 'bank' returned Packed; its success carries Charged",
    ),
    "nothing": (lambda intent: None, "what serves 'bank' returned None; its success carries Charged"),
    "text": (lambda intent: "done", "what serves 'bank' returned str; its success carries Charged"),
    "other fields": (lambda intent: {"recept": "r"}, "what serves 'bank' returned fields that do not fit"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_fake_that_returns_what_its_success_does_not_carry_is_named_in_the_outcome(name: str) -> None:
    """It ran, so its outcome is ``unknown``, and no other try is made."""
    fake, said = WRONG[name]
    assert said in str(order("in_doubt", bank=fake)["trouble"])


def test_what_a_fake_raises_has_the_meaning_that_it_has_in_an_effect() -> None:
    assert order("basket", bank=declines)["trouble"] == "no credit"


def test_a_compute_function_can_be_replaced_and_then_no_worker_is_started() -> None:
    async def story() -> dict[str, object]:
        given: dict[str, GivenEffect] = {
            "add_up": lambda intent: {"total": 7, "worker": 0},
            "somebody": lambda intent: None,
        }
        async with await onex.open("memory:", SUMS, executors=given) as engine:
            await engine.submit("sums:1", "add", {"numbers": [1, 2]})
            await engine.wait("sums:1", "told", 10)
            state = await engine.state("sums:1")
            assert state is not None
            return state.model_dump()

    assert asyncio.run(story())["total"] == 7


def refused(app: Path, given: dict[str, GivenEffect]) -> str:
    async def story() -> None:
        async with await onex.open("memory:", app, executors=given):
            pass

    with pytest.raises(InvalidExecutor) as raised:
        asyncio.run(story())
    return raised.value.message


def test_a_target_that_the_app_does_not_have_is_refused_with_those_that_it_has() -> None:
    """Silently ignored it would leave the real bank where it was."""
    said = refused(ORDERS, {"bnak": plain})
    assert said == "executors: the app orders has no target 'bnak'; did you mean 'bank'? it has bank, warehouse"


def test_what_is_neither_an_executor_nor_a_function_of_an_intent_is_refused() -> None:
    assert refused(ORDERS, {"bank": 7}) == (  # type: ignore[dict-item]
        "'bank' was given int; give a function that takes the intent, or an object with async def execute(intent) -> Result"
    )
    assert "'bank' was given the class Bank" in refused(ORDERS, {"bank": Bank})  # type: ignore[dict-item]
    assert "what serves 'bank' takes ()" in refused(ORDERS, {"bank": lambda: Failure})  # type: ignore[dict-item]
