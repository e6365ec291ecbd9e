"""What-if: recorded histories folded on other code, and where they come out otherwise (promise 36). Nothing is fired.

One instance, in this order:

1. ``FastCompare`` from the start of its log: how far does every byte come out as recorded? Most often to the end. Then the
   instance is the same, unless a message that was never recorded would reach it.
2. Else ``SlowCompare``, again from the start of its log: where does it differ, and how? It begins at the start because the
   intents and timers under way there are needed to decide which actions may be given (``branch.py``).
3. Before each action: is the branch open from here? It is where the record is redacted, where a message is not sent any
   more or a new one would have come before, or where the code's schemas do not allow a comparison.
4. What an open instance would have sent behind that version is not known: its messages are withdrawn.

Instances meet through messages only. What one of them sends otherwise is gathered in ``new_messages``. The caller
(``processes/whatif_run.py``) adds it to ``messages`` and folds the receivers again, until nothing new is found.

What may go wrong: a row cannot be read, versions are missing, a migration fails. Then the instance is open, with the
reason, and never counted as the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from ..engine.refold import Recorded, Refold
from ..engine.registry import ReducerRegistry, Workflow
from ..kernel.action import WorkflowKey
from ..kernel.data_key import mark_text, unreadable
from ..kernel.errors import OnexError, StateConsistencyError
from ..kernel.intent import EnumIntentType
from ..kernel.step import State
from ..ports import Code, LogEntry, SnapshotRow, Stored
from ..replay.replay import nothing_redacted
from ..replay.segment import UNKNOWN_CODE
from .branch import InstanceBranch
from .fast_compare import FastCompare, OtherWorkflow, is_foreign
from .messages import MessageChanges
from .recorded_states import RecordedStates
from .result import InstanceResult, OpenFrom
from .slow_compare import SlowCompare

PAGE: Final = 1000
SEND: Final = EnumIntentType.ACTION_SEND


class WhatIf:
    """Compares instances one by one with ``registry``, the other code; ``messages`` is what is known of messages so far.

    ``recorded_states`` knows the recorded states in between, where the code that made them is at hand. ``new_messages``
    gathers what the instances compared here send otherwise, ``receivers`` the workflow types of those that other instances
    sent something. ``redacted_since``: from which version on an instance's bytes were changed on purpose, 0 for never.
    """

    def __init__(
        self,
        reader: Recorded,
        registry: ReducerRegistry,
        recorded_states: RecordedStates | None = None,
        redacted_since: Callable[[WorkflowKey], Awaitable[int]] = nothing_redacted,
    ) -> None:
        self.reader, self.registry, self.recorded_states = reader, registry, recorded_states
        self.redacted_since = redacted_since
        self.messages, self.new_messages = MessageChanges(), MessageChanges()
        self.receivers: set[str] = set()
        self.actions = 0
        self._sent = sent_to(registry)
        self._intent_is_a_type = "intent" in registry  # then a key may look like the issuer of an outcome
        self._others: dict[str, OtherWorkflow] = {}
        self._codes: Mapping[int, Code] = {}

    @property
    def correspondents(self) -> frozenset[str]:
        """The workflow types to which this code sends something, and those that get outcomes of their messages."""
        tables = {one.reducer.workflow_type: one.reducer.intents.by_name.values() for one in self.registry.workflows}
        hear = {name for name, specs in tables.items() for spec in specs if spec.kind == SEND and spec.outcomes}
        return frozenset({*self._sent, *hear})

    async def instance(self, stored: Stored) -> InstanceResult:
        """What the other code makes of one instance. Raises no OnexError: what cannot be read is open, and says why."""
        if stored.code_id not in self._codes:  # the store may be written on meanwhile, by new code as well
            self._codes = await self.reader.codes()
        key = stored.key
        self.actions += stored.version
        if unreadable(stored.state) is not None:
            await self._withdraw_from(key, 0, stored.version)
            return _open_from_start(stored, f"its values are {mark_text(stored.state)}")
        if key.workflow_type not in self.registry:
            await self._withdraw_from(key, 0, stored.version)
            return _open_from_start(stored, f"the other code has no workflow {key.workflow_type!r}")
        if key.workflow_type not in self._others:
            self._others[key.workflow_type] = OtherWorkflow(self.registry[key.workflow_type])
        other = self._others[key.workflow_type]
        try:
            last_equal = await self._fast(stored, other)
            if last_equal.version == stored.version and key not in self.messages.extra:
                status = stored.status
                return InstanceResult(key, stored.version, stored.version, recorded_status=status, status=status)
            return await self._slow(stored, other.refold, last_equal)
        except OnexError as error:
            await self._withdraw_from(key, 0, stored.version)
            return _open_from_start(stored, f"its history cannot be compared: {error.message}")

    async def _fast(self, stored: Stored, other: OtherWorkflow) -> SnapshotRow:
        """The end of the last batch up to which all comes out as recorded."""
        key, last = stored.key, stored.version
        rows = await self.reader.history(key, 0, PAGE)
        kept, state = await self._begin(key, other.refold, rows)
        compare = FastCompare(other, kept, state, self._codes, self.messages)
        while rows and compare.take(rows, last, intent_is_a_type=self._intent_is_a_type) and rows[-1].version < last:
            rows = await self.reader.history(key, rows[-1].version, PAGE)
        if compare.foreign:
            self.receivers.add(key.workflow_type)
        return compare.last_equal

    async def _begin(self, key: WorkflowKey, refold: Refold, rows: Sequence[LogEntry]) -> tuple[SnapshotRow, State]:
        """Before the first of ``rows``, the oldest there are; where history was compacted, at the state that was kept."""
        if not rows or rows[0].version == 1:
            kept = SnapshotRow(key, 0, b"", refold.schema, 0, b"")
        else:
            before = rows[0].version - 1
            found = await self.reader.snapshot(key, before)
            if found is None or found.version != before:
                raise StateConsistencyError(f"no state is kept at version {before}, where its log begins")
            kept = found
        return kept, refold.begin(kept)

    async def _slow(self, stored: Stored, refold: Refold, last_equal: SnapshotRow) -> InstanceResult:
        kept, state = await self._begin(stored.key, refold, await self.reader.history(stored.key, 0, 1))
        branch = InstanceBranch(stored.key, refold, state, begun=kept.version > 0, refused=self.messages.refused)
        redacted = await self.redacted_since(stored.key)
        compare = SlowCompare(branch, stored, last_equal, self.recorded_states)
        version = kept.version
        while version < stored.version and compare.result.opened is None:
            for entry in await self._rows(stored.key, version, stored.version):
                version, refusals = entry.version, compare.refusals
                if redacted and version >= redacted:
                    compare.open(entry, "what was recorded of it is redacted")
                code, is_type = self._codes.get(entry.code_id, UNKNOWN_CODE), self._intent_is_a_type
                if is_foreign(entry.row, intent_is_a_type=is_type):
                    self.receivers.add(stored.key.workflow_type)
                why = open_before(entry, refold.workflow, self.messages, code, intent_is_a_type=is_type)
                if why is not None:
                    compare.open(entry, why)
                if not await compare.take(entry, self.new_messages, code):
                    break
                if compare.refusals > refusals and is_foreign(entry.row, intent_is_a_type=self._intent_is_a_type):
                    self.new_messages.refused.add(entry.row.action_id)
        result = compare.end(self._sent.get(stored.key.workflow_type, frozenset()))
        extras = self.messages.extra.get(stored.key)
        if result.opened is None and extras is not None:
            extra = extras[min(extras)]
            result.opened = OpenFrom(stored.version + 1, "", f"behind its last action {extra.what}")
        if result.opened is not None:
            await self._withdraw_from(stored.key, result.opened.version - 1, stored.version)
        return result

    async def _withdraw_from(self, key: WorkflowKey, version: int, last: int) -> None:
        """Withdraws every message behind ``version``: whether it is still sent is not known."""
        try:
            while version < last:
                rows = await self._rows(key, version, last)
                for entry in rows:
                    self.new_messages.withdraw_all(key, entry.row)
                version = rows[-1].version
        except OnexError:  # unreadable from here on: what it sent cannot be named
            pass

    # --- reading ------------------------------------------------------------------------------------------------------------

    async def _rows(self, key: WorkflowKey, version: int, last: int) -> list[LogEntry]:
        """The next rows behind ``version``, none behind ``last``. Raises StateConsistencyError where some are missing."""
        rows = [entry for entry in await self.reader.history(key, version, PAGE) if entry.version <= last]
        if not rows:
            raise StateConsistencyError(f"the log of {key} ends at version {version}, its state stands at {last}")
        for number, entry in enumerate(rows, version + 1 if version else rows[0].version):
            if entry.version != number:
                raise StateConsistencyError(f"version {entry.version} of {key} follows version {number - 1}")
        return rows


def open_before(
    entry: LogEntry, workflow: Workflow, messages: MessageChanges, code: Code, *, intent_is_a_type: bool
) -> str | None:
    """Why a branch is open from this row on: what other instances send, or a migration that is missing. None: it is not.

    ``code`` made the row.
    """
    row, schema, now = entry.row, code.state_schema, workflow.code.state_schema
    if is_foreign(row, intent_is_a_type=intent_is_a_type) and row.action_id in messages.withdrawn:
        return f"{row.issuer} sent it, and not the same in the other code"
    extra = messages.before(entry)
    if extra is not None:
        return f"before it {extra.what}, which is not recorded"
    if schema > now:
        return f"its state is of schema {schema}, the other code knows up to {now}"
    gaps = workflow.migrations.missing(schema, now)
    if gaps:
        return f"its state is of schema {schema}, and nothing migrates it from {gaps[0]} to {gaps[0] + 1}"
    return None


def sent_to(registry: ReducerRegistry) -> dict[str, frozenset[str]]:
    """``[workflow type] -> triggers`` that workflows of this code send to it."""
    found: dict[str, frozenset[str]] = {}
    for workflow in registry.workflows:
        for spec in workflow.reducer.intents.by_name.values():
            if spec.kind == SEND:
                found[spec.target] = found.get(spec.target, frozenset()) | {spec.trigger}
    return found


def _open_from_start(stored: Stored, why: str) -> InstanceResult:
    opened = OpenFrom(1, "", why)
    return InstanceResult(stored.key, stored.version, 0, state=None, recorded_status=stored.status, opened=opened)
