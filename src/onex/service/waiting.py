"""``GET /api/waiting``: what waits for a person to say something, and in one sentence why an instance stands where it stands.

How the service knows. An approval of an orchestration is a task with the triggers ``T.approve`` and ``T.reject``; the plan in
the state says since when it waits. Any other workflow waits for a decision in a status that is left by triggers of clients
alone; the timer of the status may end the waiting. Statuses that an outcome or a message of the app leaves are the app's own work.

A status is read page by page, at most SCAN instances in one question, so ``complete`` says whether all were looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field

from ..kernel.action import WorkflowKey
from ..ports import EnumOutboxState, OutboxRow, Stored
from ..processes.app_facts import WorkflowFacts
from ..views.plan_rows import PlanRow, plan_rows
from ..views.stored_value import intent_name, iso, parse_json
from .answers import Answered
from .policy import GuardedRoute
from .served_store import Served, ServedStore

routes = APIRouter(route_class=GuardedRoute, tags=["waiting for a person"])

SCAN: Final = 2000
PAGE: Final = 500
SHOWN: Final = 5
"""So many instances of a status that waits for a decision are named; ``instances`` counts all."""
OPEN: Final = (EnumOutboxState.WAITING, EnumOutboxState.HELD, EnumOutboxState.DEAD)
INTENTS: Final = 20


class ApprovalAnswer(Answered):
    """An approval task that waits: ``POST /api/approve`` answers it. ``due_at`` is when it ends by itself; null for never."""

    key: str
    task: str
    version: int
    since: str
    due_at: str | None


class WaitingInstanceAnswer(Answered):
    key: str
    version: int
    since: str
    due_at: str | None


class DecisionAnswer(Answered):
    """A status that is left only by a trigger of a client, or when its time is over. ``first`` are some of its instances."""

    type: str
    status: str
    triggers: list[str]
    instances: int
    first: list[WaitingInstanceAnswer]


class WaitingForPeopleAnswer(Answered):
    approvals: list[ApprovalAnswer]
    decisions: list[DecisionAnswer]
    complete: bool = Field(description="false: there are more approvals than were looked for")


@routes.get("/api/waiting")
async def waiting(
    served: Served, limit: Annotated[int, Query(ge=1, le=500, description="how many approvals at most")] = 50
) -> WaitingForPeopleAnswer:
    """List approvals and decisions that wait for a person; of the approvals that were found the oldest first.

    Without the app nobody knows of any.
    """
    found: list[ApprovalAnswer] = []
    decisions: list[DecisionAnswer] = []
    complete = True
    counted = (await served.figures.counted()).by_status
    for workflow in () if served.facts is None else served.facts.workflows.values():
        tasks = approval_tasks(workflow)
        for (name, status), instances in sorted(counted.items()):
            if name != workflow.name or not instances:
                continue
            if tasks & {trigger.rpartition(".")[0] for trigger in workflow.accepts(status)}:
                rows, all_seen = await _approvals(served, workflow.name, status, tasks, limit + 1 - len(found))
                found += rows
                complete = complete and all_seen
            elif triggers := decisions_in(workflow, status):
                some = await _whole(served, await served.reader.instances(name, status, None, SHOWN))
                first = [
                    WaitingInstanceAnswer(
                        key=str(one.key), version=one.version, since=iso(one.last_us), due_at=_due(one)
                    )
                    for one in some
                ]
                decisions.append(
                    DecisionAnswer(type=name, status=status, triggers=triggers, instances=instances, first=first)
                )
    return WaitingForPeopleAnswer(
        approvals=sorted(found, key=lambda one: one.since)[:limit],
        decisions=decisions,
        complete=complete and len(found) <= limit,
    )


async def _approvals(
    served: ServedStore, name: str, status: str, tasks: frozenset[str], limit: int
) -> tuple[list[ApprovalAnswer], bool]:
    found: list[ApprovalAnswer] = []
    after: WorkflowKey | None = None
    for _ in range(SCAN // PAGE):
        if len(found) >= limit:
            return found, False
        rows = await served.reader.instances(name, status, after, PAGE)
        asked = [row for row in rows if any(plan.task in tasks for plan in waiting_tasks(row))]
        found += [
            ApprovalAnswer(
                key=str(row.key), task=plan.task, version=row.version, since=plan.began or iso(row.last_us),
                due_at=_due(row),
            )
            for row in await _whole(served, asked[: limit - len(found)])
            for plan in waiting_tasks(row)
            if plan.task in tasks
        ]  # fmt: skip
        if len(rows) < PAGE:
            return found, True
        after = rows[-1].key
    return found, False


async def _whole(served: ServedStore, rows: Sequence[Stored]) -> list[Stored]:
    """With their timers, which a list of instances leaves out."""
    loaded = await served.reader.load([row.key for row in rows])
    return [loaded.get(row.key, row) for row in rows]


def approval_tasks(workflow: WorkflowFacts) -> frozenset[str]:
    """Names of tasks that a person approves or rejects."""
    ends = {trigger.rpartition(".")[0] for trigger in workflow.triggers if trigger.endswith(".approve")}
    return frozenset(task for task in ends if f"{task}.reject" in workflow.triggers)


def decisions_in(workflow: WorkflowFacts, status: str) -> list[str]:
    """The triggers of clients that lead on, where nothing else but the status's own timer does; else []."""
    at = next((one for one in workflow.statuses if one.name == status), None)
    if at is None or at.terminal:
        return []
    ways = {edge.trigger for edge in workflow.edges if edge.from_state in (status, "*") and edge.to_state != status}
    public = ways - workflow.internal
    return sorted(public) if ways - public <= {at.on_timeout} else []


