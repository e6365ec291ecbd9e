"""ComputeCall: one compute function, called with a task: from the cache, as a whole, or in parts side by side.

Theory of operation of one call:

1. A function marked ``@cached`` is asked for by the bytes of its task and the digest of its app's files. Blobs in a task are
   named by their digest, so equal bytes are an equal task.
2. Without ``@chunked`` the task goes to one worker. With it the parts go to workers, ``max_workers`` at a time, so that a task
   of ten thousand parts leaves room for others. Then one worker joins the results, in order: a ``merge`` may take long, too.
3. Each part is a task of its own for the pool: a worker that dies or is killed costs one more try of its part.

What may go wrong: a part fails for good. Then the parts that run are cancelled, which ends their workers, and its error is
that of the call. The same happens when the call itself is cancelled, or its time is over. The error says which part it was.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from blake3 import blake3
from pydantic import BaseModel

from ..engine.encode import encode
from ..kernel.errors import EffectFailed
from ..ports import NewBlob
from .chunks import Chunk, Chunking, chunking_of, is_cached, split
from .compute import JOIN, ComputeAddress, Workers
from .io import Function

Progress = Callable[[int, int], None]
"""Called with the parts that are done, and how many there are."""
CACHE_BYTES: Final = 64 << 20


class Computed(NamedTuple):
    """The canonical bytes of a result, and the blobs that were made on the way."""

    encoded: bytes
    made: tuple[NewBlob, ...] = ()

    @property
    def size(self) -> int:
        return len(self.encoded) + sum(len(one.data) for one in self.made)


class ResultCache:
    """Results by what went in, ``max_bytes`` of them; the one that was not asked for longest goes first."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self.max_bytes, self.bytes, self.hits, self.misses = max_bytes, 0, 0, 0
        self._kept: OrderedDict[bytes, Computed] = OrderedDict()

    def get(self, key: bytes) -> Computed | None:
        found = self._kept.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return found

    def put(self, key: bytes, computed: Computed) -> None:
        """One that is larger than the whole cache is not kept."""
        if computed.size > self.max_bytes or key in self._kept:
            return
        self._kept[key] = computed
        self.bytes += computed.size
        while self.bytes > self.max_bytes:
            self.bytes -= self._kept.popitem(last=False)[1].size


def cache_key(where: ComputeAddress, payload: bytes) -> bytes:
    """No two lists of names feed the hash the same bytes: none of them holds a line end."""
    return blake3("\n".join(where[1:]).encode() + b"\n\n" + payload).digest()


class ComputeCall:
    """Calls ``function``, which workers find at ``where``. Only its marks are read here. ``timeout_s`` is for each part."""

    def __init__(
        self,
        workers: Workers,
        where: ComputeAddress,
        function: Function,
        *,
        timeout_s: float | None = None,
        cache: ResultCache | None = None,
        chunking: Chunking | None = None,
        at_once: int | None = None,
    ) -> None:
        """``chunking`` and ``at_once`` stand in for what the function is marked with, and for all workers."""
        self._workers, self._where, self._timeout_s = workers, where, timeout_s
        self.chunking = chunking or chunking_of(function)
        self._at_once = workers.max_workers if at_once is None else at_once
        self._cache = cache if is_cached(function) else None

    async def run(self, task: BaseModel, blobs: Mapping[bytes, bytes], progress: Progress | None = None) -> Computed:
        """``blobs[digest]``: the bytes of each blob that ``task`` names. Raises what ``Workers.run`` raises; InvalidPayload."""
        payload = encode(task)
        if self._cache is None:
            return await self._computed(task, payload, blobs, progress)
        key = cache_key(self._where, payload)
        found = self._cache.get(key)
        if found is None:
            found = await self._computed(task, payload, blobs, progress)
            self._cache.put(key, found)
        return found

    async def _computed(
        self, task: BaseModel, payload: bytes, blobs: Mapping[bytes, bytes], progress: Progress | None
    ) -> Computed:
        if self.chunking is None:
            return await self._one(payload, blobs)
        return await self._in_parts(list(split(task, self.chunking, blobs)), progress)

    async def _one(self, payload: bytes, blobs: Mapping[bytes, bytes]) -> Computed:
        return Computed(*await self._workers.run(self._where, payload, blobs, self._timeout_s))

    async def _in_parts(self, parts: list[Chunk], progress: Progress | None) -> Computed:
        if len(parts) == 1:
            return await self._one(encode(parts[0].task), parts[0].blobs)
        results: list[Computed | None] = [None] * len(parts)
        numbers = iter(range(len(parts)))  # shared: each runner takes the next part
        done = 0

        async def take() -> None:
            nonlocal done
            for n in numbers:
                try:
                    results[n] = await self._one(encode(parts[n].task), parts[n].blobs)
                except EffectFailed as failed:
                    failed.message = f"part {n + 1} of {len(parts)}: {failed.message}"
                    failed.args = (failed.message,)
                    raise
                done += 1
                if progress is not None:
                    progress(done, len(parts))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._at_once, len(parts))):
                    group.create_task(take())
        except BaseExceptionGroup as failed:
            raise _first(failed) from None
        whole = [one for one in results if one is not None]
        made = {blob.digest: blob for one in whole for blob in one.made}
        joined = await self._one(
            JOIN + b"[" + b",".join(one.encoded for one in whole) + b"]", {}
        )  # a merge reads no blob
        return Computed(joined.encoded, tuple(made.values()))


def _first(failed: BaseExceptionGroup) -> BaseException:
    """A part that failed for good says more than one that may do better; else the first."""
    found = failed.exceptions
    return next((one for one in found if isinstance(one, EffectFailed) and not one.retry), found[0])
