"""Erasing an instance of a store: by the engine that runs on it, or here where none runs.

The running engine does it in this order: the store destroys the data key and marks what is open as dead, while no commit runs; then
the relay forgets what waits and tells what runs to stop. An action that was folded before is answered as a conflict by the store,
is folded on what is stored now, and is refused: InstanceErased. So is the outcome of an effect that did not stop.

What may go wrong: the process ends in between. Then the key is gone or it is not, and the next owner reads what is so. Asked
again, an erasure that was done says so and changes nothing but the files: what is left of the key in them is overwritten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from pydantic import JsonValue

from ..codec import Erasable, ErasedRows
from ..engine.encode import json_bytes, read_payload
from ..engine.operator_requests import ERASE, OperatorErase
from ..engine.pattern_engine import ReducerPatternEngine
from ..kernel.action import WorkflowKey
from ..kernel.data_key import NotEncrypted
from .store_access import StoreUrl, open_kept, owned_elsewhere

PLAIN = "this store is not encrypted, so there is no key to destroy. Set ONEX_CODEC_KEYS, and start its engine with it"


def erasable(store: object) -> Erasable:
    """Raises NotEncrypted."""
    if not isinstance(store, Erasable):
        raise NotEncrypted(PLAIN)
    return store


def serve_erasure(engine: ReducerPatternEngine) -> None:
    """From now on the engine carries out what ``onex erase`` asks of it: InvalidPayload, NotFound, NotEncrypted."""

    async def erase(key: WorkflowKey, payload: Mapping[str, JsonValue], in_commit: Callable[[], None]) -> None:
        by = read_payload(OperatorErase, json_bytes(payload)).operator
        rows = await erasable(engine.service.store).erase_instance(key, by, engine.clock.now_us())
        running = engine.relay.erased(key)
        engine.service.events(
            "instance_erased", key=str(key), by=by, intents=rows.intents, running=running, blobs=rows.blobs
        )

    engine.inbox.handlers = {**engine.inbox.handlers, ERASE: erase}


async def erase_here(store_url: str, key: WorkflowKey, by: str) -> ErasedRows:
    """Where no engine runs: this process owns the store meanwhile.

    Raises OwnershipLost, NotFound, NotEncrypted, CodecKeyMissing, DatabaseConnectionError.
    """
    store = await open_kept(StoreUrl.parse(store_url), create=False)
    try:
        eraser = erasable(store)
        if not await store.own("onex erase"):
            raise owned_elsewhere(store_url)
        return await eraser.erase_instance(key, by, time.time_ns() // 1000)
    finally:
        await store.close()


async def overwrite(store_url: str) -> bool:
    """After an erasure by the engine that runs: whether nothing stands in the files any more of what was deleted. False while
    somebody reads the file as it was, and for a server's store."""
    store = await open_kept(StoreUrl.parse(store_url), create=False)
    try:
        return await store.overwrite()
    finally:
        await store.close()
