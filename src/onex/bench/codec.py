"""What encryption costs: durable actions per second with it and without it, in pairs, and microseconds per value."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Final

from pydantic import JsonValue

from ..adapters.codec.envelope import DataKey
from ..adapters.codec.key_ring import KeyRing
from ..adapters.codec.master_keys import new_master_key, parse_master_keys
from ..adapters.codec.sealed_store import SealedStore
from ..codec import Sealable
from .load import CLIENTS, drive, opened
from .measurement import Goal, Measurement, Result, ratio_of_pairs
from .options import Options

KEPT_SHARE: Final = (0.8, 0.9)
VALUE: Final = b'{"amount":50,"text":"' + b"x" * 100 + b'"}'


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        return asyncio.run(_measure(chosen, folder)).result(folder)


def encrypted(store: Sealable) -> SealedStore:
    """With a master key that is gone with the measurement."""
    return SealedStore(store, KeyRing(store, parse_master_keys(new_master_key("bench"), "bench")))


async def _measure(options: Options, folder: Path) -> Measurement:
    clients = options.clients or CLIENTS
    plain: list[float] = []
    sealed: list[float] = []
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(opened(options.opens, folder / "plain")),
            await stack.enter_async_context(opened(options.opens, folder / "encrypted", around=encrypted)),
        ]
        for engine in engines:
            await drive(engine, clients, options.keys, options.window, options.seconds / 3)
        for _ in range(options.pairs):
            for engine, rates in zip(engines, (plain, sealed), strict=True):
                rates.append((await drive(engine, clients, options.keys, options.window, options.seconds)).rate)
    ratio = ratio_of_pairs(sealed, plain)
    detail: dict[str, JsonValue] = {
        "store": options.store,
        "keys": options.keys,
        **_value_us(options.count(20_000, 50)),
    }
    return Measurement(
        "actions/s, encrypted",
        median(sealed),
        ceiling=median(plain),
        ratio=ratio,
        targets=[Goal("encrypted over plain", ratio, *KEPT_SHARE)],
        detail=detail,
    )


def _value_us(times: int) -> dict[str, JsonValue]:
    """Of one value of 124 bytes."""
    key, found = DataKey("account:1", bytes(32)), dict[str, JsonValue]()
    began = time.perf_counter()
    for _ in range(times):
        sealed = key.seal(VALUE, b"payload")
    found["encrypt_us"] = round((time.perf_counter() - began) / times * 1e6, 2)
    began = time.perf_counter()
    for _ in range(times):
        key.open(sealed, b"payload")
    found["decrypt_us"] = round((time.perf_counter() - began) / times * 1e6, 2)
    return found
