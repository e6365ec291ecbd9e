"""The sample workflow with validators, guards and handlers that misbehave.

Which of them does so, and how, stands in the action. So every fold of the action does the same, and a replay does too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ValidationInfo, field_serializer, field_validator, model_validator

from onex.kernel.action import Action, Payload
from onex.kernel.intent import IntentDraft, IntentSpec, intent, send, timer
from onex.kernel.machine import Handler, Handlers
from onex.kernel.step import State, Step
from onex.ports import StepOverrun
from onex.simulation.raised_errors import HOSTILE_TEXT, KINDS, raises, running_engine
from tests.engine_sim.misbehaviour import Misbehaviour, current_misbehaviour

BEYOND: Final = 2**53 + 1
FAR_BEYOND: Final = 2**70
ODD_ID: Final = UUID("00000000-0000-4000-8000-00000000000d")
TIMERS: Final = frozenset({"alarm", "nudge", "too_late"})


class Plain(Payload):
    name: str = ""


class Alike(Payload):
    """Nobody can tell it from a ``Plain`` in JSON."""

    name: str = ""


class Richer(Plain):
    more: int = 0


class Odd(Payload):
    """A value whose class is not what it seems. ``how`` says where, and what it does there.

    ``before:KIND``, ``field:KIND``, ``after:KIND`` raise; ``reload:KIND`` only where it is read back; ``unreadable:KIND`` where
    newer code reads it back; ``write:KIND`` where it is written; ``multiply`` is another value each time.
    """

    how: str = ""
    cents: int = 1
    token: str = ""
    either: Plain | Alike = Plain()
    base: Plain = Plain()

    @model_validator(mode="before")
    @classmethod
    def _first(cls, data: Any) -> Any:
        if isinstance(data, dict):
            where, _, kind = str(data.get("how", "")).partition(":")
            if where == "before":
                raises(kind)
            if where == "kill" and (misbehaviour := current_misbehaviour()) is not None:
                misbehaviour.validator_kills(UUID(str(data.get("token"))).bytes)
        return data

    @field_validator("cents")
    @classmethod
    def _each(cls, cents: int, info: ValidationInfo) -> int:
        where, _, kind = str(info.data.get("how", "")).partition(":")
        if where == "field":
            raises(kind)
        return cents * 100 if where == "multiply" else cents

    @model_validator(mode="after")
    def _last(self, info: ValidationInfo) -> Odd:
        where, _, kind = self.how.partition(":")
        if where == "after" or (where == "reload" and info.mode == "json"):
            raises(kind)
        misbehaviour = current_misbehaviour()
        if where == "unreadable" and info.mode == "json" and misbehaviour is not None:
            misbehaviour.fail_to_read(kind)
        return self

    @field_serializer("token")
    def _written(self, token: str) -> str:
        where, _, kind = self.how.partition(":")
        if where == "write":
            raises(kind)
        return token


class Tender(Odd):
    """``bills``: the effect gets what came, as it came."""

    bills: bool = False


class Bill(Odd):
    """What an effect is given."""


EMITTED: Final = (
    "multiply", "alike", "richer", "beyond", "far beyond", "nul", "surrogate", "unset", *(f"reload:{kind}" for kind in KINDS),
    *(f"write:{kind}" for kind in KINDS),
)  # fmt: skip
"""What a reducer may bill that does not come back as it was."""
VALIDATED: Final = (
    "multiply", *(f"{where}:{kind}" for where in ("before", "field", "after", "reload", "write") for kind in KINDS),
)  # fmt: skip


def bill(how: str) -> Bill:
    match how:
        case "alike":
            return Bill(either=Alike(name="which"))
        case "richer":
            return Bill(base=Richer(name="more", more=1))
        case "beyond":
            return Bill(cents=BEYOND)
        case "far beyond":
            return Bill(cents=FAR_BEYOND)
        case "nul":
            return Bill(token="\x00")
        case "surrogate":
            return Bill(token=HOSTILE_TEXT)
        case "unset":
            return Bill.model_construct(cents="many")  # type: ignore[arg-type]  # nothing is validated, as its author wished
    return Bill(how=how, cents=5)


class Elsewhere(State):
    """A state, but not this one's."""


class Bool:
    """Neither true nor false."""

    def __bool__(self) -> bool:
        return raises("Fatal")


