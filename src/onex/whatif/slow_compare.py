"""Slow compare: one instance action by action under the other code, each compared with what is recorded there.

It runs where ``fast_compare`` found a difference, and says where, what and why. A recorded version keeps its number,
though the other code may have refused actions before it: readers look it up by that number.

For each row, in this order: the branch decides whether the action may be given (``branch.py``). The action is folded.
Then four things are compared:

1. Was it refused? The intents recorded of it are then lost. That follows from the refusal, and is no second difference.
2. The status.
3. The intents, by name and number: lost, added, or changed. What is no longer sent, or sent anew, goes to ``found``.
4. The state, but only until the first difference: what comes behind follows from it.

The recorded state at a version is mostly not stored. It is known, in this order of preference: up to ``last_equal`` (the
fast compare proved it equal), as the stored state at the last version, or folded again by the code that made the record.
Where that code is not at hand, the hash at the end of the batch still says *that* a state differs, and not what. Such a
version is kept as the ``suspect``, and judged at the end:

- The last states differ by value: the suspect is the first difference, and what differs at the end is shown with it.
- The last states are equal byte for byte: equal values have equal bytes under the code that made the record, so other bytes
  before were other values. The suspect is the first difference too.
- Else it is no difference: the same values may have had other bytes all along, or the branch opened before the end and
  the last state is not known. ``unseen`` counts such an instance.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.encode import encode, state_hash
from ..kernel.errors import OnexError
from ..kernel.rename import ValueKind
from ..ports import Code, LogEntry, LogRow, SnapshotRow, Stored
from .branch import Blocked, InstanceBranch, time_text
from .messages import MessageChanges
from .recorded_states import RecordedStates
from .result import EnumIntentChange, FirstDifference, InstanceResult, IntentChange, OpenFrom, RefusedAction
from .value_diff import (
    NONE,
    Changes,
    IntentUpgrade,
    RecordedIntent,
    ValueChange,
    compare,
    fields_of,
    recorded_intents,
    recorded_json,
    shown,
    state_json,
)


class SlowCompare:
    """One instance. ``take`` every row, then ask for the ``end``. ``last_equal``: the fast compare found all equal up to it."""

    def __init__(
        self, branch: InstanceBranch, stored: Stored, last_equal: SnapshotRow, recorded_states: RecordedStates | None
    ) -> None:
        self.branch, self.stored = branch, stored
        self.result = InstanceResult(stored.key, stored.version)
        self._recorded_states = recorded_states
        self._known = last_equal  # the last recorded state whose bytes are known
        self._ahead: list[bytes] = []  # the recorded states behind it, as far as they were folded again
        self._hash = last_equal.state_hash
        self._batch: list[LogRow] = []
        self._begun_batch = last_equal.version + 1
        self._suspect: FirstDifference | None = None  # the last action of the first batch whose hash differs
        self._suspected = 0  # where that batch begins
        self._status = branch.state.status
        self._status_before = branch.state.status

    @property
    def refusals(self) -> int:
        return self.result.counts.get("refused", 0)

    def open(self, entry: LogEntry, why: str) -> None:
        if self.result.opened is None:
            self.result.opened = OpenFrom(entry.version, entry.row.kind, why)

    async def take(self, entry: LogEntry, found: MessageChanges, code: Code) -> bool:
        """One recorded action. False when the branch is open from here on: nothing behind is compared."""
        row, branch = entry.row, self.branch
        if self.result.opened is not None:
            return False
        origin = branch.origin(row)
        before = self._status_before = branch.state.status
        try:
            kind = branch.kind_for(row, origin)
            recorded = recorded_intents(row.intents, self._upgrade(row.payload_schema))
            refusal: OnexError | None = None
            emitted: list[RecordedIntent] = []
            try:
                emitted = branch.step(row, kind, origin)
            except OnexError as error:
                refusal = error
        except Blocked as blocked:
            self.open(entry, blocked.why)
            return False
        branch.take(row, origin, recorded, emitted)
        self.result.folded += 1
        recorded_status = self._status = branch.status(row)
        differs: list[tuple[str, str]] = []
        if refusal is not None:
            self.result.add_refusal(RefusedAction(entry.version, row.kind, refusal.code, refusal.message))
            differs.append((f"refused ({refusal.code})", refusal.message))
        elif branch.state.status != recorded_status:
            now, was = branch.state.status, recorded_status
            differs.append((f"status {was} -> {now}", f"its status is {now!r}, recorded {was!r}"))
        intents = self._intents(entry, recorded, emitted, found)
        states = await self._state(entry, code) if entry.version > self._known.version else []
        if refusal is None:  # a refused action changes nothing and emits nothing: that is no second difference
            differs += intents + states
        if differs and self.result.first is None:
            what, why = (("; ".join(dict.fromkeys(parts))) for parts in zip(*differs, strict=True))
            self.result.first = FirstDifference(entry.version, before, row.kind, what, why)
        return True

    def _upgrade(self, schema: int) -> IntentUpgrade | None:
        """How recorded intents get the other code's names and payloads; None where they have its schema."""
        migrations, now = self.branch.workflow.migrations, self.branch.workflow.code.state_schema
        if schema == now:
            return None
        return IntentUpgrade(
            lambda name: migrations.intent(name, schema, now),
            lambda name, payload: migrations.apply(ValueKind(intent=name), payload, schema, now),
        )

    # --- intents ----------------------------------------------------------------------------------------------------------

    def _intents(
        self,
        entry: LogEntry,
        recorded: Sequence[RecordedIntent],
        emitted: Sequence[RecordedIntent],
        found: MessageChanges,
    ) -> list[tuple[str, str]]:
        if recorded == emitted:
            return []
        old = {(item.name, item.n): item for item in recorded}
        new = {(item.name, item.n): item for item in emitted}
        lost = [item for at, item in old.items() if at not in new]
        added = [item for at, item in new.items() if at not in old]
        changed = [(item, new[at]) for at, item in old.items() if at in new]
        changed = [(one, other) for one, other in changed if compare(dict(one.said), dict(other.said)).total]
        resent = [(one, other) for one, other in changed if not one.asks_the_same(other)]
        found.withdraw(entry.key, entry.row, [*lost, *(one for one, _ in resent)])
        table = self.branch.workflow.reducer.intents
        found.send(entry, added, table)
        found.send(entry, [other for _, other in resent], table, another=True)
        differs: list[tuple[str, str]] = []
        for item in lost:
            self._note(entry, EnumIntentChange.LOST, item.shown, shown(dict(item.said)), "")
            differs.append((f"lost {item.shown}", f"{item.shown} is not emitted"))
        for item in added:
            self._note(entry, EnumIntentChange.ADDED, item.shown, "", shown(dict(item.said)))
            differs.append((f"added {item.shown}", f"{item.shown} is emitted, and was not"))
        for one, other in changed:
            changes = compare(dict(one.said), dict(other.said))
            self._note(
                entry, EnumIntentChange.CHANGED, one.shown, shown(dict(one.said)), shown(dict(other.said)), changes
            )
            paths = ", ".join(dict.fromkeys(_within_payload(change.path) for change in changes.first))
            differs.append((f"changed {one.shown} ({paths})", f"{one.shown}: {_sentence(changes)}"))
        return differs

    def _note(
        self, entry: LogEntry, how: EnumIntentChange, name: str, old: str, new: str, changes: Changes = NONE
    ) -> None:
        self.result.add_intent(IntentChange(entry.version, how, name, old, new, changes))

    # --- states -----------------------------------------------------------------------------------------------------------

    async def _state(self, entry: LogEntry, code: Code) -> list[tuple[str, str]]:
        """How the state differs after this row: by value where the recorded one can be known, else only by its hash."""
        recorded = await self._recorded(entry, code)
        if recorded is None:
            self._check_hash(entry, code)
            return []
        if (
            self.result.first is not None
        ):  # the first difference is known; the states at the end are compared by ``end``
            return []
        changes = self._changes(code.state_schema, recorded)
        return [(f"state: {', '.join(fields_of(changes))}", _sentence(changes))] if changes.total else []

    def _changes(self, schema: int, recorded: bytes) -> Changes:
        workflow = self.branch.workflow
        if schema == workflow.code.state_schema and encode(self.branch.state) == recorded:
            return NONE
        return compare(recorded_json(workflow, schema, recorded), state_json(self.branch.state))

    async def _recorded(self, entry: LogEntry, code: Code) -> bytes | None:
        """The recorded state at this version, folded again; None when the code that made it is not at hand."""
        known_before = self._known.version == entry.version - 1 or (
            self._suspect is None and self._begun_batch == entry.version
        )
        if entry.version == self.stored.version and known_before:
            return self.stored.state
        if not self._ahead and self._recorded_states is not None and self._known.version == entry.version - 1:
            self._ahead = list(reversed(await self._recorded_states.states(self._known)))
        if not self._ahead:
            return None
        found = self._ahead.pop()
        self._known = SnapshotRow(entry.key, entry.version, found, code.state_schema, entry.code_id, entry.state_hash)
        self._hash, self._begun_batch = entry.state_hash, entry.version + 1
        return found

    def _check_hash(self, entry: LogEntry, code: Code) -> None:
        self._batch.append(entry.row)
        if not entry.state_hash:
            return
        made = state_hash(self._hash, entry.key, code.digest, self._batch, encode(self.branch.state))
        if made != entry.state_hash:
            self.result.unseen = True
            # bytes of another schema differ by design, so the hash says nothing of the values
            if self._suspect is None and code.state_schema == self.branch.workflow.code.state_schema:
                self._suspect = FirstDifference(entry.version, self._status_before, entry.row.kind, "", "")
                self._suspected = self._begun_batch
        self._hash, self._batch, self._begun_batch = entry.state_hash, [], entry.version + 1

    # --- the end ----------------------------------------------------------------------------------------------------------

    def end(self, sent: frozenset[str]) -> InstanceResult:
        """The result. ``sent``: triggers that other workflows send to this one."""
        result, branch = self.result, self.branch
        result.recorded_status = self._status
        result.status = branch.state.status if branch.begun else ""
        result.state = self._at_end()
        if result.first is None and self._suspect is not None:
            self._find_suspect(self._suspect)
        if result.first is not None:
            result.unseen = False
        if result.first is not None or result.opened is not None:
            result.stranded = branch.stranded(sent)
        return result

    def _at_end(self) -> Changes | None:
        opened = self.result.opened
        last = self.stored.version if opened is None else opened.version - 1
        if last == self.stored.version:
            return self._changes(self.stored.state_schema, self.stored.state)
        if last == self._known.version:
            return self._changes(self._known.state_schema, self._known.state) if last else NONE
        all_equal = self._suspect is None and self._begun_batch == last + 1
        return NONE if last < self._known.version or all_equal else None

    def _find_suspect(self, suspect: FirstDifference) -> None:
        """A hash differed, and the recorded state is not known: the three cases at the head of this file."""
        state = self.result.state
        if state is None:
            return
        where = f"version {self._suspected} or later"
        if state.total:
            what, why = f"state: {', '.join(fields_of(state))}", f"in {where}; at the end {_sentence(state)}"
        elif self.result.opened is None and encode(self.branch.state) == self.stored.state:
            what, why = "state in between", f"in {where}; the code that made it is not at hand to say what of it"
        else:
            return
        self.result.first = suspect._replace(what=what, why=why)


def _within_payload(path: str) -> str:
    """``payload.items[0].cents`` -> ``items``; what is not payload keeps its name."""
    names = path.split(".")
    name = names[1] if names[0] == "payload" and len(names) > 1 else names[0]
    return name.split("[")[0]


def _value(change: ValueChange, text: str) -> str:
    """The time at which something is due, as a date; other values as their JSON."""
    if change.path == "due_us" and text.isdecimal():
        return time_text(int(text))
    return text or "absent"


def _sentence(changes: Changes) -> str:
    parts = [
        f"{change.path} {_value(change, change.new)}, recorded {_value(change, change.old)}"
        for change in changes.first[:3]
    ]
    more = changes.total - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")
