"""Segment: one instance's rows folded under one code after the other, and held against what is stored beside them.

Two things are found out beside each other: what the code at hand makes of the rows otherwise than what is stored, and
what no code can explain, because the rows contradict themselves or their hashes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import BaseModel
from pydantic import ValidationError as PydanticError

from ..engine.encode import decode, encode, encode_intents, state_hash
from ..engine.fold import SNAPSHOT_EVERY
from ..engine.registry import ReducerRegistry, Workflow
from ..engine.schema_upgrade import logged_intents, logged_payload, logged_trigger, stored_state
from ..kernel.action import Action, WorkflowKey
from ..kernel.errors import OnexError
from ..kernel.step import State
from ..kernel.user_code import caught
from ..ports import Code, LogEntry, LogRow, Position, SnapshotRow, Stored
from .verdict import EnumReplayVerdict, Segment, cut, state_difference

_new = tuple.__new__


class Snapshots(Protocol):
    """Where the kept states of an instance are."""

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None: ...


class CodeAtHand:
    """Which code there is to fold with: of any digest that was brought, else what the app has today."""

    def __init__(self, registry: ReducerRegistry, older: Sequence[Workflow]) -> None:
        self._registry = registry
        self._by_code = {(w.code.workflow_type, w.code.digest): w for w in (*older, *registry.workflows)}
        self.codes: Mapping[int, Code] = {}

    def of(self, code_id: int) -> Code:
        return self.codes.get(code_id) or Code("", "?", b"", 0)

    def workflow(self, code: Code) -> tuple[Workflow | None, bool]:
        """The code to fold with, and whether it is the row's own."""
        own = self._by_code.get((code.workflow_type, code.digest))
        if own is not None:
            return own, True
        if code.workflow_type in self._registry:
            return self._registry[code.workflow_type], False
        return None, False


