"""Segment: consecutive rows of one instance that one code made, folded again and compared with what is stored.

A replay answers two questions at once. Does the code at hand make of the rows what is stored (``_reason``)? And do the
stored rows agree with each other and with their hashes, whatever the code (``_broken``)? The first can be the code's
doing. The second is damage: no code explains it.

Order, for each segment:

1. ``begin`` where a code takes over: from the initial state at version 1, else from the state kept at that change.
   Without a kept state, or with one that this code cannot read, nothing is folded. The rows are still read, for damage.
2. ``fold`` its rows. Each row must follow the one before by version, position and time. Its status and intents are
   compared at once. A row with a state hash closes a batch: the state is written and hashed with the batch.
   The hash covers the state's bytes, so equal hashes mean equal states, and nothing else need be stored.
3. ``check_kept`` every 1,000 versions: the snapshot there is compared too, though no later fold starts from it.
4. ``end``: the last state is compared with the kept one where other code follows, or with the stored row at the end.

What may go wrong, and why the verdict is still right:

- Folding stops at the first difference: what comes behind follows from it. Order and hashes are checked to the end.
- States between batch ends are not stored. So a difference may have begun earlier than it is seen: ``since`` says where.
- Under other code a hash says nothing, since the code's digest is in it. States are then compared only where one is kept.
- Code of another state schema writes other bytes by design. The stored state, statuses and intents are migrated first.
- Other code of the same schema may have one more field with a default. Its bytes differ and its values do not. So a stored
  state is read by that code and written again, and the verdict then says "same decisions".
- The app's code runs here, and older code meets newer bytes. Whatever it raises is a difference, not an error of replay.
- From the first redacted version on, hashes cover bytes that are gone. No verdict is better than unverified from there.
- Where values are encrypted and the key is not here, or was destroyed, nothing is folded. Order and references are still checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..engine.encode import encode, encode_intents, state_hash
from ..engine.fold import SNAPSHOT_EVERY
from ..engine.refold import Refold
from ..engine.registry import ReducerRegistry, Workflow
from ..engine.schema_upgrade import stored_state
from ..kernel.action import WorkflowKey
from ..kernel.data_key import EnumUnreadable, mark_text, unreadable
from ..kernel.errors import OnexError
from ..kernel.step import State
from ..kernel.user_code import caught
from ..ports import Code, LogEntry, LogRow, Position, SnapshotRow, Stored
from .verdict import EnumReplayVerdict, Segment, cut, only_adds, state_difference

_HIDDEN = {
    EnumUnreadable.ENCRYPTED: EnumReplayVerdict.ENCRYPTED,
    EnumUnreadable.ERASED: EnumReplayVerdict.ERASED,
}
UNKNOWN_CODE = Code("", "?", b"", 0)
"""Of rows whose code the store does not name."""


class Snapshots(Protocol):
    """Where the kept states of an instance are."""

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None: ...


class CodeAtHand:
    """The code there is to fold with: of the very digest that made a row, else what the app has today."""

    def __init__(self, registry: ReducerRegistry, older: Sequence[Workflow]) -> None:
        self._by_code = {(w.code.workflow_type, w.code.digest): Refold(w) for w in (*older, *registry.workflows)}
        self._today = {
            w.code.workflow_type: self._by_code[w.code.workflow_type, w.code.digest] for w in registry.workflows
        }
        self.codes: Mapping[int, Code] = {}

    def of(self, code_id: int) -> Code:
        return self.codes.get(code_id, UNKNOWN_CODE)

    def refold(self, code: Code) -> tuple[Refold | None, bool]:
        """The code to fold with, and whether it is the row's own."""
        own = self._by_code.get((code.workflow_type, code.digest))
        return (own, True) if own is not None else (self._today.get(code.workflow_type), False)


