from __future__ import annotations

import asyncio

from onex import EffectFailed, ModelIntent, effect

from .payloads import Did, Plain, Waits, raises


@effect("plain")
def plain(intent: ModelIntent[Plain]) -> Did:
    return answer(intent.payload.what)


@effect("waits")
async def waits(intent: ModelIntent[Waits]) -> Did:
    await asyncio.sleep(0)
    return answer(intent.payload.what)


def answer(what: str) -> Did:
    raises(what)
    if what == "refused":
        raise EffectFailed("no such account")
    return None if what == "nothing" else Did(what=what)  # type: ignore[return-value]
