"""Stranded rows: what a store holds in flight and this code has no place for. Found by name, with one look at any store.

Stranded is a timer, an intent or a held outcome whose name the contract no longer has; a status in which nothing is
accepted; an action in the inbox whose trigger no workflow has. Nothing of it is lost: it waits, its row says why, and a
rename, or the name put back, lets it go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, get_args

import orjson

from ..engine.delivery import stored_delivery
from ..engine.registry import ReducerRegistry, Workflow
from ..engine.schema_upgrade import (
    closest_name,
    logged_payload,
    logged_trigger,
    missing_intent,
    rename_line,
    renamed_trigger,
    stored_state,
)
from ..kernel.action import WorkflowKey
from ..kernel.data_key import InstanceErased
from ..kernel.errors import OnexError, StateConsistencyError
from ..kernel.intent import EnumIntentType
from ..kernel.step import State
from ..kernel.user_code import describe
from ..ports import EnumInFlight, EnumOutboxState, InboxRow, InFlight, OutboxRow, Pointer, Stored

LOOKED_AT = 100_000
INBOX_LOOKED_AT = 1_000
EVERY = tuple(EnumOutboxState)
TIMER = EnumIntentType.TIMER


class EnumStranded(StrEnum):
    """``workflow``: intents of a type that this app does not have. ``state``: nothing moves it, or it cannot be read."""

    TIMER = "timer"
    INTENT = "intent"
    OUTCOME = "outcome"
    STATE = "state"
    INBOX = "inbox"
    WORKFLOW = "workflow"


class Stranded(NamedTuple):
    """``rows`` of one name; ``first`` is the key of one of them. ``reason`` and ``fix`` are sentences; ``fix`` may be ''."""

    what: EnumStranded
    workflow_type: str
    name: str
    schema: int
    rows: int
    first: str
    reason: str
    fix: str = ""

    def __str__(self) -> str:
        things = "instance" if self.what is EnumStranded.STATE else "row"
        many = f"{self.rows:,} {things}{'s' * (self.rows != 1)}"
        fix = f" {self.fix}" if self.fix else ""
        return f"{self.what} {self.name!r} of {self.workflow_type}: {many}, first {self.first}: {self.reason}.{fix}"


class Standing(Protocol):
    """What is asked of a store; any Reader answers it."""

    async def in_flight(self, limit: int) -> Sequence[InFlight]: ...

    async def inbox(self, after: int, limit: int) -> Sequence[InboxRow]: ...

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]: ...

    async def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]: ...


async def stranded(
    reader: Standing, registry: ReducerRegistry, workflow_type: str | None = None, *, limit: int = LOOKED_AT
) -> tuple[Stranded, ...]:
    """By type and name. Of each name one row is read, to see that a migration works and what a status has become.

    Looks at the ``limit`` newest instances and oldest intents, and at the first 1,000 actions in the inbox.
    """
    found: list[Stranded] = []
    for one in await reader.in_flight(limit):
        if workflow_type not in (None, one.workflow_type):
            continue
        if one.workflow_type not in registry:
            if one.what is EnumInFlight.INTENT:
                found.append(_of_no_workflow(one))
            continue
        workflow = registry[one.workflow_type]
        if one.what is EnumInFlight.STATE:
            problem = await _state(reader, workflow, one)
        elif one.what is EnumInFlight.INTENT:
            problem = await _intent(reader, registry, workflow, one)
        else:
            problem = await _outcome(reader, workflow, one)
        if problem is not None:
            found.append(problem)
    return (*found, *await _inbox(reader, registry, workflow_type))


def _of_no_workflow(one: InFlight) -> Stranded:
    return Stranded(
        EnumStranded.WORKFLOW,
        one.workflow_type,
        one.name,
        one.schema,
        one.rows,
        str(one.first),
        "this app has no such workflow",
        "Put it back until none waits; a workflow keeps its name",
    )


async def _state(reader: Standing, workflow: Workflow, one: InFlight) -> Stranded | None:
    begins = (EnumStranded.STATE, one.workflow_type, one.name, one.schema, one.rows, str(one.first))
    now = workflow.code.state_schema
    stored = (await reader.load([one.first])).get(one.first)
    if stored is None or (stored.status, stored.state_schema) != (one.name, one.schema):
        return None  # it has moved on meanwhile
    try:
        state = stored_state(workflow, stored.state_schema, stored.state)
    except InstanceErased:
        return None  # nothing is to move it, and no code is to read it
    except OnexError as error:
        return _unreadable(workflow, one, error)
    if reason := nowhere(workflow, state):
        line = rename_line(one.schema, now, "statuses", one.name, "NEW")
        return Stranded(*begins, reason, f"If it is called otherwise now: {line}")
    return None


def _unreadable(workflow: Workflow, one: InFlight, error: OnexError) -> Stranded:
    """Its state does not fit the class: most simply because that lists its statuses, and this one has another name now."""
    begins = (EnumStranded.STATE, one.workflow_type, one.name, one.schema, one.rows, str(one.first))
    now = workflow.code.state_schema
    words = [str(word) for word in get_args(workflow.reducer.state_type.model_fields["status"].annotation)]
    called = workflow.migrations.status(one.name, one.schema, now)
    if not words or called in words or one.schema > now:
        return Stranded(*begins, f"its state cannot be read: {error.message}")
    line = rename_line(one.schema, now, "statuses", one.name, closest_name(one.name, words))
    return Stranded(*begins, f"its state has no status {called!r} any more", f"If it is called otherwise now: {line}")


def nowhere(workflow: Workflow, state: State) -> str:
    """Why nothing moves an instance that stands so, or ''."""
    if state.status in workflow.reducer.terminal or workflow.reducer.accepts(state):
        return ""
    return f"in status {state.status!r} nothing is accepted"


async def _intent(reader: Standing, registry: ReducerRegistry, workflow: Workflow, one: InFlight) -> Stranded | None:
    what = EnumStranded.TIMER if one.timer else EnumStranded.INTENT
    begins = (what, one.workflow_type, one.name or "?", one.schema, one.rows, str(one.first))
    now, table = workflow.code.state_schema, workflow.reducer.intents.by_name
    called = workflow.migrations.intent(one.name, one.schema, now)
    if called not in table and one.schema <= now:
        status = await _status_of(reader, workflow, one.first)
        reason, fix = missing_intent(workflow, one.name, called, one.schema, timer=one.timer, status=status)
        return Stranded(*begins, reason, fix)
    if one.pointer is None or (called in table and one.schema == now and (table[called].kind == TIMER) == one.timer):
        return None
    row = await _row(reader, one.pointer)
    if row is None:
        return None
    try:
        stored_delivery(row, registry, 0)
    except OnexError as error:
        return Stranded(*begins, error.message)
    return None


async def _outcome(reader: Standing, workflow: Workflow, one: InFlight) -> Stranded | None:
    begins = (EnumStranded.OUTCOME, one.workflow_type, one.name or "?", one.schema, one.rows, str(one.first))
    now = workflow.code.state_schema
    called = logged_trigger(workflow, one.name, one.schema)
    triggers = [name for name in workflow.reducer.payloads if not name.startswith("@")]
    if called not in workflow.reducer.payloads and one.schema <= now:
        line = rename_line(one.schema, now, "triggers", one.name, closest_name(one.name, triggers))
        return Stranded(*begins, f"the contract has no trigger {called!r}", f"If it is called otherwise now: {line}")
    row = None if one.pointer is None else await _row(reader, one.pointer)
    if row is None or not row.result:
        return None
    try:
        check_held(workflow, row)
    except OnexError as error:
        return Stranded(*begins, error.message)
    return None


def check_held(workflow: Workflow, row: OutboxRow) -> None:
    """Whether a held outcome can be delivered. Raises what delivering it would raise."""
    trigger, schema = held_trigger(row.result)
    logged_payload(workflow, trigger, schema, orjson.dumps(orjson.loads(row.result)["payload"]))


def held_trigger(result: bytes) -> tuple[str, int]:
    """``(trigger, schema)`` of a held outcome. Raises StateConsistencyError for what no engine wrote."""
    try:
        fields = orjson.loads(result)
        trigger, schema = fields["kind"], fields.get("schema", 1)
        fields["payload"]
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise StateConsistencyError(f"a held outcome cannot be read: {describe(error)}") from error
    if not isinstance(trigger, str) or not isinstance(schema, int):
        raise StateConsistencyError("a held outcome cannot be read: its trigger or schema is of another type")
    return trigger, schema


async def _inbox(reader: Standing, registry: ReducerRegistry, workflow_type: str | None) -> list[Stranded]:
    """Actions that were sent before and will be refused: nobody but the sender of each would hear of it."""
    found: dict[tuple[str, str], Stranded] = {}
    for row in await reader.inbox(0, INBOX_LOOKED_AT):
        own, instance, kind = _addressed(row.body)
        if not kind or kind.startswith("@") or workflow_type not in (None, own):
            continue
        if own in registry:
            workflow = registry[own]
            if kind in workflow.reducer.payloads or renamed_trigger(workflow, kind)[0]:
                continue
            now = workflow.code.state_schema
            triggers = [name for name in workflow.reducer.payloads if not name.startswith("@")]
            line = rename_line(max(1, now - 1), now, "triggers", kind, closest_name(kind, triggers))
            reason, fix = "it has no such trigger, so they will be refused", f"If it is called otherwise now: {line}"
        else:
            reason, fix = "this app has no such workflow, so they will be refused", ""
        first = Stranded(EnumStranded.INBOX, own, kind, 0, 0, f"{own}:{instance}", reason, fix)
        one = found.get((own, kind), first)
        found[own, kind] = one._replace(rows=one.rows + 1)
    return list(found.values())


def _addressed(body: bytes) -> tuple[str, str, str]:
    """``(type, instance, trigger)`` of an action in the inbox; empty for what is none: its own refusal says why."""
    try:
        fields = orjson.loads(body)
        (own, instance), kind = fields["workflow_key"], fields["kind"]
    except (orjson.JSONDecodeError, TypeError, ValueError, LookupError):
        return "", "", ""
    return (own, instance, kind) if all(isinstance(one, str) for one in (own, instance, kind)) else ("", "", "")


async def _row(reader: Standing, pointer: Pointer) -> OutboxRow | None:
    rows = await reader.outbox(EVERY, None, pointer._replace(ordinal=pointer.ordinal - 1), 1)
    return rows[0] if rows and rows[0].pointer == pointer else None


async def _status_of(reader: Standing, workflow: Workflow, key: WorkflowKey) -> str:
    """The status an instance stands in under this code; '' when that is not known."""
    stored = (await reader.load([key])).get(key)
    try:
        return "" if stored is None else stored_state(workflow, stored.state_schema, stored.state).status
    except OnexError:
        return ""
