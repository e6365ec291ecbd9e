"""Walk: one instance action by action under the other code, each held against what is recorded at the same version.

A recorded version keeps its number though the other code may have refused actions before it: it is the reader's handle.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.encode import encode, state_hash
from ..kernel.errors import OnexError
from ..kernel.rename import ValueKind
from ..ports import Code, LogEntry, LogRow, Stored
from .branch import Blocked, InstanceBranch
from .messages import MessageChanges
from .recorded_states import KnownState, RecordedStates
from .result import EnumIntentChange, FirstDifference, InstanceResult, IntentChange, OpenFrom, RefusedAction
from .value_diff import (
    NONE,
    Changes,
    IntentUpgrade,
    LoggedIntent,
    compare,
    fields_of,
    read_intents,
    recorded_json,
    shown,
    state_json,
)


class SlowCompare:
    """``sealed`` is as far as all came out as recorded: states are compared behind it. Take every row, then ask for the end."""

    def __init__(
        self, branch: InstanceBranch, stored: Stored, sealed: KnownState, retelling: RecordedStates | None
    ) -> None:
        self.branch, self.stored = branch, stored
        self.told = InstanceResult(stored.key, stored.version)
        self._retelling = retelling
        self._mark = sealed  # the last recorded state whose bytes are known
        self._ahead: list[bytes] = []  # the recorded states behind it, as far as they were folded again
        self._hash = sealed.state_hash
        self._batch: list[LogRow] = []
        self._begun_batch = sealed.version + 1
        self._suspect: FirstDifference | None = None  # the last action of the first batch whose hash differs
        self._suspected = 0  # where that batch begins
        self._status = branch.state.status
        self._status_before = branch.state.status

    @property
    def refusals(self) -> int:
        return self.told.counts.get("refused", 0)

    def open(self, entry: LogEntry, why: str) -> None:
        if self.told.opened is None:
            self.told.opened = OpenFrom(entry.version, entry.row.kind, why)

    async def take(self, entry: LogEntry, news: MessageChanges, code: Code) -> bool:
        """One recorded action. False when the branch is open from here on: nothing behind is compared."""
        row, branch = entry.row, self.branch
        if self.told.opened is not None:
            return False
        source = branch.source(row)
        before = self._status_before = branch.state.status
        try:
            kind = branch.kind_for(row, source)
            recorded = read_intents(row.intents, self._reading(row.payload_schema))
            refusal: OnexError | None = None
            emitted: list[LoggedIntent] = []
            try:
                emitted = branch.step(row, kind, source)
            except OnexError as error:
                refusal = error
        except Blocked as blocked:
            self.open(entry, blocked.why)
            return False
        branch.take(row, source, recorded, emitted)
        self.told.folded += 1
        recorded_status = self._status = branch.status_of(row)
        differs: list[tuple[str, str]] = []
        if refusal is not None:
            self.told.add_refusal(RefusedAction(entry.version, row.kind, refusal.code, refusal.message))
            differs.append((f"refused ({refusal.code})", refusal.message))
        elif branch.state.status != recorded_status:
            now, was = branch.state.status, recorded_status
            differs.append((f"status {was} -> {now}", f"its status is {now!r}, recorded {was!r}"))
        intents = self._intents(entry, recorded, emitted, news)
        states = await self._state(entry, code) if entry.version > self._mark.version else []
        if refusal is None:  # that nothing moved and nothing was emitted follows from it
            differs += intents + states
        if differs and self.told.first is None:
            what, why = (("; ".join(dict.fromkeys(parts))) for parts in zip(*differs, strict=True))
            self.told.first = FirstDifference(entry.version, before, row.kind, what, why)
        return True

    def _reading(self, schema: int) -> IntentUpgrade | None:
        """How recorded intents become the other code's; None where they have its schema."""
        migrations, now = self.branch.workflow.migrations, self.branch.workflow.code.state_schema
        if schema == now:
            return None
        return IntentUpgrade(
            lambda name: migrations.intent(name, schema, now),
            lambda name, payload: migrations.apply(ValueKind(intent=name), payload, schema, now),
        )

    # --- intents ----------------------------------------------------------------------------------------------------------

    def _intents(
        self, entry: LogEntry, recorded: Sequence[LoggedIntent], emitted: Sequence[LoggedIntent], news: MessageChanges
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
        news.withdraw(entry.key, entry.row, [*lost, *(one for one, _ in resent)])
        table = self.branch.workflow.reducer.intents
        news.send(entry, added, table)
        news.send(entry, [other for _, other in resent], table, another=True)
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
            differs.append((f"changed {one.shown} ({paths})", f"{one.shown}: {_told(changes)}"))
        return differs

    def _note(
        self, entry: LogEntry, how: EnumIntentChange, name: str, old: str, new: str, changes: Changes = NONE
    ) -> None:
        self.told.add_intent(IntentChange(entry.version, how, name, old, new, changes))

    # --- states -----------------------------------------------------------------------------------------------------------

    async def _state(self, entry: LogEntry, code: Code) -> list[tuple[str, str]]:
        """What of the state differs after this row: by value where the recorded one can be known, else by its hash."""
        recorded = await self._recorded(entry, code)
        if recorded is None:
            self._check_hash(entry, code)
            return []
        if self.told.first is not None:  # the first one is known; what it came to is said at the end
            return []
        changes = self._changes(code.state_schema, recorded)
        return [(f"state: {', '.join(fields_of(changes))}", _told(changes))] if changes.total else []

    def _changes(self, schema: int, recorded: bytes) -> Changes:
        workflow = self.branch.workflow
        if schema == workflow.code.state_schema and encode(self.branch.state) == recorded:
            return NONE
        return compare(recorded_json(workflow, schema, recorded), state_json(self.branch.state))

    async def _recorded(self, entry: LogEntry, code: Code) -> bytes | None:
        """The recorded state at this version, folded again; None when the code that made it is not at hand."""
        known_before = self._mark.version == entry.version - 1 or (
            self._suspect is None and self._begun_batch == entry.version
        )
        if entry.version == self.stored.version and known_before:
            return self.stored.state
        if not self._ahead and self._retelling is not None and self._mark.version == entry.version - 1:
            self._ahead = list(reversed(await self._retelling.states(self._mark)))
        if not self._ahead:
            return None
        found = self._ahead.pop()
        self._mark = KnownState(entry.key, entry.version, code.state_schema, found, entry.state_hash)
        self._hash, self._begun_batch = entry.state_hash, entry.version + 1
        return found

    def _check_hash(self, entry: LogEntry, code: Code) -> None:
        self._batch.append(entry.row)
        if not entry.state_hash:
            return
        made = state_hash(self._hash, entry.key, code.digest, self._batch, encode(self.branch.state))
        if made != entry.state_hash:
            self.told.unseen = True
            # bytes of another schema are others by design: the hash says nothing of what they say
            if self._suspect is None and code.state_schema == self.branch.workflow.code.state_schema:
                self._suspect = FirstDifference(entry.version, self._status_before, entry.row.kind, "", "")
                self._suspected = self._begun_batch
        self._hash, self._batch, self._begun_batch = entry.state_hash, [], entry.version + 1

    # --- the end ----------------------------------------------------------------------------------------------------------

    def end(self, sent: frozenset[str]) -> InstanceResult:
        """What it came to. ``sent``: triggers that other workflows send to this one."""
        told, branch = self.told, self.branch
        told.recorded_status = self._status
        told.status = branch.state.status if branch.begun else ""
        told.state = self._at_end()
        if told.first is None and self._suspect is not None:
            self._find_suspect(self._suspect)
        if told.first is not None:
            told.unseen = False
        if told.first is not None or told.opened is not None:
            told.stranded = branch.stranded(sent)
        return told

    def _at_end(self) -> Changes | None:
        opened = self.told.opened
        last = self.stored.version if opened is None else opened.version - 1
        if last == self.stored.version:
            return self._changes(self.stored.state_schema, self.stored.state)
        if last == self._mark.version:
            return self._changes(self._mark.schema, self._mark.state) if last else NONE
        all_sealed = self._suspect is None and self._begun_batch == last + 1
        return NONE if last < self._mark.version or all_sealed else None

    def _find_suspect(self, suspect: FirstDifference) -> None:
        """A hash differed, and nobody can say what the state was. It is a difference when the last state tells of one, or
        when that has the very bytes that are recorded: then the same values would have had the same bytes before, too."""
        state = self.told.state
        if state is None:
            return
        where = f"version {self._suspected} or later"
        if state.total:
            what, why = f"state: {', '.join(fields_of(state))}", f"in {where}; at the end {_told(state)}"
        elif self.told.opened is None and encode(self.branch.state) == self.stored.state:
            what, why = "state in between", f"in {where}; the code that made it is not at hand to say what of it"
        else:  # the same values in other bytes, all along as far as can be seen: ``unseen`` counts it
            return
        self.told.first = suspect._replace(what=what, why=why)


def _within_payload(path: str) -> str:
    """``payload.items[0].cents`` -> ``items``; what is not payload keeps its name."""
    names = path.split(".")
    name = names[1] if names[0] == "payload" and len(names) > 1 else names[0]
    return name.split("[")[0]


def _told(changes: Changes) -> str:
    parts = [
        f"{change.path} {change.new or 'absent'}, recorded {change.old or 'absent'}" for change in changes.first[:3]
    ]
    more = changes.total - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")