def waiting_tasks(stored: Stored) -> list[PlanRow]:
    return [one for one in plan_rows(parse_json(stored.state)) if one.state == "waiting"]


def _due(stored: Stored) -> str | None:
    return min((iso(due_us) for _, due_us in stored.timers.values()), default=None)


# --- why an instance stands -------------------------------------------------------------------------------------------


async def reasons(served: ServedStore, rows: Sequence[Stored], limit: int) -> dict[WorkflowKey, str]:
    """For each of the first ``limit`` that have not ended: why nothing happens there just now."""
    told: dict[WorkflowKey, str] = {}
    for row in await _whole(served, [*islice((row for row in rows if not row.terminal), limit)]):
        intents = await served.reader.outbox(OPEN, row.key, None, INTENTS)
        told[row.key] = why(row, intents, served.workflow(row.key.workflow_type), served.now_us())
    return told


def why(stored: Stored, intents: Sequence[OutboxRow], workflow: WorkflowFacts | None, now_us: int) -> str:
    """One sentence; '' where it waits for nothing that the store or the app knows."""
    if stored.held:
        return "takes no action until it is released"
    stopped = [one for one in intents if one.state is not EnumOutboxState.WAITING]
    if stopped:
        return f"{intent_name(stopped[0])} is {stopped[0].state.value}: a person runs it again"
    if stored.lease_id is not None and stored.lease_until_us > now_us:
        return f"a process has its lease until {iso(stored.lease_until_us)}"
    people = frozenset() if workflow is None else approval_tasks(workflow)
    if task := next((one.task for one in waiting_tasks(stored) if one.task in people), ""):
        return f"{task} waits for an approval"
    if call := next((one for one in intents if not one.timer), None):
        later = f", tried again at {iso(call.due_us)}" if call.due_us > now_us else ""
        return f"{intent_name(call)} has no outcome yet{later}"
    if workflow is not None and (triggers := decisions_in(workflow, stored.status)):
        return f"waits for {' or '.join(triggers[:3])}"
    if stored.timers:
        name, (_, due_us) = min(stored.timers.items(), key=lambda one: one[1][1])
        return f"{name.removeprefix('@')} is due at {iso(due_us)}"
    if task := next((one.task for one in waiting_tasks(stored)), ""):
        return f"{task} waits for a signal or a time"
    return ""
