"""Retold: the recorded states in between, folded again by the code that made them. What the hashes do not prove is not said.

The log keeps the actions, the intents and a hash of the state at the end of each batch; the states themselves are to be
folded. Whether the code at hand is the one that made them is not asked of its name but of the bytes it makes.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ..engine.encode import encode, state_hash
from ..engine.refold import Recorded
from ..engine.registry import ReducerRegistry
from ..engine.schema_upgrade import logged_payload, logged_trigger, stored_state
from ..kernel.action import Action, WorkflowKey
from ..kernel.errors import OnexError
from ..kernel.step import State
from ..ports import LogRow

ROWS = 1024
"""Read at a time: more than any batch has."""


class KnownState(NamedTuple):
    """A recorded state whose bytes are known, at the end of a batch. Version 0 is before the beginning: no bytes, no hash."""

    key: WorkflowKey
    version: int
    schema: int
    state: bytes
    state_hash: bytes


class RecordedStates(Protocol):
    async def states(self, mark: KnownState) -> list[bytes]:
        """The states after the versions behind ``mark``, up to the end of a batch; empty when they cannot be known."""


class RefoldedStates:
    """Folds in this process. ``registry`` is the code that is thought to have made the record."""

    def __init__(self, reader: Recorded, registry: ReducerRegistry) -> None:
        self.reader, self.registry = reader, registry
        self._digests: dict[int, bytes] = {}

    async def states(self, mark: KnownState) -> list[bytes]:
        if mark.key.workflow_type not in self.registry:
            return []
        found: list[bytes] = []
        proven = 0
        try:
            workflow = self.registry[mark.key.workflow_type]
            state: State = workflow.reducer.initial()
            if mark.version:
                state = stored_state(workflow, mark.schema, mark.state)
            hash_before, batch = mark.state_hash, list[LogRow]()
            for entry in await self.reader.history(mark.key, mark.version, ROWS):
                row = entry.row
                payload = logged_payload(workflow, row.kind, row.payload_schema, row.payload)
                kind = logged_trigger(workflow, row.kind, row.payload_schema)
                action = Action(
                    mark.key, kind, payload, row.action_id, row.issued_us, row.correlation, row.issuer, row.cause
                )
                state = workflow.reducer.delta(state, action).state
                found.append(encode(state))
                batch.append(row)
                if entry.state_hash:
                    digest = await self._digest(entry.code_id)
                    if state_hash(hash_before, mark.key, digest, batch, found[-1]) != entry.state_hash:
                        break
                    hash_before, batch, proven = entry.state_hash, [], len(found)
        except OnexError:  # it is other code, or the record is damaged: replay tells which
            pass
        return found[:proven]

    async def _digest(self, code_id: int) -> bytes:
        if code_id not in self._digests:
            self._digests = {number: code.digest for number, code in (await self.reader.codes()).items()}
        return self._digests.get(code_id, b"")
