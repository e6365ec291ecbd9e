"""One suite for the cache effect in this process and on a real Valkey; then what only a server can do: be slow, away, or locked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import BaseModel, JsonValue

from onex.contracts.model.target_cache import ModelCacheCall, ModelCacheTarget
from onex.effects.bounded_cache import ENTRY_BYTES, BoundedCache
from onex.effects.cache import CacheEffect
from onex.kernel.action import Payload
from onex.kernel.errors import EffectFailed, EffectUnknown
from tests.chaos.proxy import Proxy
from tests.effects.calls import HandClock, context, intent, told_by
from tests.servers.valkey_server import ValkeyServer, running_valkey


class Price(Payload):
    sku: str
    value: JsonValue = None


class Sku(Payload):
    sku: str


class Found(Payload):
    found: bool
    value: JsonValue = None


class Must(Payload):
    value: JsonValue


class Sum(Payload):
    key: str
    value: int


CALLS: Mapping[str, tuple[dict[str, Any], type[BaseModel] | None]] = {
    "set": ({"operation": "set", "key": "price:{sku}"}, None),
    "briefly": ({"operation": "set", "key": "price:{sku}", "ttl_ms": 50}, None),
    "get": ({"operation": "get", "key": "price:{sku}"}, Found),
    "must": ({"operation": "get", "key": "price:{sku}"}, Must),
    "delete": ({"operation": "delete", "key": "price:{sku}"}, Found),
    "count": ({"operation": "increment", "key": "price:{sku}"}, Sum),
    "window": ({"operation": "increment", "key": "window:{sku}", "ttl_ms": 200}, Sum),
}


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with running_valkey() as server:
        yield server


def cache(url: str | None = None, clock: HandClock | None = None, **more: Any) -> CacheEffect:
    target = ModelCacheTarget.model_validate({"url": url, **more})
    calls = {name: ModelCacheCall.model_validate(call) for name, (call, _) in CALLS.items()}
    return CacheEffect("prices", target, calls, lambda one: CALLS[one.name][1], context(clock))


class Place:
    """Where the values are, and how a test lets time pass there."""

    def __init__(self, url: str | None) -> None:
        self.url, self.clock = url, HandClock()

    def effect(self) -> CacheEffect:
        return cache(self.url, self.clock, prefix="shop:")

    async def pass_s(self, seconds: float) -> None:
        await (self.clock.sleep(seconds) if self.url is None else asyncio.sleep(seconds))


@pytest.fixture(params=["own", "valkey"])
def place(request: pytest.FixtureRequest) -> Place:
    return Place(None if request.param == "own" else request.getfixturevalue("valkey").url)


async def value_of(effect: CacheEffect, name: str, payload: BaseModel, key: str = "one") -> BaseModel | None:
    return (await effect.execute(intent(name, payload, key, "cache_update"))).value


def test_a_value_is_there_until_it_is_deleted_or_its_time_is_over(place: Place) -> None:
    async def body() -> None:
        effect = place.effect()
        values: tuple[JsonValue, ...] = (1, "text é", {"a": [1, None, 2.5]}, [], True)
        for value in values:
            await value_of(effect, "set", Price(sku="a", value=value))
            assert await value_of(effect, "get", Sku(sku="a")) == Found(found=True, value=value)
        assert await value_of(effect, "delete", Sku(sku="a")) == Found(found=True)
        assert await value_of(effect, "delete", Sku(sku="a")) == Found(found=False)
        assert await value_of(effect, "get", Sku(sku="a")) == Found(found=False)
        with pytest.raises(EffectFailed) as raised:
            await value_of(effect, "must", Sku(sku="a"))
        assert raised.value.reason == "no_such_key"
        await value_of(effect, "briefly", Price(sku="a", value=1))
        await place.pass_s(0.1)
        assert await value_of(effect, "get", Sku(sku="a")) == Found(found=False)
        await effect.close()

    asyncio.run(body())


def test_an_increment_counts_once_per_key(place: Place) -> None:
    async def body() -> None:
        effect = place.effect()
        sums = [
            await value_of(effect, "count", Price(sku="n", value=by), key)
            for by, key in ((2, "a"), (2, "a"), (5, "b"), (2, "a"))
        ]
        assert [one.value for one in sums if isinstance(one, Sum)] == [2, 2, 7, 2]
        await value_of(effect, "set", Price(sku="n", value="text"))
        for wrong in (
            Price(sku="n", value=1),
            Price(sku="m", value="1"),
            Price(sku="m", value=2**70),
            Price(sku="m", value=True),
        ):
            with pytest.raises(EffectFailed) as raised:
                await value_of(effect, "count", wrong, "c")
            assert not raised.value.retry
        await value_of(effect, "set", Price(sku="n", value=2**63 - 1))
        with pytest.raises(EffectFailed):
            await value_of(effect, "count", Price(sku="n", value=1), "d")
        await effect.close()

    asyncio.run(body())


def test_the_time_of_a_counter_runs_from_its_first_increment(place: Place) -> None:
    async def body() -> None:
        effect = place.effect()
        await value_of(effect, "window", Price(sku="w", value=1), "a")
        await place.pass_s(0.12)
        assert await value_of(effect, "window", Price(sku="w", value=1), "b") == Sum(key="window:w", value=2)
        await place.pass_s(0.12)
        assert await value_of(effect, "window", Price(sku="w", value=1), "c") == Sum(key="window:w", value=1)
        await effect.close()

    asyncio.run(body())


def test_what_is_in_this_process_is_bounded_and_what_was_not_used_goes_first() -> None:
    kept = BoundedCache(HandClock(), max_entries=3, max_bytes=10 * ENTRY_BYTES)
    for name in (b"a", b"b", b"c"):
        kept.set(name, b"1")
    kept.get(b"a")
    kept.set(b"d", b"1")
    assert [kept.get(name) for name in (b"a", b"b", b"c", b"d")] == [b"1", None, b"1", b"1"]
    assert not kept.set(b"a", bytes(10 * ENTRY_BYTES))
    assert kept.get(b"a") is None
    kept.set(b"e", bytes(9 * ENTRY_BYTES - 10))
    assert (len(kept), kept.get(b"e") is not None) == (1, True)
    assert kept.bytes <= 10 * ENTRY_BYTES


def test_a_lost_answer_is_unknown_a_lost_read_is_failed_and_the_next_try_counts_once(valkey: ValkeyServer) -> None:
    async def body() -> None:
        with Proxy(valkey.port) as proxy:
            effect = cache(f"redis://127.0.0.1:{proxy.port}/1")
            await value_of(effect, "set", Price(sku="a", value=1))  # a connection is there
            proxy.delay_s = 0.2
            outcomes: tuple[tuple[str, type[EffectFailed | EffectUnknown]], ...] = (
                ("count", EffectUnknown),
                ("get", EffectFailed),
            )
            for name, told in outcomes:
                given = intent(name, Price(sku="a", value=4), "k", "cache_update")
                calling = asyncio.ensure_future(told_by(effect, given))
                await asyncio.sleep(0.05)
                proxy.cut()
                error = await calling
                assert (type(error), error.retry) == (told, True)
            proxy.delay_s = 0.0
            first = await value_of(effect, "count", Price(sku="a", value=4), "k")
            again = await value_of(effect, "count", Price(sku="a", value=4), "k")
            assert first == again == Sum(key="price:a", value=5)
            await effect.close()

    asyncio.run(body())


def test_what_was_answered_is_there_after_the_server_was_killed(valkey: ValkeyServer) -> None:
    async def body() -> None:
        effect = cache(valkey.url)
        await value_of(effect, "count", Price(sku="kept", value=4), "k")
        valkey.kill()
        with pytest.raises(EffectFailed) as raised:
            await value_of(effect, "get", Sku(sku="kept"))
        assert (raised.value.reason, raised.value.retry) in (("unreachable", True), ("connection_lost", True))
        valkey.start()
        assert await value_of(effect, "count", Price(sku="kept", value=4), "k") == Sum(key="price:kept", value=4)
        await effect.close()

    asyncio.run(body())


def test_a_server_that_lets_nobody_in_or_refuses_is_told_without_the_password() -> None:
    async def body() -> None:
        with running_valkey("--requirepass", "canary-right") as locked:
            for url in (locked.url, locked.url.replace("//", "//:canary-wrong@")):
                effect = cache(url)
                with pytest.raises(EffectFailed) as raised:
                    await value_of(effect, "get", Sku(sku="a"))
                assert (raised.value.reason, raised.value.retry) == ("not_allowed", False)
                assert "canary" not in raised.value.message
                await effect.close()
        with pytest.raises(EffectFailed) as raised:
            await value_of(cache("memcached://there"), "get", Sku(sku="a"))
        assert raised.value.reason == "bad_url"

    asyncio.run(body())
