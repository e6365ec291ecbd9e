"""The workflows that are measured: an account with entries, and a job with three effects. Small, typed, ordinary.

An account's state is some 190 bytes in eight fields; an entry is validated, logged, and emits one intent whose outbox row
stays (it is due in the year 2100), so that an applied action costs all five writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import BaseModel

from ..engine.registry import ReducerRegistry, Workflow
from ..engine.step_budget import Budgeted
from ..kernel.action import Action, Nothing, Payload
from ..kernel.intent import EnumOutcome, Failure, IntentSpec, ModelIntent, intent
from ..kernel.machine import Machine, MachineReducer, Transition, reducer
from ..kernel.quota import NO_LIMITS, ResourceLimits
from ..kernel.search import EnumSearchKind, SearchPlan, with_slots
from ..kernel.step import State, Step
from ..ports import Code, Executor, Result, StepGuard

LATER = datetime(2100, 1, 1, tzinfo=UTC)


class Account(State):
    owner: str = "somebody with a name"
    currency: str = "EUR"
    balance: int = 0
    entries: int = 0
    largest: int = 0
    last: str = ""
    remark: str = "opened at the counter on a Tuesday"


class AccountEntry(Payload):
    amount: int
    text: str


class Receipt(Payload):
    amount: int
    text: str


accounts = reducer(Account)


@accounts.on("enter")
def enter(account: Account, action: Action[AccountEntry]) -> Step[Account]:
    return Step(_entered(account, action.payload), intent("receipt", _receipt(action.payload), not_before=LATER))


@accounts.on("notify")
def notify(account: Account, action: Action[AccountEntry]) -> Step[Account]:
    return Step(_entered(account, action.payload), _receipt(action.payload))


def _entered(account: Account, entry: AccountEntry) -> Account:
    amount = entry.amount
    return account.evolve(
        balance=account.balance + amount,
        entries=account.entries + 1,
        largest=amount if amount > account.largest else account.largest,
        last=entry.text,
    )


def _receipt(entry: AccountEntry) -> Receipt:
    return Receipt(amount=entry.amount, text=entry.text)


ACCOUNT = MachineReducer(
    "account",
    accounts,
    Machine("open", (Transition("open", "open", "enter"), Transition("open", "open", "notify"))),
    {"enter": AccountEntry, "notify": AccountEntry},
    {"receipt": IntentSpec("receipt", "notification", "desk", Receipt)},
)


class SampleJob(State):
    done: int = 0
    words: str = ""


class JobTask(Payload):
    n: int


class JobComment(Payload):
    text: str


jobs = reducer(SampleJob)


@jobs.on("begin")
def begin(job: SampleJob, action: Action[Nothing]) -> Step[SampleJob]:
    return Step(job, JobTask(n=1), JobTask(n=2), JobTask(n=3))


@jobs.on("comment")
def comment(job: SampleJob, action: Action[JobComment]) -> Step[SampleJob]:
    return Step(job.evolve(words=action.payload.text))


@jobs.on("task_done")
def task_done(job: SampleJob, action: Action[Nothing]) -> Step[SampleJob]:
    return Step(job.evolve(done=job.done + 1))


@jobs.on("task_failed")
def task_failed(job: SampleJob, action: Action[Failure]) -> Step[SampleJob]:
    return Step(job.evolve(words=action.payload.message))


ENDS = {EnumOutcome.SUCCEEDED: "task_done", EnumOutcome.FAILED: "task_failed", EnumOutcome.UNKNOWN: "task_failed"}
JOB = MachineReducer(
    "job",
    jobs,
    Machine(
        "new",
        (
            Transition("new", "running", "begin"),
            Transition("running", "running", "comment"),
            Transition("running", "running", "task_done"),
            Transition("running", "running", "task_failed"),
        ),
    ),
    {"begin": Nothing, "comment": JobComment, "task_done": Nothing, "task_failed": Failure},
    {"task": IntentSpec("task", "api_call", "helper", JobTask, ENDS, concurrency=64)},
)


class NoEffect:
    """An effect that does nothing: only the way to it and back is measured."""

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        return Result(None)


SEARCHED = SearchPlan(
    with_slots(
        [
            ("balance", EnumSearchKind.INTEGER, ()),
            ("largest", EnumSearchKind.INTEGER, ()),
            ("owner", EnumSearchKind.TEXT, ()),
        ]
    ),
    optional=False,
)
"""Three fields of an account: an entry always changes the first, now and then the second, never the third."""


def registry(guard: StepGuard, limits: ResourceLimits = NO_LIMITS, search: SearchPlan | None = None) -> ReducerRegistry:
    """As an app is wired: each step runs under the guard that ends one that never returns. ``search``: fields of an account."""
    executors: Mapping[str, Executor] = {"helper": NoEffect(), "desk": NoEffect()}
    return ReducerRegistry(
        tuple(
            Workflow(
                Budgeted(one, guard),
                Code(one.workflow_type, "1.0.0", one.workflow_type.encode().ljust(32, b"\0"), 1),
                executors,
                limits=limits,
                search=search if one is ACCOUNT else None,
            )
            for one in (ACCOUNT, JOB)
        )
    )