class SegmentReplay:
    """One instance, segment after segment: ``begin`` where a code takes over, ``fold`` its rows, ``end`` for the verdict.

    ``redacted_since`` is the first version whose bytes were changed on purpose, 0 for none.
    """

    def __init__(self, snapshots: Snapshots, at_hand: CodeAtHand, stored: Stored, redacted_since: int = 0) -> None:
        self._snapshots = snapshots
        self._at_hand = at_hand
        self.stored = stored
        kind = unreadable(stored.state)
        self._hidden = _HIDDEN.get(kind) if kind else None
        self._redacted = 1 if self._hidden else redacted_since or stored.version + 1
        self._rows: list[LogRow] = []  # of the batch whose state hash is still to come
        self._batch: list[LogRow] = []  # the one before, which its hash has sealed
        self._hash = self._hash_before = b""  # behind and before ``_batch``
        self._code = UNKNOWN_CODE
        self.code_id = -1
        self._env_id = 0
        self._first = 0
        self.version = 0
        self._position = Position(-1, 0)
        self._issued_us = 0
        self._refold: Refold | None = None
        self._own = False
        self._state: State | None = None
        self._agreed = 0  # the last version whose state was compared and found equal
        self._proved = b""  # the state behind the last batch whose hash was made again
        self._reason = self._broken = ""
        self._differs_at = 0
        self._other_bytes = False  # a state was equal by value only
        self._crossed = False  # whether the rows have just come past a version whose state is kept
        self.intents = 0

    def damage(self, what: str) -> None:
        """Something that no code explains. Only the first is reported."""
        self._broken = self._broken or what

    def _differs(self, at: int, what: str) -> None:
        if not self._reason:
            self._reason, self._differs_at = what, at

    # --- a code takes over ----------------------------------------------------------------------------------------------

    async def begin(self, entry: LogEntry) -> None:
        """The first row of a segment: fold from the start, or from the state kept where its code took over."""
        self.code_id, self._first = entry.code_id, entry.version
        self._reason, self._broken, self._differs_at, self._agreed = "", "", 0, entry.version - 1
        self._other_bytes = False
        self._code = self._at_hand.of(entry.code_id)
        self._refold, self._own = (None, False) if self._hidden else self._at_hand.refold(self._code)
        self._state = None
        kept: SnapshotRow | None = None
        if entry.version != 1:
            kept = await self._snapshots.snapshot(self.stored.key, entry.version - 1)
            if kept is None or kept.version != entry.version - 1:
                self._differs(
                    entry.version, f"no state is kept at version {entry.version - 1}, where this code took over"
                )
                return
            if self.version == 0:  # the rows before were compacted
                self.version, self._hash = kept.version, kept.state_hash
        if (refold := self._refold) is None:
            return
        try:
            self._state = refold.begin(kept)
        except OnexError as error:
            self._differs(entry.version, error.message)
        except BaseException as error:  # a reducer made by hand, or a default of the state's
            self._differs(entry.version, caught(error))

    # --- its rows -------------------------------------------------------------------------------------------------------

    def fold(self, rows: Sequence[LogEntry], at: int) -> int:
        """Fold from ``rows[at]`` on. Returns where it stopped: other code, the stored version, or a kept state to compare.

        Every recorded action passes this loop, so its names are local and each is looked up once.
        """
        key, limit, code_id = self.stored.key, self.stored.version, self.code_id
        own, redacted, digest = self._own, self._redacted, self._code.digest
        version, (shard, n), issued_us = self.version, self._position, self._issued_us
        state, pending, refold = self._state, self._rows, self._refold
        folding = state is not None and refold is not None and not self._reason
        if refold is not None:
            action, delta, schema = refold.action, refold.delta, refold.schema
        index, crossed = at, False
        while index < len(rows) and not crossed:
            entry = rows[index]
            position, _, its_version, row, its_code, env_id, sealed = entry
            if its_code != code_id or its_version > limit:
                break
            its_us = row.issued_us
            if its_version != version + 1 or its_us < issued_us or (position[0] == shard and position[1] <= n):
                self._check_order(entry, version, Position(shard, n), issued_us)
            version, (shard, n), issued_us = its_version, position, its_us
            pending.append(row)
            if folding:
                assert refold is not None and state is not None, "there is a state to fold"
                try:
                    done = delta(state, action(key, row))
                    state, emitted, stored_intents = done.state, done.intents, row.intents
                    if state.status != (row.status if row.payload_schema == schema else refold.status(row)):
                        self._differs(version, f"{_at(entry)}: status {state.status!r}, stored {row.status!r}")
                    elif emitted or stored_intents:
                        self.intents += len(emitted)
                        made = encode_intents(emitted)
                        if row.payload_schema != schema:
                            stored_intents = refold.intents(row)
                        if made != stored_intents:
                            self._differs(
                                version, f"{_at(entry)}: intents {_shown(made)}, stored {_shown(stored_intents)}"
                            )
                    if sealed and own and version < redacted and not self._reason:
                        self._proved = encode(state)
                        if state_hash(self._hash, key, digest, pending, self._proved) != sealed:
                            self._differs(version, f"{_at(entry)}: the state hash differs from the stored one")
                        else:
                            self._agreed = version
                except OnexError as error:
                    self._differs(version, f"{_at(entry)}: {error.message}")
                except BaseException as error:  # a reducer made by hand may raise anything
                    self._differs(version, f"{_at(entry)}: {caught(error)}")
                folding = not self._reason
            if sealed:  # a snapshot stands at the end of the batch that passed a multiple of SNAPSHOT_EVERY
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
        """After ``fold``: compares the snapshot, where the rows have just passed one."""
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
            if other_code_follows or self.stored.version == self.stored.cut:  # no row yet, or all are in an archive
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
        if self._hidden and not self._broken:
            self._reason = f"its values are {mark_text(self.stored.state)}"
        reason = self._reason or self._broken if self._own else self._broken or self._reason
        at = self._differs_at if reason else 0
        since = min(self._agreed + 1, at) if at else 0
        return Segment(
            self.stored.key, self._first, self.version, self._code, self._env_id, verdict, reason, at, since
        )  # fmt: skip

    def _verdict(self) -> EnumReplayVerdict:
        if self._hidden and not self._broken:
            return self._hidden
        if self.version >= self._redacted and not self._hidden:
            return EnumReplayVerdict.REDACTED
        if self._broken:
            return EnumReplayVerdict.MISMATCH
        if self._refold is None:
            return EnumReplayVerdict.CODE_NOT_AT_HAND
        if self._own:
            return EnumReplayVerdict.MISMATCH if self._reason else EnumReplayVerdict.EQUAL
        if self._reason:
            return EnumReplayVerdict.OTHER_CODE_DIFFERS
        same = EnumReplayVerdict.OTHER_CODE_SAME_DECISIONS
        return same if self._other_bytes else EnumReplayVerdict.OTHER_CODE_EQUAL

    def _nothing_logged(self) -> None:
        self._first, self.version = 1, self.stored.version
        self._code = self._at_hand.of(self.stored.code_id)
        self.damage(f"the log holds no row of it, the stored state is at version {self.stored.version}")

    def _check_last(self) -> None:
        """The stored row repeats what the last log row says: both must agree."""
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
        if self._own and self._refold and stored.terminal != (stored.status in self._refold.workflow.reducer.terminal):
            self.damage(
                f"the stored row says terminal: {stored.terminal}, its code says otherwise of {stored.status!r}"
            )

    def _check_snapshot(self, kept: SnapshotRow) -> None:
        """A snapshot of every 1,000 versions, or the one at a change of code."""
        if (kept.state_hash, kept.code_id) != (self._hash, self.code_id):
            self.damage(f"version {self.version}: the snapshot's state hash or code is not the log's")
        self._check_schema(kept.state_schema)

    def _check_schema(self, schema: int) -> None:
        if self._code.workflow_type and schema != self._code.state_schema:
            self.damage(
                f"version {self.version}: the state has schema {schema}, its code writes {self._code.state_schema}"
            )

    def _compare(self, stored: bytes, schema: int) -> None:
        """The folded state with a stored one, which is migrated first where it is of another schema."""
        if self._agreed == self.version and self._own and not self._rows and stored == self._proved:
            return  # the last hash was made of these bytes
        self._check_hash(stored)
        refold = self._refold
        if self._reason or self._state is None or refold is None:
            return
        try:
            folded = encode(self._state)
            if schema != refold.schema:
                stored = encode(stored_state(refold.workflow, schema, stored))
        except OnexError as error:
            self._differs(self.version, f"version {self.version}: {error.message}")
            return
        if folded != stored and (self._own or not _equal_as_read(refold, folded, stored)):
            self._differs(self.version, f"version {self.version}: {state_difference(folded, stored)}")
        else:
            self._other_bytes = self._other_bytes or folded != stored
            self._agreed = self.version

    def _check_hash(self, state: bytes) -> None:
        """The hash of the last batch was made of a state, so it checks a stored one whatever code is at hand."""
        if self.version >= self._redacted:
            return
        if self._rows:
            self.damage(f"version {self.version}: the last row of its batch carries no state hash")
        elif (
            self._batch
            and state_hash(self._hash_before, self.stored.key, self._code.digest, self._batch, state) != self._hash
        ):
            self.damage(f"version {self.version}: the stored state, or its last batch, is not what was hashed")


def _equal_as_read(refold: Refold, folded: bytes, stored: bytes) -> bool:
    """Whether every stored value is the folded one, and what this code has more is the default it reads there."""
    try:
        return only_adds(folded, stored) and encode(stored_state(refold.workflow, refold.schema, stored)) == folded
    except OnexError:
        return False


def _shown(intents: bytes) -> str:
    return cut(intents) or "none"


def _at(entry: LogEntry) -> str:
    return f"version {entry.version} ({entry.row.kind})"
