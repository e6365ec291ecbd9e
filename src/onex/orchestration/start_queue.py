"""What waits to begin: the workflow ``NAME_start`` of a contract with ``start:``, derived from it and nowhere written.

Theory of operation
    A client sends ``ask`` with an id, a priority and the payload of the run. The queue keeps it, and begins what is ready: its
    time has come, its id has no run, a place is free (``concurrency``) and the rate allows it. One run is begun at a time, by an
    effect that sends its first action under an id of its own; so a crash begins nothing twice. While places are counted, each
    run is watched, and its end is told by an outcome, which is in the log. So all that is decided can be replayed.

    Order: priority first, then who asked first. Who waits rises by one priority each AGE_S, so nobody waits for ever.
    What nobody can begin now has a timer: the earliest time at which that may change. An end of a run looks again, too.

    Bounded: more than ``waiting`` asks are refused by a guard, and so is an id that is taken, where ``reuse`` says so. The table
    below is the contract; its guards read fields that each step keeps true (``_kept``).

    With ``batch`` the queue gathers: when enough wait, or the first has waited long enough, one run begins with all of them.

    What may go wrong: a run is refused by its own workflow. That is counted, with the reason, and the next one begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args, get_origin
from uuid import UUID, uuid5

from pydantic import AwareDatetime, BaseModel, Field, JsonValue, create_model
from pydantic_core import from_json

from ..contracts.compile import BUILT_IN_PAYLOADS, LocatedContract
from ..contracts.guard.problem import suggest
from ..contracts.load import load_tree
from ..contracts.model.schedule import TARGET, WATCH_TARGET
from ..contracts.model.start import ASK, EnumReuse, ModelStart, start_type
from ..contracts.text.yaml_tree import Loc, YamlMap, located, place_of
from ..kernel.action import EPOCH, Action, Nothing, Payload
from ..kernel.canonical import encode
from ..kernel.finding import EnumSeverity, Finding
from ..kernel.intent import RUN_BEGIN, RUN_WATCH, Failure, IntentDraft, cancel, intent, timer
from ..kernel.machine import Handlers, reducer
from ..kernel.step import State, Step
from ..workflows.schedule.payloads import Fire, FireResult, WatchResult, WatchRun

AGE_S: Final = 30
PRIORITIES: Final = ("high", "normal", "low")
ALL: Final = "all"
"""The instance of the queue where a contract has no ``per``."""

AnyAction = Action[BaseModel]
Priority = Literal["high", "normal", "low"]


class WaitingStart(Payload):
    """An ask that waits. ``number`` counts asks of the queue; ``due``: not before."""

    id: str
    number: int
    priority: Priority
    asked: AwareDatetime
    due: AwareDatetime
    payload: dict[str, JsonValue]


class BegunRun(Payload):
    """A run that has not ended, as far as is known. ``watch`` is the intent that watches it."""

    id: str
    key: str
    watch: UUID


class StartQueue(State):
    """``beginning`` and ``began_as``: what is being begun, and the intent that does it. ``begun_at``: for the rate.

    ``waits``, ``taken`` and ``is_of_another_queue`` are what guards read: how many wait, ids that are taken, and, after the step,
    whether an ask belongs elsewhere. ``wakes`` is the time of the timer.
    """

    waiting: tuple[WaitingStart, ...] = ()
    beginning: WaitingStart | None = None
    began_as: UUID | None = None
    running: tuple[BegunRun, ...] = ()
    begun_at: tuple[AwareDatetime, ...] = ()
    asked: int = 0
    begun: int = 0
    refused: int = 0
    reason: str = ""
    waits: int = 0
    taken: tuple[str, ...] = ()
    is_of_another_queue: bool = False
    wakes: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class DerivedQueue:
    """``contract`` and ``handlers`` are None where a finding is an error."""

    contract: LocatedContract | None
    classes: Mapping[str, object]
    handlers: Handlers[State] | None
    findings: tuple[Finding, ...]


def derived_queue(of: LocatedContract, classes: Mapping[str, object]) -> DerivedQueue | None:
    """The queue of a contract with ``start:``; None where a class that it names is missing: that has a finding."""
    start, contract = of.contract.start, of.contract
    assert start is not None, "asked for a contract that has one"
    carried = {**BUILT_IN_PAYLOADS, **classes}.get(contract.payloads.get(start.trigger, "Nothing"))
    if not isinstance(carried, type) or not issubclass(carried, BaseModel):
        return None

    def refused(loc: Loc, model: type[BaseModel], name: str, what: str) -> DerivedQueue:
        fix = suggest(name, list(model.model_fields)) or f"it has {', '.join(model.model_fields) or 'none'}"
        spot = place_of(of.tree, ("start", *loc)).spot(of.path)
        message = f"{model.__name__} has no {what} {name!r}"
        return DerivedQueue(None, {}, None, (Finding("unknown_field", EnumSeverity.ERROR, *spot, message, fix),))

    if start.batch is not None:
        entry = _entry_of(carried, start.batch.field)
        if entry is None:
            return refused(("batch", "field"), carried, start.batch.field, "list of models")
        carried = entry
    if start.per is not None and start.per not in carried.model_fields:
        return refused(("per",), carried, start.per, "field")
    asks, place = _ask_class(carried), place_of(of.tree, ("start",))
    tree = located(_contract(contract.name, contract.contract_version.model_dump(), start), place)
    assert isinstance(tree, YamlMap), "a mapping was given"
    loaded = load_tree(tree, of.path)
    named = {one.__name__: one for one in (StartQueue, asks, Fire, FireResult, WatchRun, WatchResult)}
    if loaded.contract is None or loaded.tree is None:
        return DerivedQueue(None, named, None, loaded.findings)
    made = LocatedContract(loaded.contract, loaded.tree, of.path)
    return DerivedQueue(made, named, _handlers(contract.name, start), loaded.findings)


def _entry_of(model: type[BaseModel], field: str) -> type[BaseModel] | None:
    """The class of the entries of a list or tuple; None where the field is no such thing."""
    kind = model.model_fields[field].annotation if field in model.model_fields else None
    if get_origin(kind) not in (list, tuple):
        return None
    entry = get_args(kind)[0]
    return entry if isinstance(entry, type) and issubclass(entry, BaseModel) else None


def _ask_class(carried: type[BaseModel]) -> type[BaseModel]:
    payload: Any = (carried, Nothing()) if carried is Nothing else (carried, ...)
    return create_model(
        "Ask",
        __base__=Payload,
        __doc__="Begin a run. Without ``id`` the run has one of its own.",
        id=(str, Field(default="", max_length=150)),
        priority=(Priority, "normal"),
        not_before=(AwareDatetime | None, None),
        payload=payload,
    )


def _contract(name: str, version: dict[str, JsonValue], start: ModelStart) -> dict[str, JsonValue]:
    conditions: list[JsonValue] = [{"expression": f"state.waits < {start.waiting}"}]
    if start.reuse is EnumReuse.REJECT and start.debounce_ms is None:
        conditions.append({"expression": "!(payload.id in state.taken)"})
    conditions.append({"expression": "state.is_of_another_queue == false", "after": True})
    rows: list[JsonValue] = [
        {"from_state": "open", "to_state": "open", "trigger": ASK, "payload": "Ask", "conditions": conditions}
    ]
    for trigger, payload in (
        ("ready", None), ("told", "FireResult"), ("not_told", "Failure"), ("watched", "WatchResult"), ("not_watched", None),
    ):  # fmt: skip
        row: dict[str, JsonValue] = {"from_state": "open", "to_state": "open", "trigger": trigger}
        rows.append(row if payload is None else {**row, "payload": payload})
    told: dict[str, JsonValue] = {"succeeded": "told", "failed": "not_told", "unknown": "not_told"}
    watched: dict[str, JsonValue] = {"succeeded": "watched", "failed": "not_watched", "unknown": "not_watched"}
    return {
        "name": start_type(name),
        "contract_version": version,
        "node_type": "REDUCER_GENERIC",
        "description": f"What waits to begin a {name}",
        "state_model": "StartQueue",
        "start": start.model_dump(mode="json", exclude_none=True),
        "state_machine": {"initial_state": "open", "transitions": rows},
        "intents": [
            {
                "name": start.trigger.replace(".", "_"), "type": RUN_BEGIN, "target": TARGET, "payload": "Fire",
                "delivery": "at_least_once", "concurrency": 100, "outcomes": told,
                "retry": {"max_attempts": 1000, "initial_ms": 250, "max_ms": 30_000},
            },
            {
                "name": "watch", "type": RUN_WATCH, "target": WATCH_TARGET, "payload": "WatchRun",
                "delivery": "at_least_once", "concurrency": 1000, "timeout_ms": 7_200_000, "outcomes": watched,
            },
            {"name": "ready", "type": "timer"},
        ],
    }  # fmt: skip


def _handlers(name: str, start: ModelStart) -> Handlers[State]:
    queue = _Queue(name, start)
    table = reducer(StartQueue)
    for trigger, handler in (
        (ASK, queue.ask), ("ready", queue.ready), ("told", queue.told), ("not_told", queue.not_told),
        ("watched", queue.watched), ("not_watched", queue.watched),
    ):  # fmt: skip
        table.by_trigger[trigger] = handler
    return table  # type: ignore[return-value]  # a table of one state class is a table of states


class _Queue:
    """The policies of one contract."""

    def __init__(self, name: str, start: ModelStart) -> None:
        self.name, self.start = name, start
        self.begins = start.trigger.replace(".", "_")

    def ask(self, now: StartQueue, action: AnyAction) -> Step[StartQueue]:
        asked: Any = action.payload
        at = action.issued_at
        queue = ALL if self.start.per is None else str(getattr(asked.payload, self.start.per))
        if queue != action.key.instance_id:
            return Step(now.evolve(is_of_another_queue=True))  # a guard refuses it: nothing stays of it
        now = now.evolve(asked=now.asked + 1)
        own_id = asked.id or f"{action.key.instance_id}-{now.asked}"
        known = next((one for one in now.waiting if one.id == own_id), None)
        wait_ms = self.start.debounce_ms or self.start.delay_ms or 0
        due = max(at + timedelta(milliseconds=wait_ms), asked.not_before or at)
        new = WaitingStart(
            id=own_id,
            number=now.asked if known is None else known.number,
            priority=asked.priority,
            asked=at if known is None else known.asked,
            due=due,
            payload=from_json(encode(asked.payload)),
        )
        if known is not None and self.start.debounce_ms is None:
            return self._go_on(now, action)  # it waits already
        if known is None and self.start.reuse is EnumReuse.USE_EXISTING and own_id in now.taken:
            return self._go_on(now, action)  # its run goes on
        waiting = (*(one for one in now.waiting if one is not known), new)
        return self._go_on(now.evolve(waiting=waiting), action)

    def ready(self, now: StartQueue, action: AnyAction) -> Step[StartQueue]:
        return self._go_on(now.evolve(wakes=None), action)

    def told(self, now: StartQueue, action: AnyAction) -> Step[StartQueue]:
        one, result = self._answered(now, action), action.payload
        if one is None:
            return Step(now)
        assert isinstance(result, FireResult), "the contract says so"
        now = now.evolve(beginning=None, began_as=None)
        if result.outcome != "begun":
            now = now.evolve(refused=now.refused + 1, reason=f"{one.id}: {result.reason}")
            return self._go_on(now, action)
        now = now.evolve(begun=now.begun + 1)
        if self.start.rate is not None:
            now = now.evolve(begun_at=(*now.begun_at, action.issued_at)[-self.start.rate.most :])
        if self.start.concurrency is None:
            return self._go_on(now, action)
        key = self._key(one)
        run = BegunRun(id=one.id, key=key, watch=action.intent_id_of("watch"))
        return self._go_on(now.evolve(running=(*now.running, run)), action, intent("watch", WatchRun(key=key)))

    def not_told(self, now: StartQueue, action: AnyAction) -> Step[StartQueue]:
        one, failure = self._answered(now, action), action.payload
        if one is None:
            return Step(now)
        assert isinstance(failure, Failure), "the contract says so"
        reason = f"{one.id}: {failure.message}"
        return self._go_on(now.evolve(beginning=None, began_as=None, refused=now.refused + 1, reason=reason), action)

    def watched(self, now: StartQueue, action: AnyAction) -> Step[StartQueue]:
        """A watch has ended: the run has, or its time is over, or nobody knows. Then it is watched again."""
        of = action.outcome_of
        run = next((one for one in now.running if of is not None and one.watch == of.intent_id), None)
        if run is None:
            return Step(now)
        left = tuple(one for one in now.running if one is not run)
        if getattr(action.payload, "over", False):
            return self._go_on(now.evolve(running=left), action)
        again = BegunRun(id=run.id, key=run.key, watch=action.intent_id_of("watch"))
        return self._go_on(now.evolve(running=(*left, again)), action, intent("watch", WatchRun(key=run.key)))

    # --- what is next -------------------------------------------------------------------------------------------------

    def _go_on(self, now: StartQueue, action: AnyAction, *more: IntentDraft) -> Step[StartQueue]:
        at = action.issued_at
        if now.beginning is not None:
            return Step(self._kept(now), *more)
        busy = {one.id for one in now.running}
        free = self.start.concurrency is None or len(now.running) < self.start.concurrency
        allowed = self._allowed_from(now, at)
        able = [one for one in now.waiting if one.id not in busy] if free else []
        from_when = self._gathered(able)
        ready = [one for one in able if one.due <= at]
        if ready and max(allowed, from_when) <= at:
            ready.sort(key=lambda each: self._rank(each, at))
            taken = ready[: 1 if self.start.batch is None else self.start.batch.most]
            one = taken[0] if self.start.batch is None else self._as_one(taken, self.start.batch.field, action)
            left = tuple(each for each in now.waiting if each not in taken)
            now = now.evolve(waiting=left, beginning=one, began_as=action.intent_id_of(self.begins))
            return Step(self._kept(now), *more, intent(self.begins, self._fire(one, action)))
        wakes = max(allowed, from_when, min(one.due for one in able)) if able else None
        if wakes == now.wakes:
            return Step(self._kept(now), *more)
        set_again = cancel("ready") if wakes is None else timer("ready", wakes)
        return Step(self._kept(now.evolve(wakes=wakes)), *more, set_again)

    def _allowed_from(self, now: StartQueue, at: datetime) -> datetime:
        """The moment from which the rate allows one more."""
        rate = self.start.rate
        if rate is None or len(now.begun_at) < rate.most:
            return at
        return now.begun_at[-rate.most] + timedelta(milliseconds=rate.per_ms)

    def _gathered(self, able: Sequence[WaitingStart]) -> datetime:
        """The moment from which a batch is whole. Long ago where there is none."""
        batch = self.start.batch
        due = sorted(one.due for one in able)
        if batch is None or not due:
            return EPOCH
        waited = due[0] + timedelta(milliseconds=batch.wait_ms)
        return min(waited, due[batch.most - 1]) if len(due) >= batch.most else waited

    def _as_one(self, taken: Sequence[WaitingStart], field: str, action: AnyAction) -> WaitingStart:
        first = min(taken, key=lambda each: each.number)
        payload: dict[str, JsonValue] = {field: [dict(each.payload) for each in taken]}
        own_id = f"{action.key.instance_id}-{first.number}"
        return WaitingStart(**{**dict(first), "id": own_id, "payload": payload})

    def _rank(self, one: WaitingStart, at: datetime) -> tuple[int, int]:
        risen = max(timedelta(0), at - max(one.due, one.asked)) // timedelta(seconds=AGE_S)
        return max(0, PRIORITIES.index(one.priority) - risen), one.number

    def _fire(self, one: WaitingStart, action: AnyAction) -> Fire:
        return Fire(
            firing_id=uuid5(action.action_id, f"{action.key}/{one.number}"),
            due=one.due,
            key=self._key(one),
            trigger=self.start.trigger,
            payload=one.payload,
        )

    def _key(self, one: WaitingStart) -> str:
        suffix = f"~{one.number}" if self.start.reuse is EnumReuse.AFTER_TERMINAL else ""
        return f"{self.name}:{one.id}{suffix}"

    def _answered(self, now: StartQueue, action: AnyAction) -> WaitingStart | None:
        of = action.outcome_of
        return now.beginning if of is not None and of.intent_id == now.began_as else None

    def _kept(self, now: StartQueue) -> StartQueue:
        beginning = () if now.beginning is None else (now.beginning,)
        taken = dict.fromkeys(one.id for one in (*now.waiting, *beginning, *now.running))
        return now.evolve(waits=len(now.waiting), taken=tuple(taken))
