"""Shadow: other code folds what an engine writes, beside it, and counts what it would decide otherwise (promise 46).

It follows the log, and so works on any store and beside any engine, which does not know of it. It writes nothing and fires
nothing. One row, in this order:

1. Is its instance known? One that begins now is known from its initial state. One that began before is taken up at the state
   that is stored when its first row is read; rows up to that version are passed over. At the start the states of what is in
   flight are read ahead, as many as fit, so that most are known before their first row.
2. ``FastCompare`` folds it: as long as every byte comes out as recorded there is nothing to say.
3. The first byte that does not ends that, and ``SlowCompare`` goes on from the last equal batch: it says what differs, by the
   rules of a what-if. What was under way there is taken as agreed: up to there the two codes were equal.
4. A state in between is not in the log. Where a hash differs, the stored state decides, as soon as it is of the version reached.
   If it is the same by value, as after a field with a default, the comparison begins anew from there.

Memory is bounded. An instance that has ended is let go; of more than ``instances`` the one that was quiet longest. Met again it is
taken up as one that began before. An instance that is open stays as a mark, and its rows are only counted.

What may go wrong:

- The engine is ahead, so a stored state may be of a later version than the row. Then it is waited for.
- Rows were cut from the log before they were read. Their instance is taken up anew.
- A row cannot be read, or its code is unknown. The instance is open, with the reason.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from ..engine.projections import rows_after
from ..engine.registry import ReducerRegistry
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..ports import Code, LogEntry, Position, Reader, SnapshotRow, Stored
from ..replay.segment import UNKNOWN_CODE
from .branch import InstanceBranch
from .fast_compare import FastCompare, OtherWorkflow, is_foreign
from .messages import MessageChanges
from .result import InstanceResult, OpenFrom, WhatIfSummary, merged
from .shadow_counts import ShadowCounts, findings_of
from .slow_compare import SlowCompare
from .what_if import open_before, sent_to

PAGE: Final = 500
INSTANCES: Final = 10_000
STATE_BYTES: Final = 64 * 1024 * 1024
"""States that are read ahead at the start, in all."""
MESSAGES: Final = 50_000
EXAMPLES: Final = 3


class _Shadowed:
    """One instance. ``rows``: those behind the last equal batch, while it is folded fast. ``target``: a stored state that is of a
    later version than was read; there it is compared. ``opened``: from the start on."""

    __slots__ = ("begun_at", "fast", "opened", "rows", "slow", "stopped", "target", "version")

    def __init__(self, version: int, fast: FastCompare | None) -> None:
        self.begun_at = self.version = version
        self.fast = fast
        self.slow: SlowCompare | None = None
        self.rows: list[LogEntry] = []
        self.stopped = fast is None
        self.target: Stored | None = None
        self.opened: OpenFrom | None = None


class Shadow:
    """``registry`` is the other code. Call ``begin``, then ``read`` again and again; ``end`` gives the last counts."""

    def __init__(self, reader: Reader, registry: ReducerRegistry, *, instances: int = INSTANCES) -> None:
        self._reader, self._registry, self._most = reader, registry, instances
        self._sent = sent_to(registry)
        self._intent_is_a_type = "intent" in registry
        self._others: dict[str, OtherWorkflow] = {}
        self._codes: dict[int, Code] = {}
        self._places: dict[int, int] = {}
        self._ahead: dict[WorkflowKey, SnapshotRow] = {}
        self._known: OrderedDict[WorkflowKey, _Shadowed] = OrderedDict()
        self._messages = MessageChanges()
        self._summary = WhatIfSummary(EXAMPLES)
        self._totals = dict.fromkeys(("actions", "compared", "passed_over", "behind_open", "unknown", "let_go"), 0)
        self.last_us = 0

    async def begin(self) -> None:
        """From here on everything is compared. The end of the log is looked up first, so nothing falls in between."""
        for shard in range(self._reader.shards):
            self._places[shard] = await rows_after(self._reader, Position(shard, 0))
        left = STATE_BYTES
        for own, status in (await self._reader.counts()).by_status:
            workflow = self._registry.find(own)
            if workflow is not None and status not in workflow.reducer.terminal:
                left = await self._read_ahead(own, status, left)

    async def _read_ahead(self, own: str, status: str, left: int) -> int:
        """The states of what stands in one status, while there is room; how many bytes of it are left."""
        after: WorkflowKey | None = None
        while left > 0 and len(self._ahead) < self._most:
            rows = await self._reader.instances(own, status, after, PAGE)
            for stored in rows:
                if not stored.terminal:
                    self._ahead[stored.key] = _kept(stored)
                    left -= len(stored.state)
            if len(rows) < PAGE:
                break
            after = rows[-1].key
        return left

    async def read(self) -> int:
        """The next rows of each shard; how many. 0: there are no more at this moment."""
        went = 0
        for shard, n in self._places.items():
            rows = await self._reader.log(Position(shard, n), PAGE)
            if not rows:
                continue
            self._places[shard] = rows[-1].position.n
            self.last_us = rows[-1].row.issued_us
            await self._fold(rows)
            went += len(rows)
        return went

    async def end(self) -> ShadowCounts:
        await self._judge(list(self._known.values()))
        return self.counts()

    def counts(self) -> ShadowCounts:
        """As of now: with the instances that it still holds."""
        live, equal = WhatIfSummary(EXAMPLES), 0
        for key, one in self._known.items():
            if one.version == one.begun_at:
                continue
            if one.fast is not None:
                equal += 1  # the common case, at every look of whoever watches
            else:
                live.add(_result(key, one))
        summary = merged((self._summary, live), EXAMPLES)
        totals = summary.totals
        return ShadowCounts(
            instances=totals.instances + equal,
            same=totals.same + equal,
            differs=totals.differs,
            open=totals.opened_only,
            unseen=totals.unseen,
            stranded=totals.stranded,
            refused=totals.refused_actions,
            added=totals.added,
            lost=totals.lost,
            changed=totals.changed,
            findings=tuple(findings_of(summary)),
        ).model_copy(update=self._totals)

    # --- rows -------------------------------------------------------------------------------------------------------------

    async def _fold(self, rows: Sequence[LogEntry]) -> None:
        if any(entry.code_id not in self._codes for entry in rows):
            self._codes.update(await self._reader.codes())
        await self._meet(rows)
        slow: dict[WorkflowKey, _Shadowed] = {}
        for entry in rows:
            self._totals["actions"] += 1
            one = self._known.get(entry.key)
            if one is None or entry.version != one.version + 1:
                known = entry.key.workflow_type in self._registry
                self._totals["passed_over" if known else "unknown"] += 1
                if one is not None and entry.version > one.version:
                    self._let_go(entry.key)  # rows in between were cut: it is taken up again at the next one
                continue
            one.version = entry.version
            self._known.move_to_end(entry.key)
            if one.stopped:
                self._totals["behind_open"] += 1
                self._messages.withdraw_all(entry.key, entry.row)
            else:
                await self._take(one, entry)
            if one.target is not None and one.target.version == one.version:
                self._decide(one, one.target)
            if one.slow is not None and not one.stopped:
                slow[entry.key] = one
            if self._has_ended(entry):
                await self._judge([one])
                slow.pop(entry.key, None)
                self._let_go(entry.key)
        await self._judge(list(slow.values()))
        while len(self._known) > self._most:
            self._totals["let_go"] += 1
            self._let_go(next(iter(self._known)))
        if len(self._messages.withdrawn) + len(self._messages.extra) + len(self._messages.refused) > MESSAGES:
            self._messages.forget()

    async def _meet(self, rows: Sequence[LogEntry]) -> None:
        """Takes up the instances of these rows that are not known."""
        missing: list[WorkflowKey] = []
        for entry in rows:
            key = entry.key
            if key in self._known or key in missing or key.workflow_type not in self._registry:
                continue
            kept = self._ahead.pop(key, None)
            if entry.version == 1:
                kept = SnapshotRow(key, 0, b"", self._registry[key.workflow_type].code.state_schema, 0, b"")
            if kept is None or kept.version < entry.version - 1:
                missing.append(key)
            else:
                self._take_up(kept)
        for stored in (await self._reader.load(missing)).values() if missing else ():
            self._take_up(_kept(stored))

    def _take_up(self, kept: SnapshotRow) -> None:
        other = self._other(kept.key)
        try:
            fast = FastCompare(other, kept, other.refold.begin(kept), self._codes, self._messages)
        except OnexError as error:
            self._known[kept.key] = one = _Shadowed(kept.version, None)
            one.opened = OpenFrom(kept.version + 1, "", f"its state cannot be read: {error.message}")
            return
        self._known[kept.key] = _Shadowed(kept.version, fast)

    def _other(self, key: WorkflowKey) -> OtherWorkflow:
        if key.workflow_type not in self._others:
            self._others[key.workflow_type] = OtherWorkflow(self._registry[key.workflow_type])
        return self._others[key.workflow_type]

    def _has_ended(self, entry: LogEntry) -> bool:
        refold = self._other(entry.key).refold
        return refold.status(entry.row) in refold.workflow.reducer.terminal

    # --- one row of one instance -----------------------------------------------------------------------------------------

    async def _take(self, one: _Shadowed, entry: LogEntry) -> None:
        if one.fast is None:
            await self._take_slowly(one, entry)
            return
        one.rows.append(entry)
        is_type = self._intent_is_a_type
        if entry.key not in self._messages.extra and one.fast.take([entry], entry.version, intent_is_a_type=is_type):
            self._totals["compared"] += 1
            if entry.state_hash:
                one.rows.clear()
            return
        rows, kept = one.rows, one.fast.last_equal
        one.fast, one.rows = None, []
        self._totals["compared"] -= len(rows) - 1  # they are compared again
        stored = (await self._reader.load([entry.key]))[entry.key]
        refold = self._other(entry.key).refold
        branch = InstanceBranch(
            entry.key, refold, refold.begin(kept), begun=kept.version > 0, refused=self._messages.refused
        )
        one.slow = SlowCompare(branch, stored._replace(version=kept.version), kept, None)
        for each in rows:
            await self._take_slowly(one, each)

    async def _take_slowly(self, one: _Shadowed, entry: LogEntry) -> None:
        slow = one.slow
        assert slow is not None, "what is not folded fast is folded slowly"
        if one.stopped:
            self._totals["behind_open"] += 1
            return
        code, refusals = self._codes.get(entry.code_id, UNKNOWN_CODE), slow.refusals
        try:
            why = open_before(
                entry, slow.branch.workflow, self._messages, code, intent_is_a_type=self._intent_is_a_type
            )
            if why is not None:
                slow.open(entry, why)
            taken = await slow.take(entry, self._messages, code)
        except OnexError as error:
            slow.open(entry, f"its row cannot be compared: {error.message}")
            taken = False
        if slow.refusals > refusals and is_foreign(entry.row, intent_is_a_type=self._intent_is_a_type):
            self._messages.refused.add(entry.row.action_id)
        if taken:
            self._totals["compared"] += 1
            return
        one.stopped = True
        self._totals["behind_open"] += 1
        self._messages.withdraw_all(entry.key, entry.row)
        self._end_of(slow)

    # --- states -----------------------------------------------------------------------------------------------------------

    async def _judge(self, ones: Sequence[_Shadowed]) -> None:
        """Compares by value, where the stored state is of the version reached; where it is of a later one, it is kept for then."""
        todo = {
            one.slow.stored.key: one
            for one in ones
            if one.slow is not None and not one.stopped and one.target is None and one.slow.result.first is None
        }
        if not todo:
            return
        for key, stored in (await self._reader.load(list(todo))).items():
            if stored.version == todo[key].version:
                self._decide(todo[key], stored)
            elif stored.version > todo[key].version:
                todo[key].target = stored

    def _decide(self, one: _Shadowed, stored: Stored) -> None:
        one.target, slow = None, one.slow
        if slow is None or one.stopped or slow.result.first is not None:
            return
        slow.stored = stored
        if not self._end_of(slow):
            one.stopped = True
        elif slow.result.first is None:  # the same by value: from here it is compared anew
            one.slow = SlowCompare(slow.branch, stored, _kept(stored), None)

    def _end_of(self, slow: SlowCompare) -> bool:
        """The result so far. False: its state cannot be compared, and it is open."""
        try:
            slow.end(self._sent.get(slow.stored.key.workflow_type, frozenset()))
        except OnexError as error:
            why = f"its state cannot be compared: {error.message}"
            slow.result.opened = OpenFrom(slow.stored.version + 1, "", why)
            return False
        return True

    # --- the results ------------------------------------------------------------------------------------------------------

    def _let_go(self, key: WorkflowKey) -> None:
        one = self._known.pop(key)
        if one.version > one.begun_at:
            self._summary.add(_result(key, one))


def _result(key: WorkflowKey, one: _Shadowed) -> InstanceResult:
    actions = one.version - one.begun_at
    if one.slow is not None:
        result = one.slow.result
        result.actions = actions
        return result
    return InstanceResult(key, actions, actions, opened=one.opened)


def _kept(stored: Stored) -> SnapshotRow:
    return SnapshotRow(stored.key, stored.version, stored.state, stored.state_schema, stored.code_id, stored.state_hash)