class SegmentReplay:
    """Walks one instance's rows: ``begin`` where a code takes over, ``fold`` its rows, ``end`` for the verdict.

    ``redacted_since`` is the first version whose bytes were changed on purpose, 0 for none: from there on hashes say
    nothing, and no verdict is better than unverified.
    """

    def __init__(self, snapshots: Snapshots, at_hand: CodeAtHand, stored: Stored, redacted_since: int = 0) -> None:
        self._snapshots = snapshots
        self._at_hand = at_hand
        self.stored = stored
        self._redacted = redacted_since or stored.version + 1
        self._rows: list[LogRow] = []  # of the batch whose state hash is still to come
        self._batch: list[LogRow] = []  # the one before, which its hash has sealed
        self._hash = self._hash_before = b""  # behind and before ``_batch``
        self._code = Code("", "?", b"", 0)
        self.code_id = -1
        self._env_id = 0
        self._first = 0
        self.version = 0
        self._position = Position(-1, 0)
        self._issued_us = 0
        self._workflow: Workflow | None = None
        self._own = False
        self._state: State | None = None
        self._agreed = 0  # the last version whose state was compared and found equal
        self._proved = b""  # the state behind the last batch whose hash was made again
        self._reason = self._broken = ""
        self._differs_at = 0
        self._crossed = False  # whether the rows have just come past a version whose state is kept
        self.intents = 0

    def damage(self, what: str) -> None:
        """Something no code explains; the first of it is told."""
        self._broken = self._broken or what

    def _differs(self, at: int, what: str) -> None:
        if not self._reason:
            self._reason, self._differs_at = what, at

    # --- a code takes over ----------------------------------------------------------------------------------------------

    async def begin(self, entry: LogEntry) -> None:
        """The first row of a segment: fold from the start, or from the state kept where its code took over."""
        self.code_id, self._first = entry.code_id, entry.version
        self._reason, self._broken, self._differs_at, self._agreed = "", "", 0, entry.version - 1
        self._code = self._at_hand.of(entry.code_id)
        self._workflow, self._own = self._at_hand.workflow(self._code)
        self._state = None
        if entry.version == 1:
            if self._workflow is not None:
                self._state = self._said(1, self._workflow.reducer.initial)
            return
        kept = await self._snapshots.snapshot(self.stored.key, entry.version - 1)
        if kept is None or kept.version != entry.version - 1:
            self._differs(entry.version, f"no state is kept at version {entry.version - 1}, where this code took over")
            return
        if self.version == 0:  # what came before was compacted
            self.version, self._hash = kept.version, kept.state_hash
        workflow = self._workflow
        if workflow is not None:
            self._state = self._said(entry.version, lambda: stored_state(workflow, kept.state_schema, kept.state))

    def _said(self, at: int, make: _Making) -> State | None:
        try:
            return make()
        except OnexError as error:
            self._differs(at, error.message)
        except BaseException as error:  # the app's code runs here, and older code meets newer bytes
            self._differs(at, caught(error))
        return None

    # --- its rows -------------------------------------------------------------------------------------------------------

    def fold(self, rows: Sequence[LogEntry], at: int) -> int:
        """Fold from ``rows[at]`` on; returns where it stopped: other code, the stored version, or a kept state to compare.

        The one loop every recorded action passes, so its names are local and its common case makes no call of ours.
        """
        key, limit, code_id = self.stored.key, self.stored.version, self.code_id
        own, redacted, digest = self._own, self._redacted, self._code.digest
        version, (shard, n), issued_us = self.version, self._position, self._issued_us
        state, pending, workflow = self._state, self._rows, self._workflow
        delta = workflow.reducer.delta if workflow is not None else None
        payloads = workflow.reducer.payloads if workflow is not None else {}
        schema = workflow.code.state_schema if workflow is not None else 0
        folding = state is not None and not self._reason
        index, crossed = at, False
        while index < len(rows) and not crossed:
            entry = rows[index]
            position, _, its_version, row, its_code, env_id, sealed = entry
            if its_code != code_id or its_version > limit:
                break
            action_id, kind, payload, its_us, correlation, cause, issuer, _, stored_intents, status, _, its_schema = row
            if its_version != version + 1 or its_us < issued_us or (position[0] == shard and position[1] <= n):
                self._check_order(entry, version, Position(shard, n), issued_us)
            version, (shard, n), issued_us = its_version, position, its_us
            pending.append(row)
            if folding:
                assert delta is not None and workflow is not None and state is not None, "there is a state to fold"
                try:
                    if its_schema == schema and kind in payloads:
                        called, stands = kind, status
                        model = payloads[kind]
                        try:
                            value: BaseModel = model.__pydantic_validator__.validate_json(payload)
                        except PydanticError:
                            value = decode(model, payload)  # raises again, and says it
                    else:
                        value = logged_payload(workflow, kind, its_schema, payload)
                        called = logged_trigger(workflow, kind, its_schema)
                        stands = workflow.migrations.status(status, its_schema, schema)
                    action = _new(Action, (key, called, value, action_id, its_us, correlation, issuer, cause))
                    done = delta(state, action)
                    state, emitted = done.state, done.intents
                    if state.status != stands:
                        self._differs(version, f"{_at(entry)}: status {state.status!r}, stored {status!r}")
                    elif emitted or stored_intents:
                        self.intents += len(emitted)
                        made = encode_intents(emitted)
                        if its_schema != schema:
                            stored_intents = encode_intents(logged_intents(workflow, its_schema, stored_intents))
                        if made != stored_intents:
                            self._differs(
                                version, f"{_at(entry)}: intents {_told(made)}, stored {_told(stored_intents)}"
                            )
                    if sealed and own and version < redacted and not self._reason:
                        self._proved = encode(state)
                        if state_hash(self._hash, key, digest, pending, self._proved) != sealed:
                            self._differs(version, f"{_at(entry)}: the state hash differs from the stored one")
                        else:
                            self._agreed = version
                except OnexError as error:
                    self._differs(version, f"{_at(entry)}: {error.message}")
                except BaseException as error:
                    self._differs(version, f"{_at(entry)}: {caught(error)}")
                folding = not self._reason
            if sealed:
                crossed = (version - len(pending)) // SNAPSHOT_EVERY != version // SNAPSHOT_EVERY
                self._hash_before, self._batch, self._hash = self._hash, pending, sealed
                pending = []
            self._env_id = env_id
            index += 1
        self._state, self._rows = state, pending
        self.version, self._position, self._issued_us = version, Position(shard, n), issued_us
        self._crossed = crossed
        return index

    def _check_order(self, entry: LogEntry, version: int, before: Position, issued_us: int) -> None:
        at = f"version {entry.version}"
        if entry.version != version + 1:
            self.damage(f"{at} follows version {version}")
        if entry.position.shard == before.shard and entry.position.n <= before.n:
            self.damage(f"{at} stands at {entry.position.n} in the log, the one before it at {before.n}")
        if entry.row.issued_us < issued_us:
            self.damage(f"{at} was issued at {entry.row.issued_us} us, before the one before it ({issued_us})")

    async def check_kept(self) -> None:
        """After ``fold``: the state that is kept every so often, if the rows have just come past one."""
        if not self._crossed:
            return
        self._crossed = False
        kept = await self._snapshots.snapshot(self.stored.key, self.version)
        if kept is not None and kept.version == self.version:
            self._check_snapshot(kept)
            self._compare(kept.state, kept.state_schema)

    # --- the end of a segment ---------------------------------------------------------------------------------------------

    async def end(self, *, other_code_follows: bool = False) -> Segment | None:
        """Close the open segment: its last state must be the stored one."""
        if self.code_id < 0:
            if other_code_follows or self.stored.version == 0:
                return None
            self._nothing_logged()
        elif not other_code_follows:
            self._check_last()
            self._compare(self.stored.state, self.stored.state_schema)
        else:
            kept = await self._snapshots.snapshot(self.stored.key, self.version)
            if kept is None or kept.version != self.version:
                missing = f"no state is kept at version {self.version}, where the next code took over"
                self._differs(self.version, missing)
            else:
                self._check_snapshot(kept)
                self._compare(kept.state, kept.state_schema)
        return self._segment()

    def _segment(self) -> Segment:
        verdict = self._verdict()
        reason = self._reason or self._broken if self._own else self._broken or self._reason
        at = self._differs_at if reason else 0
        since = min(self._agreed + 1, at) if at else 0
        return Segment(
            self.stored.key, self._first, self.version, self._code, self._env_id, verdict, reason, at, since
        )  # fmt: skip

    def _verdict(self) -> EnumReplayVerdict:
        if self.version >= self._redacted:
            return EnumReplayVerdict.REDACTED
        if self._broken:
            return EnumReplayVerdict.MISMATCH
        if self._workflow is None:
            return EnumReplayVerdict.CODE_NOT_AT_HAND
        if self._own:
            return EnumReplayVerdict.MISMATCH if self._reason else EnumReplayVerdict.EQUAL
        return EnumReplayVerdict.OTHER_CODE_DIFFERS if self._reason else EnumReplayVerdict.OTHER_CODE_EQUAL

    def _nothing_logged(self) -> None:
        self._first, self.version = 1, self.stored.version
        self._code = self._at_hand.of(self.stored.code_id)
        self.damage(f"the log holds no row of it, the stored state is at version {self.stored.version}")

    def _check_last(self) -> None:
        """The stored row says once more what the last log row says."""
        stored = self.stored
        said = (stored.version, stored.position, stored.last_us, stored.code_id, stored.state_hash)
        logged = (self.version, self._position, self._issued_us, self.code_id, self._hash)
        if said != logged:
            names = ("version", "position", "time", "code", "state hash")
            other = [name for name, one, two in zip(names, said, logged, strict=True) if one != two]
            self.damage(f"version {self.version}: the stored {' and '.join(other)} is not the log's last one")
        self._check_schema(stored.state_schema)
        if self._batch and stored.status != self._batch[-1].status:
            self.damage(f"the stored status is {stored.status!r}, the log's last one {self._batch[-1].status!r}")
        if self._own and self._workflow and stored.terminal != (stored.status in self._workflow.reducer.terminal):
            self.damage(
                f"the stored row says terminal: {stored.terminal}, its code says otherwise of {stored.status!r}"
            )

    def _check_snapshot(self, kept: SnapshotRow) -> None:
        """One of those kept every so often, where nothing starts but time travel, or the one at a change of code."""
        if (kept.state_hash, kept.code_id) != (self._hash, self.code_id):
            self.damage(f"version {self.version}: the snapshot's state hash or code is not the log's")
        self._check_schema(kept.state_schema)

    def _check_schema(self, schema: int) -> None:
        if self._code.workflow_type and schema != self._code.state_schema:
            self.damage(
                f"version {self.version}: the state has schema {schema}, its code writes {self._code.state_schema}"
            )

    def _compare(self, stored: bytes, schema: int) -> None:
        """Code of another schema wrote other bytes by design: its state is migrated before the two are compared."""
        if self._agreed == self.version and self._own and not self._rows and stored == self._proved:
            return  # its hash was made of just these bytes
        self._check_seal(stored)
        workflow = self._workflow
        if self._reason or self._state is None or workflow is None:
            return
        try:
            folded = encode(self._state)
            if schema != workflow.code.state_schema:
                stored = encode(stored_state(workflow, schema, stored))
        except OnexError as error:
            self._differs(self.version, f"version {self.version}: {error.message}")
            return
        if folded != stored:
            self._differs(self.version, f"version {self.version}: {state_difference(folded, stored)}")
        else:
            self._agreed = self.version

    def _check_seal(self, state: bytes) -> None:
        """A stored state and the batch it came of have one hash, whatever code is at hand."""
        if self.version >= self._redacted:
            return
        if self._rows:
            self.damage(f"version {self.version}: the last row of its batch carries no state hash")
        elif (
            self._batch
            and state_hash(self._hash_before, self.stored.key, self._code.digest, self._batch, state) != self._hash
        ):
            self.damage(f"version {self.version}: the stored state, or its last batch, is not what was hashed")


class _Making(Protocol):
    def __call__(self) -> State: ...


def _told(intents: bytes) -> str:
    return cut(intents) or "none"


def _at(entry: LogEntry) -> str:
    return f"version {entry.version} ({entry.row.kind})"
