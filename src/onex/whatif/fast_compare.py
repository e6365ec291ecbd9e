"""Seal: rows folded on other code for as long as every byte comes out as recorded. The common case, so it is one tight loop.

It says nothing but how far that goes. Statuses and intents are compared at every row, states by the hash at the end of each
batch: under the digest of the code that made them, the same hash is the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from ..engine.encode import encode_intents, state_hash
from ..engine.registry import Workflow
from ..kernel.action import Action
from ..kernel.intent import EnumIntentType
from ..kernel.step import Done, State
from ..kernel.user_code import caught
from ..ports import Code, LogEntry, LogRow
from .branch import OUTCOME, arrivals
from .messages import MessageChanges
from .recorded_states import KnownState

NO_CODE: Final = Code("", "?", b"", 0)
_new = tuple.__new__


class OtherWorkflow:
    """One workflow of the other code as the loop wants it, looked up once."""

    __slots__ = ("arrives", "delta", "read", "schema", "sends", "workflow", "write")

    def __init__(self, workflow: Workflow) -> None:
        reducer = workflow.reducer
        self.workflow = workflow
        self.schema = workflow.code.state_schema
        self.delta: Callable[[Any, Action[Any]], Done[Any]] = reducer.delta
        self.read: Mapping[str, Callable[[bytes], BaseModel]] = {
            trigger: model.__pydantic_validator__.validate_json for trigger, model in reducer.payloads.items()
        }
        self.write: Callable[[State], bytes] = reducer.state_type.__pydantic_serializer__.to_json
        specs = reducer.intents.by_name.values()
        self.sends = {f"{OUTCOME}{spec.name}" for spec in specs if spec.kind == EnumIntentType.ACTION_SEND}
        self.arrives = {f"{OUTCOME}{spec.name}": arrivals(spec) for spec in specs}


class FastCompare:
    """``foreign``: some of what was taken came from other instances."""

    def __init__(
        self, ready: OtherWorkflow, mark: KnownState, state: State, codes: Mapping[int, Code], post: MessageChanges
    ) -> None:
        self.foreign = False
        self._key, self._begun = mark.key, mark
        self._sealed: tuple[int, bytes] | None = None
        self._ready, self._state, self._codes, self._post = ready, state, codes, post
        self._batch: list[LogRow] = []
        self._version, self._hash = mark.version, mark.state_hash
        self._code_id, self._digest = -1, b""

    @property
    def mark(self) -> KnownState:
        """The end of the last batch that came out as recorded."""
        if self._sealed is None:
            return self._begun
        version, state = self._sealed
        return KnownState(self._key, version, self._ready.schema, state, self._hash)

    def take(self, rows: Sequence[LogEntry], last: int, *, intent_is_a_type: bool) -> bool:
        """The next rows, up to version ``last``. False when something does not come out as recorded, whatever it is."""
        try:
            return self._take(rows, last, intent_is_a_type)
        except BaseException as error:  # refused, raised, unreadable: the walk says where and why
            caught(error)
            return False

    def _take(self, rows: Sequence[LogEntry], last: int, intent_is_a_type: bool) -> bool:
        ready, key, state, version = self._ready, self._key, self._state, self._version
        delta, read, schema, write = ready.delta, ready.read, ready.schema, ready.write
        batch = self._batch
        for entry in rows:
            row = entry.row
            version += 1
            if entry.version != version or version > last:
                return entry.version > last
            kind = row.kind
            if row.cause is not None:
                issuer = row.issuer
                if issuer.startswith(OUTCOME) and kind not in ready.arrives.get(issuer, ()):
                    return False
                if issuer in ready.sends and self._post.refused:  # whether it is one of them, the walk finds out
                    return False
                if is_foreign(row, intent_is_a_type=intent_is_a_type):
                    self.foreign = True
                    if row.action_id in self._post.withdrawn:
                        return False
            if entry.code_id != self._code_id and not self._is_of(entry.code_id, schema):
                return False
            action: Action[BaseModel] = _new(
                Action,
                (
                    key,
                    kind,
                    read[kind](row.payload),
                    row.action_id,
                    row.issued_us,
                    row.correlation,
                    row.issuer,
                    row.cause,
                ),
            )
            done = delta(state, action)
            state = done.state
            if state.status != row.status or encode_intents(done.intents) != row.intents:
                return False
            batch.append(row)
            if sealed := entry.state_hash:
                data = write(state)
                if state_hash(self._hash, key, self._digest, batch, data) != sealed:
                    return False
                self._hash, self._sealed = sealed, (version, data)
                batch.clear()
        self._state, self._version = state, version
        return True

    def _is_of(self, code_id: int, schema: int) -> bool:
        """Whether rows of this code may be compared as bytes."""
        code = self._codes.get(code_id, NO_CODE)
        self._code_id, self._digest = code_id, code.digest
        return code.state_schema == schema


def is_foreign(row: LogRow, *, intent_is_a_type: bool) -> bool:
    """Whether another instance may have sent it: its issuer is then that instance's key, and it has a cause."""
    if row.cause is None or ":" not in row.issuer:
        return False
    return not row.issuer.startswith(OUTCOME) or intent_is_a_type