GUARDED: Final[Mapping[str, Callable[[], object]]] = MappingProxyType(
    {
        "text": lambda: "false",
        "none": lambda: None,
        "number": lambda: -1,
        "neither": Bool,
        "not implemented": lambda: NotImplemented,
    }
)


def guarded(payload: BaseModel) -> bool:
    """A guard whose answer is what the action says: what it raises, or what is no bool."""
    where, _, kind = str(getattr(payload, "poison", "")).partition(":")
    if where != "guard":
        return True
    if kind in GUARDED:
        return GUARDED[kind]()  # type: ignore[return-value]  # a guard that answers with no bool
    return raises(kind)


# --- what a handler does -------------------------------------------------------------------------------------------------------

RETURNED: Final = ("none", "tuple", "other state", "status", "richer state", "generator", "state alone", "class")
DRAFTED: Final = (
    "priority:critical", "priority:urgent", "priority:7", "key:7", "key:uuid", "key:list", "key:bytes", "key:empty",
    "due:text", "due:naive", "due:date", "due:far", "to:7", "to:uuid", "to:list", "to:none", "to:colon",
    "payload:dict", "payload:class", "name:7", "timer:text", "timer:naive", "no draft",
)  # fmt: skip
UNKEPT: Final = ("big state", "huge state", "nul state", "odd state", "deep state", "fraction state")
CHANGED: Final = ("payload in place", "state in place", "payload in place, then raise")
REFUSED: Final = ("big state", "huge state", "nul state", "deep state", *RETURNED)
"""Of these no log may hold any."""


def misdeed(state: Any, action: Action[Any], how: str) -> Step[Any] | None:
    """What the poison ``how`` asks of a handler; None where it asks for nothing that is known here."""
    where, _, what = how.partition(":")
    if where == "raise":
        raises(what)
    if how in UNKEPT:
        return Step(state.evolve(**_unkept(how)))
    if where == "bill":
        return Step(state, intent("bill", bill(what)))
    if where == "slow":
        raise StepOverrun
    if how in RETURNED:
        return _returned(state, how)  # type: ignore[return-value]  # that is the mistake
    if how in DRAFTED:
        return Step(state.evolve(count=state.count + 1), _draft(where, what, action))
    if how in CHANGED:
        return _changed(state, action, how)
    return None


def _unkept(how: str) -> Mapping[str, object]:
    match how:
        case "big state":
            return {"count": BEYOND}
        case "huge state":
            return {"count": FAR_BEYOND}
        case "nul state":
            return {"note": "a\x00b"}
        case "deep state":
            deep: object = 1
            for _ in range(40):
                deep = [deep]
            return {"extra": deep}
        case "fraction state":
            return {"extra": 0.1 + 0.2}
    return {"odd": Odd(how="multiply", cents=3)}


def _returned(state: Any, how: str) -> object:
    match how:
        case "tuple":
            return (state, [])
        case "other state":
            return Step(Elsewhere(status=state.status))
        case "status":
            return Step(state.with_status("done"))
        case "richer state":
            richer = type("Richer", (type(state),), {})
            return Step(richer(**state.__dict__))
        case "generator":
            return (Step(state) for _ in range(1))
        case "state alone":
            return state
        case "class":
            return Step
    return None


def _draft(where: str, what: str, action: Action[Any]) -> IntentDraft:
    """Each of them says something of a type that it should not have."""
    said: Any
    do = {"how": ""}
    match where:
        case "priority":
            said = {"7": 7}.get(what, what)
            return intent("bill", Bill(), priority=said)
        case "key":
            said = {
                "7": int.from_bytes(action.id[10:]),
                "uuid": action.action_id,
                "list": ["a"],
                "bytes": b"k",
                "empty": "",
            }[what]
            return intent("bill", Bill(), idempotency_key=said)
        case "due":
            said = {"text": "tomorrow", "naive": datetime(2030, 1, 1), "date": date(2030, 1, 1)}.get(what, 5)  # noqa: DTZ001 - the mistake
            return intent("bill", Bill(), not_before=said)
        case "to":
            said = {"7": 7, "uuid": ODD_ID, "list": ["a"], "none": None, "colon": "\x85"}[what]
            return send("dispatch", said, Tender())
        case "payload":
            said = do if what == "dict" else Bill
            return intent("bill", said)
        case "name":
            said = 7
            return intent(said, Bill())
        case "timer":
            said = "soon" if what == "text" else datetime(2030, 1, 1)  # noqa: DTZ001 - the mistake
            return timer("alarm", said)
    said = "do"
    return said  # type: ignore[no-any-return]  # no draft at all


