"""What a handler returns is joined with the contract: taken, made into what can be kept, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from pydantic import Field

from onex.kernel.action import Action, Nothing, Payload, WorkflowKey
from onex.kernel.errors import GuardFailed, InvalidStateTransitionError, ReducerFailed
from onex.kernel.intent import Emitted, EnumIntentType, IntentDraft, IntentSpec, cancel, intent, send, timer
from onex.kernel.intent_fields import EnumIntentPriority
from onex.kernel.machine import Guard, Machine, MachineReducer, Transition, reducer
from onex.kernel.step import State, Step

AN_ID = UUID("6f1d1b5e-4f0a-4c8e-9a54-0e0e5b0c7a01")
NOW = datetime(2026, 11, 29, tzinfo=UTC)


class Job(State):
    what: str = ""
    marks: list[int] = Field(default_factory=list)


class Work(Payload):
    what: str = ""


class Post(Payload):
    text: str = ""


SPECS = (
    IntentSpec("work", EnumIntentType.API_CALL, "worker", Work),
    IntentSpec("wake", EnumIntentType.TIMER, trigger="go"),
    IntentSpec("post", EnumIntentType.ACTION_SEND, "other_job", Post, trigger="go"),
)
ACTION: Action[Any] = Action(WorkflowKey("job", "1"), "go", Nothing(), AN_ID.bytes, 0, AN_ID.bytes)


def made(handler: Callable[[Job, Action[Nothing]], Any], *guards: Guard) -> MachineReducer[Job]:
    table = reducer(Job)
    table.on("go")(handler)
    machine = Machine("new", (Transition("new", "new", "go", guards),))
    return MachineReducer("job", table, machine, {"go": Nothing}, {spec.name: spec for spec in SPECS})


def emitted(*drafts: Any) -> tuple[Emitted, ...]:
    found = made(lambda job, action: Step(job, *drafts))
    return found.delta(found.initial(), ACTION).intents


def failed(handler: Callable[[Job, Action[Nothing]], Any]) -> str:
    found = made(handler)
    with pytest.raises(ReducerFailed) as refused:
        found.delta(found.initial(), ACTION)
    return refused.value.message


@pytest.mark.parametrize("priority", ["critical", EnumIntentPriority.CRITICAL])
def test_a_priority_may_be_said_as_its_word(priority: EnumIntentPriority | str) -> None:
    (one,) = emitted(intent("work", Work(), priority=priority))
    assert one.priority is EnumIntentPriority.CRITICAL


@pytest.mark.parametrize("due", [datetime.min.replace(tzinfo=UTC), NOW, datetime.max.replace(tzinfo=UTC)])
def test_any_moment_there_is_may_be_waited_for(due: datetime) -> None:
    (one,) = emitted(timer("wake", due))
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=one.due_us) == due


@pytest.mark.parametrize(("key", "kept"), [("k-1", "k-1"), (AN_ID, str(AN_ID)), (4711, "4711"), (None, None)])
def test_a_key_is_kept_as_its_text(key: Any, kept: str | None) -> None:
    (one,) = emitted(intent("work", Work(), idempotency_key=key))
    assert one.idempotency_key == kept


@pytest.mark.parametrize(
    ("to", "kept"),
    [("bob", "bob"), (42, "42"), (AN_ID, str(AN_ID)), (WorkflowKey("other_job", "bob"), "bob"), (" ", " ")],
)
def test_a_receiver_is_kept_as_its_text(to: Any, kept: str) -> None:
    (one,) = emitted(send("post", to, Post()))
    assert one.to == kept and type(one.to) is str


@pytest.mark.parametrize(
    ("draft", "told"),
    [
        (intent("work", Work(), priority="urgent"), "'work' has priority 'urgent'; allowed are critical, high"),
        (intent("work", Work(), priority=""), "has priority ''"),
        (intent("work", Work(), priority=1), "has priority 1 (int)"),  # type: ignore[arg-type]
        (intent("work", Work(), idempotency_key=["a"]), "key ['a'] (list)"),  # type: ignore[arg-type]
        (intent("work", Work(), idempotency_key=True), "key True (bool)"),
        (intent("work", Work(), idempotency_key=b"k"), "key b'k' (bytes)"),  # type: ignore[arg-type]
        (intent("work", Work(), idempotency_key=""), "1 to 1000 printable"),
        (intent("work", Work(), idempotency_key="\ud800"), "1 to 1000 printable"),
        (intent("work", Work(), idempotency_key="a\0"), "1 to 1000 printable"),
        (intent("work", Work(), idempotency_key="a\nX-Admin: yes"), "1 to 1000 printable"),
        (intent("work", Work(), idempotency_key="k" * 2000), "1 to 1000 printable"),
        (intent("work", Work(), not_before="2030-01-01"), "is due '2030-01-01'"),  # type: ignore[arg-type]
        (intent("work", Work(), not_before=NOW.date()), "is due datetime.date"),  # type: ignore[arg-type]
        (intent("work", Work(), not_before=NOW.replace(tzinfo=None)), "a time is an aware datetime"),
        (intent("work", Work(), not_before=5.5), "is due 5.5 (float)"),  # type: ignore[arg-type]
        (intent("work", Work(), not_before=True), "is due True (bool)"),  # type: ignore[arg-type]
        (timer("wake", datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))), "beyond the year 9999"),
        (intent("work", Post()), "carries Post; the contract says Work"),
        (intent("work", Work), "carries the class Work"),  # type: ignore[arg-type]
        (intent("work"), "carries NoneType"),
        (intent("elsewhere"), "'elsewhere' is not in the contract"),
        (intent(5), "intent 5 (int) is not in the contract"),  # type: ignore[arg-type]
        (intent([]), "intent [] (list) is not in the contract"),  # type: ignore[arg-type]
        (timer("wake", None), "'wake' needs a time"),  # type: ignore[arg-type]
        (timer("wake", timedelta(days=1)), "is due datetime.timedelta"),  # type: ignore[arg-type]
        (IntentDraft("wake", cancelled=1), "cancelled by cancel('wake'), not by 1"),  # type: ignore[arg-type]
        (IntentDraft("wake", Work(), cancelled=True), "carries Work; the contract says no payload"),
        (IntentDraft("work", Work(), to="bob"), "has no receiver"),
        (send("post", "", Post()), "needs a receiver"),
        (send("post", None, Post()), "is sent to None"),  # type: ignore[arg-type]
        (send("post", b"x", Post()), "is sent to b'x'"),  # type: ignore[arg-type]
        (send("post", True, Post()), "is sent to True (bool)"),
        (send("post", 4.5, Post()), "is sent to 4.5 (float)"),  # type: ignore[arg-type]
        (send("post", "a\nb", Post()), "holds a control character"),
        (send("post", "\ud800", Post()), "lone surrogate"),
        (send("post", "x" * 201, Post()), "has 201 bytes"),
        (send("post", "e\u0301", Post()), "is not NFC"),
        (send("post", WorkflowKey("job", "1"), Post()), "is sent to a 'other_job', not to WorkflowKey"),
        (send("post", ("other_job", "1"), Post()), "is sent to ('other_job', '1') (tuple)"),  # type: ignore[arg-type]
        (Post(), "'post' needs a receiver"),
        (Work, "the class Work; an intent is an instance"),
        (None, "a handler emitted NoneType"),
        ([Work()], "a handler emitted list"),
        ("work", "a handler emitted str"),
        (("work", Work()), "a handler emitted tuple"),
        (Job(), "Job is the payload of no intent"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_by_name(draft: Any, told: str) -> None:
    assert told in failed(lambda job, action: Step(job, draft))


class Longer(NamedTuple):
    name: str = "work"


class Loud(Work):
    pass


class Silent:
    def __repr__(self) -> str:
        raise SystemExit(4)

    __hash__ = None  # type: ignore[assignment]


def test_values_made_to_deceive_are_refused_by_name() -> None:
    class Own(IntentDraft):
        def __iter__(self) -> Any:
            raise SystemExit(5)

    silent, loud = IntentDraft("work", Silent()), intent("work", Loud())  # type: ignore[arg-type]
    for draft in (Own("work", Work()), Longer(), Loud(), Silent(), silent, loud):
        assert failed(lambda job, action, draft=draft: Step(job, draft)).startswith("job.go failed on 'new'")  # type: ignore[misc]
    assert "a Silent" in failed(lambda job, action: Step(job, intent("work", Work(), priority=Silent())))  # type: ignore[arg-type]


class Sub(Job):
    pass


class Panic(BaseException):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        return str(self.args[1])


class Masked(Exception):
    @property  # type: ignore[misc]  # what a hostile class does
    def __class__(self) -> Any:
        raise SystemExit(6)

    @property
    def __traceback__(self) -> Any:  # type: ignore[override]  # what a hostile class does
        raise SystemExit(7)


class Wordless(ReducerFailed):
    def __init__(self) -> None:
        self.message = 5  # type: ignore[assignment]


def _any(value: object) -> Any:
    return value


def _raise(error: BaseException) -> Any:
    raise error


def _recurse(job: Job, action: Action[Nothing]) -> Any:
    return _recurse(job, action)


def _cycle(job: Job, action: Action[Nothing]) -> Any:
    marks: list[Any] = []
    marks.append(marks)
    return Step(job.evolve(marks=marks))


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (lambda job, action: _raise(Panic("rust panicked")), "Panic: rust panicked"),
        (lambda job, action: _raise(SystemExit(3)), "SystemExit: 3"),
        (lambda job, action: _raise(KeyboardInterrupt()), "KeyboardInterrupt"),
        (lambda job, action: _raise(GeneratorExit()), "GeneratorExit"),
        (lambda job, action: _raise(StopIteration()), "StopIteration"),
        (lambda job, action: _raise(Mute("x")), "Mute (no text"),
        (lambda job, action: _raise(BaseExceptionGroup("several", [Panic(), Mute("x")])), "several"),
        (lambda job, action: _raise(Wordless()), "Wordless"),
        (lambda job, action: _raise(Masked("behind")), "Masked: behind"),
        (lambda job, action: Step(job.evolve(what=5)), "what: Input should be a valid string"),
        (_recurse, "RecursionError"),
        (_cycle, "marks"),
        (lambda job, action: (job, []), "returned a tuple"),
        (lambda job, action: None, "returned a NoneType"),
        (lambda job, action: Step, "returned the class Step"),
        (lambda job, action: Step(_any(None)), "returned a NoneType"),
        (lambda job, action: Step(_any(Job)), "returned the class Job"),
        (lambda job, action: Step(Sub(status=job.status)), "returned a Sub"),
        (lambda job, action: Step(job.evolve(status="done")), "set status 'done'"),
        (lambda job, action: Step(Job.model_construct(status="new", what=_any(5))), "Job cannot be read back"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-",
)  # fmt: skip
def test_whatever_a_handler_raises_or_returns_fails_its_step_by_name(handler: Any, told: str) -> None:
    assert told in failed(handler)


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), Panic(), Mute("x"), KeyboardInterrupt()], ids=repr)
def test_whatever_a_guard_raises_refuses_the_action_by_its_condition(error: BaseException) -> None:
    found = made(lambda job, action: Step(job), Guard("payload.ok == true", lambda state, payload: _raise(error)))
    with pytest.raises(GuardFailed, match=r"condition 'payload.ok == true' raised"):
        found.delta(found.initial(), ACTION)


def test_cancelling_an_intent_says_which_by_name_or_by_id() -> None:
    by_name, by_id = emitted(cancel("work"), cancel(AN_ID))
    assert (by_name.name, by_name.to, by_name.cancelled) == ("@cancel", "work", True)
    assert (by_id.name, by_id.to, by_id.cancelled) == ("@cancel", str(AN_ID), True)
    assert "'walk' is not in the contract" in failed(lambda job, action: Step(job, cancel("walk")))


class Tally(State):
    count: int = 0


def test_that_a_class_needs_no_look_says_nothing_of_a_value_that_nobody_validated() -> None:
    """The first step shows that values of both classes are what their bytes give back. A later one may still be made unchecked."""
    table = reducer(Tally)

    @table.on("go")
    def go(tally: Tally, action: Action[Nothing]) -> Step[Tally]:
        if tally.count == 1:
            return Step(tally, Post.model_construct(text=7))  # type: ignore[arg-type]
        if tally.count == 2:
            return Step(tally.model_copy(update={"count": "three"}))
        return Step(tally.evolve(count=tally.count + 1), Post(text="sent"))

    specs = {"note": IntentSpec("note", EnumIntentType.NOTIFICATION, "desk", Post)}
    machine = Machine("new", (Transition("new", "new", "go"),))
    found = MachineReducer("tally", table, machine, {"go": Nothing}, specs)
    done = found.delta(found.initial(), ACTION)
    assert done.state.count == 1 and done.intents[0].payload == Post(text="sent")
    with pytest.raises(ReducerFailed, match="Post cannot be read back"):
        found.delta(done.state, ACTION)
    with pytest.raises(ReducerFailed, match="Tally cannot be read back"):
        found.delta(done.state.evolve(count=2), ACTION)


def test_a_trigger_is_judged_alike_whether_a_guard_is_asked_or_not() -> None:
    """One that the status does not have, one that needs no guard, and one whose guard is false."""
    table = reducer(Tally)
    never = Guard("state.count == 9", lambda state, payload: False)
    machine = Machine(
        "new",
        (Transition("new", "old", "go"), Transition("new", "old", "try", (never,)), Transition("old", "new", "back")),
    )
    found = MachineReducer("tally", table, machine, dict.fromkeys(("go", "try", "back"), Nothing), {})
    new = found.initial()
    old = found.delta(new, ACTION).state
    assert old.status == "old"
    assert found.delta(old, ACTION._replace(kind="back")).state == new
    with pytest.raises(InvalidStateTransitionError, match="'back' is not accepted in 'new'; it accepts go, try"):
        found.delta(new, ACTION._replace(kind="back"))
    with pytest.raises(InvalidStateTransitionError, match="'go' is not accepted in 'gone'; it accepts nothing"):
        found.delta(new.with_status("gone"), ACTION)
    with pytest.raises(GuardFailed, match=r"condition 'state.count == 9' is false"):
        found.delta(new, ACTION._replace(kind="try"))
