"""The workflow that the engine's own simulation runs. It uses every feature of the engine, and fails where an action asks for it.

Its decisions are pure. ``generation`` 2 is the code after a release: it counts in another way, and accepts what made the first
one fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from pydantic import BaseModel, Field, JsonValue

from onex.engine.registry import ReducerRegistry, Workflow
from onex.engine.step_budget import Budgeted
from onex.kernel.action import Action, Blob, Nothing, Payload
from onex.kernel.intent import (
    EnumDelivery,
    EnumIntentType,
    EnumOutcome,
    Failure,
    IntentDraft,
    IntentSpec,
    cancel,
    intent,
    send,
    timer,
)
from onex.kernel.intent_fields import EnumIntentPriority
from onex.kernel.machine import Guard, Handlers, Machine, MachineReducer, Timeout, Transition, reducer
from onex.kernel.migration import Migrations
from onex.kernel.migration import MigrationStep as Move
from onex.kernel.rename import ValueKind
from onex.kernel.retry import RetryPolicy
from onex.kernel.step import State, Step
from onex.ports import Code, Executor
from onex.simulation.raised_errors import HOSTILE_TEXT
from tests.engine_sim.misbehaving_app import (
    Odd,
    Overrun,
    Tender,
    bill_spec,
    guarded,
    migrated,
    misbehaving_handlers,
    misdeed,
)

# TYPE and the names of intents are hashed into intent ids, and those into the pauses between attempts: other words would change
# the order of every run, and with it which seed finds which planted bug. So these strings keep their old words.
TYPE: Final = "errand"
ENDS: Final = {EnumOutcome.SUCCEEDED: "went", EnumOutcome.FAILED: "failed", EnumOutcome.UNKNOWN: "unclear"}
COMPUTED: Final = {**ENDS, EnumOutcome.SUCCEEDED: "computed"}
POSTED: Final = {EnumOutcome.SUCCEEDED: "arrived", EnumOutcome.FAILED: "returned", EnumOutcome.UNKNOWN: "astray"}
WATCH_US: Final = 3_000_000
TOO_MUCH: Final = "x" * 300_000
"""More than a payload may hold, and a quarter more than fits a state four times."""


class SampleState(State):
    count: int = 0
    note: str = ""
    alarms: int = 0
    ends: dict[str, int] = Field(default_factory=dict)
    sheet: Blob | None = None
    odd: Odd | None = None
    extra: JsonValue = None


class Begin(Payload):
    note: str = ""


class Add(Payload):
    """``poison`` makes the reducer misbehave: see ``_poisoned``."""

    amount: int = 1
    poison: str = ""


class Ask(Payload):
    """``name`` is the intent, ``times`` how many of it, ``after_s`` not before then."""

    name: str
    text: str = ""
    times: int = 1
    after_s: float = 0.0
    own_key: bool = False


class Tell(Payload):
    name: str
    to: str
    amount: int = 1


class Wake(Payload):
    name: str
    after_s: float


class Do(Payload):
    text: str


class Filing(Payload):
    """Names bytes that the effect has to read."""

    sheet: Blob


class Computed(Payload):
    sheet: Blob


class Went(Payload):
    text: str = ""


def _poisoned(state: SampleState, action: Action[Add]) -> Step[SampleState]:
    step = misdeed(state, action, action.payload.poison)
    if step is not None:
        return step
    match action.payload.poison:
        case "text":
            raise ValueError(f"cannot digest {HOSTILE_TEXT}")
        case "state":
            return Step(state.evolve(note=HOSTILE_TEXT))
        case "key":
            return Step(state, intent("shout", Do(text="key"), idempotency_key=HOSTILE_TEXT))
        case "to":
            return Step(state, send("tell", HOSTILE_TEXT, Add()))
        case "intent":
            return Step(state, intent("shout", Do(text=TOO_MUCH)))
        case "size":
            return Step(state.evolve(note=4 * TOO_MUCH))
        case "in place":
            state.ends["in place"] = 1
            raise ValueError("a change of mind in the middle")
        case "flood":
            return Step(state, *[IntentDraft("shout", Do(text="flood"))] * 65)
    raise RuntimeError("this reducer has had enough")


def _handlers(generation: int, cancelling: bool = False) -> Handlers[SampleState]:
    handlers = reducer(SampleState)

    @handlers.on("begin")
    def begin(state: SampleState, action: Action[Begin]) -> Step[SampleState]:
        return Step(state.evolve(note=action.payload.note))

    @handlers.on("add")
    def add(state: SampleState, action: Action[Add]) -> Step[SampleState]:
        if action.payload.poison:
            return _poisoned(state, action)
        return Step(state.evolve(count=state.count + generation * action.payload.amount))

    @handlers.on("ask")
    def ask(state: SampleState, action: Action[Ask]) -> Step[SampleState]:
        wanted = action.payload
        not_before = action.issued_at + timedelta(seconds=wanted.after_s) if wanted.after_s else None
        key = f"{action.mint('key')}" if wanted.own_key and wanted.times == 1 else None
        drafts = [
            intent(wanted.name, Do(text=f"{wanted.text} {n}"), not_before=not_before, idempotency_key=key)
            for n in range(wanted.times)
        ]
        return Step(state, *drafts)

    @handlers.on("tell")
    def tell(state: SampleState, action: Action[Tell]) -> Step[SampleState]:
        return Step(state, send(action.payload.name, action.payload.to, Add(amount=action.payload.amount)))

    @handlers.on("wake")
    def wake(state: SampleState, action: Action[Wake]) -> Step[SampleState]:
        return Step(state, timer(action.payload.name, action.issued_at + timedelta(seconds=action.payload.after_s)))

    @handlers.on("hush")
    def hush(state: SampleState, action: Action[Nothing]) -> Step[SampleState]:
        intents = [cancel(name) for name in CANCELLED] if cancelling else []
        return Step(state, cancel("alarm"), cancel("nudge"), *intents)

    @handlers.on("mix")
    def mix(state: SampleState, action: Action[Tell]) -> Step[SampleState]:
        """Everything in one step, timers set twice included."""
        soon, late = (action.issued_at + timedelta(seconds=seconds) for seconds in (1, 40))
        return Step(
            state.evolve(count=state.count + 1),
            intent("do", Do(text="mixed")),
            timer("alarm", late),
            intent("once", Do(text="mixed"), priority=EnumIntentPriority.CRITICAL),
            send("tell", action.payload.to, Add(amount=action.payload.amount)),
            timer("alarm", soon),
            intent("do", Do(text="mixed too"), priority=EnumIntentPriority.BACKGROUND),
            cancel("nudge"),
        )

    @handlers.on("alarm", "nudge")
    def rung(state: SampleState, action: Action[Nothing]) -> Step[SampleState]:
        if action.kind == "alarm" and generation == 1 and state.count % 4 == 3:
            raise ValueError("cannot digest an alarm now")  # so that a timer is held, and may be set again meanwhile
        again = [timer("alarm", action.issued_at + timedelta(seconds=2))] if state.alarms % 3 == 1 else []
        return Step(state.evolve(alarms=state.alarms + 1), *again)

    @handlers.on("went")
    def went(state: SampleState, action: Action[Went]) -> Step[SampleState]:
        text = action.payload.text
        if text == "poison" and generation == 1:
            raise ValueError("cannot digest poison")
        ends = {**state.ends, action.kind: state.ends.get(action.kind, 0) + 1}
        then = [intent("do", Do(text="then"))] if text == "then" else []
        return Step(state.evolve(ends=ends), *then)

    @handlers.on("failed", "unclear", "returned", "astray")
    def ended(state: SampleState, action: Action[Failure]) -> Step[SampleState]:
        ends = {**state.ends, action.kind: state.ends.get(action.kind, 0) + 1}
        return Step(state.evolve(ends=ends, note=action.payload.message[:40]))

    @handlers.on("compute")
    def compute(state: SampleState, action: Action[Ask]) -> Step[SampleState]:
        return Step(state, intent("reckon", Do(text=action.payload.text)))

    @handlers.on("computed")
    def computed(state: SampleState, action: Action[Computed]) -> Step[SampleState]:
        sheet = action.payload.sheet
        return Step(state.evolve(sheet=sheet), intent("file", Filing(sheet=sheet)))

    @handlers.on("arrived", "too_late")
    def arrived(state: SampleState, action: Action[Nothing]) -> Step[SampleState]:
        return Step(state.evolve(ends={**state.ends, action.kind: state.ends.get(action.kind, 0) + 1}))

    @handlers.on("finish")
    def finish(state: SampleState, action: Action[Nothing]) -> Step[SampleState]:
        """What the last step emits still runs, its timer excepted."""
        last = action.issued_at + timedelta(seconds=1)
        return Step(state, intent("do", Do(text="last")), intent("shout", Do(text="last")), timer("alarm", last))

    return handlers


FAST: Final = RetryPolicy(max_attempts=3, initial_s=0.05, max_s=0.4)
SENDING: Final = RetryPolicy(max_attempts=4, initial_s=0.1, max_s=2.0)
ONCE: Final = EnumDelivery.AT_MOST_ONCE
AT_ONCE: Final = 2
"""Effects that the outside world serves at once."""
SPECS: Final = (
    IntentSpec("do", "api_call", "outside", Do, ENDS, retry=FAST, timeout_s=1.0, concurrency=AT_ONCE),
    IntentSpec(
        "once", "message_publish", "outside", Do, ENDS, retry=FAST, delivery=ONCE, timeout_s=1.0, concurrency=AT_ONCE
    ),
    IntentSpec("shout", "notification", "outside", Do, retry=FAST, timeout_s=1.0, concurrency=AT_ONCE),
    IntentSpec(
        "whisper",
        "notification",
        "outside",
        Do,
        retry=FAST,
        delivery=ONCE,
        timeout_s=1.0,
        concurrency=AT_ONCE,
        detached=True,
    ),
    IntentSpec("reckon", EnumIntentType.COMPUTE_TASK, "compute_worker", Do, COMPUTED, retry=FAST, concurrency=2),
    IntentSpec("file", "file_operation", "outside", Filing, ENDS, retry=FAST, timeout_s=1.0, concurrency=AT_ONCE),
    IntentSpec("unserved", "api_call", "nobody", Do, ENDS, retry=FAST),
    IntentSpec("tell", EnumIntentType.ACTION_SEND, TYPE, Add, retry=SENDING, trigger="add"),
    IntentSpec("mail", EnumIntentType.ACTION_SEND, TYPE, Add, POSTED, retry=SENDING, trigger="add", detached=True),
    IntentSpec("alarm", EnumIntentType.TIMER, trigger="alarm"),
    IntentSpec("nudge", EnumIntentType.TIMER, trigger="nudge"),
)
OUTSIDE: Final = frozenset({"do", "once", "shout", "whisper", "file", "bill"})
ASKED: Final = ("do", "once", "shout", "whisper")
"""Of those served outside, the ones a client may ask for."""

_OUTCOMES: Final = (*ENDS.values(), *POSTED.values(), "computed")
GUARD: Final = Guard("payload.amount >= 0", lambda state, payload: getattr(payload, "amount", 0) >= 0)
MACHINE: Final = Machine(
    "new",
    (
        Transition("new", "open", "begin"),
        *(Transition(status, status, "add", (GUARD,)) for status in ("open", "watched")),
        *(
            Transition("open", "open", trigger)
            for trigger in ("ask", "tell", "wake", "hush", "mix", "compute", "alarm")
        ),
        Transition("watched", "watched", "alarm"),
        Transition("watched", "open", "nudge"),
        Transition("open", "watched", "watch"),
        Transition("watched", "open", "unwatch"),
        Transition("watched", "open", "too_late"),
        *(Transition(status, status, trigger) for status in ("open", "watched") for trigger in _OUTCOMES),
        Transition("open", "done", "finish"),
    ),
    frozenset({"done"}),
    {"watched": Timeout(WATCH_US, "too_late")},
)
UNLEASED: Final = frozenset({"hush", "finish"})
PUBLIC: Final = frozenset({"add", "tender"})
"""Messages bring these too."""
PAYLOADS: Final[Mapping[str, type[BaseModel]]] = {
    "begin": Begin, "add": Add, "ask": Ask, "tell": Tell, "wake": Wake, "hush": Nothing, "mix": Tell,
    "alarm": Nothing, "nudge": Nothing, "watch": Nothing, "unwatch": Nothing, "too_late": Nothing, "went": Went,
    "failed": Failure, "unclear": Failure, "arrived": Nothing, "returned": Failure, "astray": Failure,
    "compute": Ask, "computed": Computed, "finish": Nothing,
}  # fmt: skip


BILLING: Final = bill_spec(outcomes=ENDS, retry=FAST, timeout_s=1.0, concurrency=AT_ONCE)
DISPATCH: Final = IntentSpec(
    "dispatch", EnumIntentType.ACTION_SEND, TYPE, Tender, POSTED, retry=SENDING, trigger="tender"
)
MIGRATES_AT: Final = 3
"""The release whose state has another schema, though nothing else is new in it."""
MISBEHAVING_GUARD: Final = Guard("as the action says", lambda state, payload: guarded(payload))
MISBEHAVING_MACHINE: Final = Machine(
    "new",
    (
        *(
            one if GUARD not in one.guards else replace(one, guards=(GUARD, MISBEHAVING_GUARD))
            for one in MACHINE.transitions
        ),
        *(Transition(status, status, "tender") for status in ("open", "watched")),
    ),
    MACHINE.terminal,
    MACHINE.timeouts,
)


CANCELLED: Final = ("do", "once", "shout", "whisper", "tell", "mail")
"""The intents that "hush" cancels where a run cancels intents; leaving a status cancels "file" and "reckon" there."""


def sample_workflow(
    generation: int,
    outside: Executor,
    compute_worker: Executor | None = None,
    *,
    misbehaving: bool = False,
    cancelling: bool = False,
) -> Workflow:
    """The workflow as its ``generation``-th release, its effects served by ``outside``, its computing by ``compute_worker``.

    ``misbehaving``: the same by somebody whose validators, guards and handlers misbehave where an action asks for it.
    ``cancelling``: the same, where "hush" and leaving a status cancel intents too.
    """
    specs = {spec.name: spec for spec in (*SPECS, *((BILLING, DISPATCH) if misbehaving else ()))}
    if cancelling:
        specs |= {name: replace(specs[name], cancel_on_exit=True) for name in ("file", "reckon")}
    handlers = _handlers(generation, cancelling)
    made: Budgeted | MachineReducer[SampleState]
    if misbehaving:
        payloads: Mapping[str, type[BaseModel]] = {**PAYLOADS, "tender": Tender}
        made = Budgeted(
            MachineReducer(TYPE, misbehaving_handlers(handlers), MISBEHAVING_MACHINE, payloads, specs), Overrun()
        )
    else:
        made = MachineReducer(TYPE, handlers, MACHINE, PAYLOADS, specs)
    schema = 2 if generation >= MIGRATES_AT else 1
    code = Code(TYPE, f"{generation}.0.0", generation.to_bytes(32, "big"), schema)
    served = {"outside": outside} if compute_worker is None else {"outside": outside, "compute_worker": compute_worker}
    migrations = Migrations({Move(1, ValueKind()): migrated}) if schema > 1 else Migrations()
    return Workflow(made, code, served, UNLEASED, migrations, PUBLIC)


def registry(
    generation: int,
    outside: Executor,
    compute_worker: Executor | None = None,
    *,
    misbehaving: bool = False,
    cancelling: bool = False,
) -> ReducerRegistry:
    made = sample_workflow(generation, outside, compute_worker, misbehaving=misbehaving, cancelling=cancelling)
    return ReducerRegistry((made,))
