"""A worker pool without processes: each task runs at once, in the test's own process."""

from __future__ import annotations

from collections.abc import Mapping

from onex.adapters.fork_server import FunctionAddress, answer, outcome, request, resolve
from onex.ports import NewBlob


class InlineWorkers:
    max_workers = 1

    def __init__(self, entry: str) -> None:
        self._entry = resolve(entry)

    async def run(
        self, where: FunctionAddress, payload: bytes, blobs: Mapping[bytes, bytes]
    ) -> tuple[bytes, tuple[NewBlob, ...]]:
        return outcome(answer(self._entry, request(where, payload, blobs)))