def _changed(state: Any, action: Action[Any], how: str) -> Step[Any]:
    """Frozen is a word: a dict inside can be changed, and so can the attributes of what forbids it."""
    if how == "state in place":
        state.ends[f"in place {len(state.ends)}"] = 1
        return Step(state)
    payload = action.payload
    payload.__dict__["amount"] += 1
    if how.endswith("raise"):
        raise ValueError("a change of mind behind a change")
    return Step(state.evolve(count=state.count + payload.amount))


def tender(state: Any, action: Action[Tender]) -> Step[Any]:
    wanted = action.payload
    if not wanted.bills:
        return Step(state.evolve(count=state.count + 1))
    how = "" if wanted.how == "kill" else wanted.how
    return Step(state, intent("bill", Bill(how=how, cents=wanted.cents)))


def misbehaving_handlers(handlers: Handlers[Any]) -> Handlers[Any]:
    """The same handlers, each of which may take its process with it; and one more."""
    handlers.on("tender")(tender)
    for trigger, handler in list(handlers.by_trigger.items()):
        handlers.by_trigger[trigger] = _deadly(handler)
    return handlers


def _deadly(handler: Handler[Any, BaseModel]) -> Handler[Any, BaseModel]:
    def handle(state: Any, action: Action[BaseModel]) -> Step[Any]:
        misbehaviour = current_misbehaviour()
        if misbehaviour is not None:
            misbehaviour.step(action.id, _point(action))
        return handler(state, action)

    return handle


def _point(action: Action[BaseModel]) -> str:
    if not action.issuer.startswith("intent:"):
        return "action kills its process"
    return "timer kills its process" if action.kind in TIMERS else "outcome kills its process"


MIGRATED: Final[tuple[Any, ...]] = (
    None, [], "state", 7, {"status": "open", "nobody_knows": 1}, {"status": "open", "note": HOSTILE_TEXT}, {"status": 7}, {1: 2},
    {"status": "open", "count": FAR_BEYOND}, {"status": "open", "extra": float("nan")}, {"status": "open", "extra": object()},
)  # fmt: skip
"""What a migration gives back in place of a state of the next schema."""


def migrated(state: dict[str, Any]) -> dict[str, Any]:
    """From schema 1 to 2, which has nothing new. Which states it cannot stand follows from them."""
    misbehaviour = current_misbehaviour()
    if misbehaviour is None or not misbehaviour.migrating or running_engine() is None:
        return state
    number = len(str(state))
    if number % 3 == 0:
        misbehaviour.counted["migration misbehaves"] += 1
        return MIGRATED[number // 3 % len(MIGRATED)]  # type: ignore[no-any-return]  # that is the mistake
    if number % 3 == 1:
        misbehaviour.counted["migration misbehaves"] += 1
        raises(KINDS[number // 3 % len(KINDS)])
    return state


def bill_spec(**options: Any) -> IntentSpec:
    return IntentSpec("bill", "api_call", "outside", Bill, **options)


class Overrun:
    """A StepGuard whose clock is the action: one that says it never ends is ended when it says so."""

    def enter(self) -> None:
        """Nothing has run yet."""

    def leave(self) -> None:
        """What never ends has raised already."""


def poisons(misbehaviour: Misbehaviour, point: str) -> tuple[str, ...]:
    """What a client writes into an action for ``point`` to happen, where it does so by an ``add``."""
    return {
        "what is emitted does not reload": tuple(f"bill:{how}" for how in EMITTED),
        "reducer raises anything": tuple(f"raise:{kind}" for kind in KINDS),
        "reducer gives back anything": RETURNED,
        "reducer emits anything": DRAFTED,
        "reducer writes what no store takes": UNKEPT,
        "reducer changes what it was given": CHANGED,
        "reducer never ends": ("slow",),
        "guard misbehaves": (*(f"guard:{kind}" for kind in (*GUARDED, *KINDS)),),
    }[point]
