"""Recorded states: what an instance's state was at each recorded version, folded again by the code that made the record.

The log keeps actions, intents, and one hash of the state at the end of each batch. States in between are folded. Whether
the code at hand is the one that made them is not decided by its name: a state counts only when the hash of its batch is
made again from it.
"""

from __future__ import annotations

from typing import Protocol

from ..engine.encode import encode, state_hash
from ..engine.refold import Recorded, Refold
from ..engine.registry import ReducerRegistry
from ..kernel.errors import OnexError
from ..ports import LogRow, SnapshotRow

ROWS = 1024
"""Read at a time: more than any batch has."""


class RecordedStates(Protocol):
    async def states(self, known: SnapshotRow) -> list[bytes]:
        """The states after the versions behind ``known``, up to the end of a batch; empty when they cannot be known.

        ``known`` stands at the end of a batch; at version 0 it has no bytes and no hash.
        """


class RefoldedStates:
    """Folds in this process. ``registry`` is the code that is thought to have made the record."""

    def __init__(self, reader: Recorded, registry: ReducerRegistry) -> None:
        self.reader, self.registry = reader, registry
        self._digests: dict[int, bytes] = {}

    async def states(self, known: SnapshotRow) -> list[bytes]:
        if known.key.workflow_type not in self.registry:
            return []
        found: list[bytes] = []
        proven = 0
        try:
            refold = Refold(self.registry[known.key.workflow_type])
            state, hash_before, batch = refold.begin(known), known.state_hash, list[LogRow]()
            for entry in await self.reader.history(known.key, known.version, ROWS):
                state = refold.delta(state, refold.action(known.key, entry.row)).state
                found.append(encode(state))
                batch.append(entry.row)
                if entry.state_hash:
                    digest = await self._digest(entry.code_id)
                    if state_hash(hash_before, known.key, digest, batch, found[-1]) != entry.state_hash:
                        break
                    hash_before, batch, proven = entry.state_hash, [], len(found)
        except OnexError:  # it is other code, or the record is damaged: replay says which
            pass
        return found[:proven]

    async def _digest(self, code_id: int) -> bytes:
        if code_id not in self._digests:
            self._digests = {number: code.digest for number, code in (await self.reader.codes()).items()}
        return self._digests.get(code_id, b"")
