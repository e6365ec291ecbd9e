"""What-if: recorded histories folded on other code, and what comes out of it otherwise. promise 36; nothing is fired.

An instance whose every byte comes out as recorded is the same, and that is found out by the hashes alone. Only where
something differs is it walked again, action by action, to say what, where and why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from ..engine.refold import Recorded
from ..engine.registry import ReducerRegistry, Workflow
from ..engine.schema_upgrade import stored_state
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError, StateConsistencyError
from ..kernel.intent import EnumIntentType
from ..kernel.step import State
from ..ports import Code, LogEntry, Stored
from ..replay.replay import nothing_redacted
from .branch import InstanceBranch
from .fast_compare import NO_CODE, FastCompare, OtherWorkflow, is_foreign
from .messages import MessageChanges
from .recorded_states import KnownState, RecordedStates
from .result import InstanceResult, OpenFrom
from .slow_compare import SlowCompare

PAGE: Final = 1000
SEND: Final = EnumIntentType.ACTION_SEND


class WhatIf:
    """Judges instances one by one against ``registry``, the other code; ``post`` is what is known of their messages so far.

    ``retelling`` knows the recorded states in between, where the code that made them is at hand. ``news`` gathers what the
    instances judged here send otherwise, ``fed`` the workflow types of those that other instances sent something.
    ``redacted_since`` tells from which version on an instance's bytes were changed on purpose, 0 for never.
    """

    def __init__(
        self,
        reader: Recorded,
        registry: ReducerRegistry,
        retelling: RecordedStates | None = None,
        redacted_since: Callable[[WorkflowKey], Awaitable[int]] = nothing_redacted,
    ) -> None:
        self.reader, self.registry, self.retelling = reader, registry, retelling
        self.redacted_since = redacted_since
        self.post, self.news = MessageChanges(), MessageChanges()
        self.fed: set[str] = set()
        self.actions = 0
        self._sent = _sent_to(registry)
        self._intent_is_a_type = "intent" in registry  # then a key may look like what outcomes are issued by
        self._ready: dict[str, OtherWorkflow] = {}
        self._codes: Mapping[int, Code] = {}

    @property
    def correspondents(self) -> frozenset[str]:
        """The workflow types that this code sends something, and those that hear what came of it."""
        tables = {one.reducer.workflow_type: one.reducer.intents.by_name.values() for one in self.registry.workflows}
        hear = {name for name, specs in tables.items() for spec in specs if spec.kind == SEND and spec.outcomes}
        return frozenset({*self._sent, *hear})

    async def instance(self, stored: Stored) -> InstanceResult:
        """What the other code makes of one instance. Raises no OnexError: what cannot be read is open, and says why."""
        if stored.code_id not in self._codes:  # the store may be written on meanwhile, by new code as well
            self._codes = await self.reader.codes()
        key = stored.key
        self.actions += stored.version
        if key.workflow_type not in self.registry:
            await self._withdraw_from(key, 0, stored.version)
            return _open_from_start(stored, f"the other code has no workflow {key.workflow_type!r}")
        workflow = self.registry[key.workflow_type]
        try:
            sealed = await self._sealed(stored, workflow)
            if sealed.version == stored.version and key not in self.post.extra:
                status = stored.status
                return InstanceResult(key, stored.version, stored.version, recorded_status=status, status=status)
            return await self._walked(stored, workflow, sealed)
        except OnexError as error:
            await self._withdraw_from(key, 0, stored.version)
            return _open_from_start(stored, f"its history cannot be compared: {error.message}")

    # --- the fast way: every byte as recorded ------------------------------------------------------------------------------

    async def _sealed(self, stored: Stored, workflow: Workflow) -> KnownState:
        """The end of the last batch up to which all comes out as recorded."""
        key, last = stored.key, stored.version
        ready = self._ready.get(key.workflow_type)
        if ready is None:
            ready = self._ready[key.workflow_type] = OtherWorkflow(workflow)
        rows = await self.reader.history(key, 0, PAGE)
        mark, state = await self._begin(key, workflow, rows)
        seal = FastCompare(ready, mark, state, self._codes, self.post)
        while rows and seal.take(rows, last, intent_is_a_type=self._intent_is_a_type) and rows[-1].version < last:
            rows = await self.reader.history(key, rows[-1].version, PAGE)
        if seal.foreign:
            self.fed.add(key.workflow_type)
        return seal.mark

    async def _begin(self, key: WorkflowKey, workflow: Workflow, rows: Sequence[LogEntry]) -> tuple[KnownState, State]:
        """Before the first of ``rows``, the oldest there are; where history was compacted, at the state that was kept."""
        first = rows[0] if rows else None
        if first is None or first.version == 1:
            return KnownState(key, 0, workflow.code.state_schema, b"", b""), workflow.reducer.initial()
        kept = await self.reader.snapshot(key, first.version - 1)
        if kept is None or kept.version != first.version - 1:
            raise StateConsistencyError(f"no state is kept at version {first.version - 1}, where its log begins")
        state = stored_state(workflow, kept.state_schema, kept.state)
        return KnownState(key, kept.version, kept.state_schema, kept.state, kept.state_hash), state

    # --- the slow way: where, what and why ----------------------------------------------------------------------------------

    async def _walked(self, stored: Stored, workflow: Workflow, sealed: KnownState) -> InstanceResult:
        mark, state = await self._begin(stored.key, workflow, await self.reader.history(stored.key, 0, 1))
        branch = InstanceBranch(stored.key, workflow, state, begun=mark.version > 0, refused=self.post.refused)
        redacted = await self.redacted_since(stored.key)
        walk = SlowCompare(branch, stored, sealed, self.retelling)
        version = mark.version
        while version < stored.version and walk.told.opened is None:
            for entry in await self._rows(stored.key, version, stored.version):
                version, refusals = entry.version, walk.refusals
                if redacted and version >= redacted:
                    walk.open(entry, "what was recorded of it is redacted")
                if (why := self._not_sent(entry, workflow)) is not None:
                    walk.open(entry, why)
                if not await walk.take(entry, self.news, self._codes.get(entry.code_id, NO_CODE)):
                    break
                if walk.refusals > refusals and is_foreign(entry.row, intent_is_a_type=self._intent_is_a_type):
                    self.news.refused.add(entry.row.action_id)
        told = walk.end(self._sent.get(stored.key.workflow_type, frozenset()))
        extras = self.post.extra.get(stored.key)
        if told.opened is None and extras is not None:
            extra = extras[min(extras)]
            told.opened = OpenFrom(stored.version + 1, "", f"behind its last action {extra.what}")
        if told.opened is not None:
            await self._withdraw_from(stored.key, told.opened.version - 1, stored.version)
        return told

    def _not_sent(self, entry: LogEntry, workflow: Workflow) -> str | None:
        """Why the branch is open from this row on, for what other instances do, or for want of a migration; None: it is not."""
        row = entry.row
        if is_foreign(row, intent_is_a_type=self._intent_is_a_type):
            self.fed.add(entry.key.workflow_type)
            if row.action_id in self.post.withdrawn:
                return f"{row.issuer} sent it, and not the same in the other code"
        extra = self.post.before(entry)
        if extra is not None:
            return f"before it {extra.what}, which is not recorded"
        return self._not_read(self._codes.get(entry.code_id, NO_CODE).state_schema, workflow)

    def _not_read(self, schema: int, workflow: Workflow) -> str | None:
        """Why states of this schema are not compared: the other code is older, or says nothing of how they became its own."""
        now = workflow.code.state_schema
        if schema > now:
            return f"its state is of schema {schema}, the other code knows up to {now}"
        gaps = workflow.migrations.missing(schema, now)
        return (
            f"its state is of schema {schema}, and nothing migrates it from {gaps[0]} to {gaps[0] + 1}"
            if gaps
            else None
        )

    async def _withdraw_from(self, key: WorkflowKey, version: int, last: int) -> None:
        """Nothing behind ``version`` is known to be sent."""
        try:
            while version < last:
                rows = await self._rows(key, version, last)
                for entry in rows:
                    self.news.withdraw_all(key, entry.row)
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


def _sent_to(registry: ReducerRegistry) -> dict[str, frozenset[str]]:
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
