"""Contract, classes and handlers become one reducer, or sentences about where they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, field_validator

from onex.contracts.compile import CompiledReducer, LocatedContract, PythonPlace, compile_reducer
from onex.contracts.load import load_contract
from onex.kernel.action import Action, Nothing, Payload, WorkflowKey
from onex.kernel.errors import GuardFailed, IllegalTransition
from onex.kernel.finding import errors
from onex.kernel.intent import EnumDelivery, EnumIntentType, EnumOutcome, Failure
from onex.kernel.machine import Handlers, reducer
from onex.kernel.step import State, Step

CONTRACT = """
name: shop
contract_version: {major: 1, minor: 2, patch: 3}
node_type: REDUCER_GENERIC
state_model: Cart
state_machine:
  initial_state: open
  terminal_states: [sent, cancelled]
  states:
    - {name: open}
    - {name: paying, timeout_ms: 60000, on_timeout: cancel}
    - {name: sent}
    - {name: cancelled}
  transitions:
    - {from_state: open, to_state: paying, trigger: place, payload: Place, conditions: [{expression: amount > 0}]}
    - {from_state: paying, to_state: sent, trigger: charged, payload: Charged}
    - {from_state: paying, to_state: open, trigger: declined, payload: Failure}
    - {from_state: "*", to_state: cancelled, trigger: cancel}
intents:
  - {name: charge, type: api_call, target: bank, payload: Charge, delivery: at_most_once, timeout_ms: 1500,
     outcomes: {succeeded: charged, failed: declined, unknown: declined},
     retry: {max_attempts: 3, initial_ms: 100, max_ms: 2000}}
  - {name: remind, type: timer, trigger: cancel}
  - {name: shout, type: carrier_pigeon, target: loft, priority: high}
"""


class Cart(State):
    total: int = 0
    receipt: str = ""


class Place(Payload):
    amount: int


class Charge(Payload):
    amount: int


class Charged(Payload):
    receipt: str


CLASSES: dict[str, object] = {"Cart": Cart, "Place": Place, "Charge": Charge, "Charged": Charged}


def handlers() -> Handlers[Cart]:
    carts = reducer(Cart)

    @carts.on("place")
    def place(cart: Cart, action: Action[Place]) -> Step[Cart]:
        return Step(cart.evolve(total=action.payload.amount), Charge(amount=action.payload.amount))

    @carts.on("charged")
    def charged(cart: Cart, action: Action[Charged]) -> Step[Cart]:
        return Step(cart.evolve(receipt=action.payload.receipt))

    return carts


def build(
    table: Handlers[Any] | None = None, contract: str = CONTRACT, classes: dict[str, object] | None = None
) -> CompiledReducer:
    loaded = load_contract(contract, "shop.yaml")
    assert errors(loaded.findings) == ()
    assert loaded.contract is not None
    assert loaded.tree is not None
    promise = LocatedContract(loaded.contract, loaded.tree, "shop.yaml")
    return compile_reducer(promise, CLASSES if classes is None else classes, table, spot)


def spot(thing: object, field: str) -> PythonPlace | None:
    """As an app's loader gives it: only for what the app itself wrote."""
    name = getattr(thing, "__qualname__", "").rpartition(".")[2]
    return PythonPlace("shop.py", 7, 1) if name.startswith(("Bad", "bad_")) else None


def reported(compiled: CompiledReducer) -> list[tuple[str, int, str, str]]:
    assert compiled.reducer is None
    return [(one.path, one.line, one.code, one.message) for one in compiled.findings]


def act(kind: str, payload: BaseModel, issued_us: int = 0) -> Action[BaseModel]:
    key = WorkflowKey("shop", "1")
    return Action(key, kind, payload, UUID(int=1).bytes, issued_us, UUID(int=2).bytes)


def test_the_reducer_decides_as_the_contract_says() -> None:
    made = build(handlers()).reducer
    assert made is not None
    cart = made.initial()
    assert (cart.status, made.accepts(cart)) == ("open", ("cancel", "place"))
    with pytest.raises(GuardFailed, match="'amount > 0' is false"):
        made.delta(cart, act("place", Place(amount=0)))
    placed = made.delta(cart, act("place", Place(amount=5), issued_us=1_000_000))
    assert placed.state == Cart(status="paying", total=5)
    assert [(one.name, one.payload, one.due_us) for one in placed.intents] == [
        ("charge", Charge(amount=5), 0),
        ("@paying", None, 61_000_000),
    ]
    sent = made.delta(placed.state, act("charged", Charged(receipt="r1")))
    assert sent.state == Cart(status="sent", total=5, receipt="r1")
    assert sent.state.status in made.terminal
    with pytest.raises(IllegalTransition):
        made.delta(sent.state, act("cancel", Nothing()))


def test_triggers_and_intents_carry_what_the_contract_says() -> None:
    made = build(handlers()).reducer
    assert made is not None
    assert {name: model for name, model in made.payloads.items() if name[0] != "@"} == {
        "place": Place,
        "charged": Charged,
        "declined": Failure,
        "cancel": Nothing,
    }
    charge = made.intents.by_name["charge"]
    assert (charge.kind, charge.target, charge.payload, charge.delivery, charge.timeout_s) == (
        EnumIntentType.API_CALL,
        "bank",
        Charge,
        EnumDelivery.AT_MOST_ONCE,
        1.5,
    )
    assert charge.outcomes == {
        EnumOutcome.SUCCEEDED: "charged",
        EnumOutcome.FAILED: "declined",
        EnumOutcome.UNKNOWN: "declined",
    }
    assert (charge.retry.max_attempts, charge.retry.initial_s, charge.retry.max_s) == (3, 0.1, 2.0)
    shout = made.intents.by_name["shout"]
    assert (shout.kind, shout.payload, dict(shout.outcomes), shout.priority) == ("carrier_pigeon", None, {}, "high")


def test_without_handlers_statuses_move_and_nothing_else_does() -> None:
    made = build().reducer
    assert made is not None
    assert made.delta(made.initial(), act("place", Place(amount=5))).state == Cart(status="paying")


def test_a_class_that_is_not_there_is_guessed() -> None:
    classes = {**CLASSES, "Chargedd": Charged}
    del classes["Charged"]
    compiled = build(classes=classes)
    assert reported(compiled) == [("shop.yaml", 16, "unknown_class", "payloads.py has no class 'Charged'")]
    assert compiled.findings[0].fix == "did you mean 'Chargedd'?"


@pytest.mark.parametrize(
    ("name", "thing", "code"),
    [
        ("Charge", 3, "not_a_model"),
        ("Charge", dict, "not_a_model"),
        ("Cart", Place, "not_a_state"),
        ("Failure", Place, "reserved_name"),
    ],
)
def test_a_name_must_stand_for_a_fitting_class(name: str, thing: object, code: str) -> None:
    compiled = build(classes={**CLASSES, name: thing})
    assert code in [one.code for one in compiled.findings]
    assert compiled.reducer is None


def test_a_name_of_ours_may_be_imported_beside_the_payloads() -> None:
    assert build(classes={**CLASSES, "Failure": Failure}).findings == ()


def test_a_field_without_default_leaves_no_beginning() -> None:
    class BadCart(State):
        height: int
        owner: str

    assert reported(build(classes={**CLASSES, "Cart": BadCart})) == [
        ("shop.py", 7, "no_default", "Cart.height has no default, so there is no state before the first action"),
        ("shop.py", 7, "no_default", "Cart.owner has no default, so there is no state before the first action"),
    ]


def test_a_status_of_one_s_own_is_refused() -> None:
    class BadCart(Cart):
        status: str | None = None  # type: ignore[assignment]  # the error under test

    assert [code for _, _, code, _ in reported(build(classes={**CLASSES, "Cart": BadCart}))] == ["status_redefined"]


def test_defaults_that_the_state_itself_refuses_are_reported() -> None:
    class BadCart(Cart):
        few: int = Field(default=0, gt=0, validate_default=True)

    class BadDay(Cart):
        @field_validator("status")
        @classmethod
        def bad(cls, value: str) -> str:
            raise RuntimeError("not today")

    assert [code for _, _, code, _ in reported(build(classes={**CLASSES, "Cart": BadCart}))] == ["bad_default"]
    assert reported(build(classes={**CLASSES, "Cart": BadDay})) == [
        ("shop.py", 7, "bad_default", "Cart cannot begin: RuntimeError: not today")
    ]


def test_field_types_are_judged_in_state_payloads_and_intents_each_once() -> None:
    class BadInner(Payload):
        raw: bytes

    class BadPlace(Payload):
        amount: int
        inner: BadInner

    class BadCharge(Payload):
        inner: BadInner
        tags: set[str]

    compiled = build(classes={**CLASSES, "Place": BadPlace, "Charge": BadCharge})
    assert [message.split(":")[0] for _, _, _, message in reported(compiled)] == [
        "BadInner.raw is bytes",
        "BadCharge.tags is set[str]",
    ]


def test_an_outcome_that_is_no_success_carries_a_failure_or_nothing() -> None:
    contract = CONTRACT.replace("trigger: declined, payload: Failure", "trigger: declined, payload: Place")
    assert reported(build(contract=contract)) == [
        (
            "shop.yaml",
            21,
            "outcome_payload",
            f"outcome {outcome} of 'charge' fires 'declined', which carries Place; an outcome that is no success "
            "carries Failure, or nothing",
        )
        for outcome in ("failed", "unknown")
    ]
    assert build(contract=CONTRACT.replace("trigger: declined, payload: Failure", "trigger: declined")).findings == ()


def test_a_guard_over_a_field_that_is_not_there_is_reported_at_its_column() -> None:
    compiled = build(contract=CONTRACT.replace("amount > 0", "payload.amuont > 0"))
    assert [(one.line, one.column, one.code, one.fix) for one in compiled.findings] == [
        (15, 110, "guard_field", "did you mean 'amount'?")
    ]


def test_a_guard_over_a_field_of_both_must_say_whose() -> None:
    compiled = build(contract=CONTRACT.replace("amount > 0", "receipt == x"), classes={**CLASSES, "Place": Charged})
    assert [one.code for one in compiled.findings] == ["guard_ambiguous"]


# --- handlers ---------------------------------------------------------------------------------------------------------

F = TypeVar("F", bound=Callable[..., object])


def table(trigger: str, handler: Callable[..., Any], state: type[State] = Cart) -> Handlers[Any]:
    carts: Handlers[Any] = reducer(state)
    carts.on(trigger)(handler)
    return carts


def test_a_handler_for_a_trigger_that_no_transition_has() -> None:
    def bad_place(cart: Cart, action: Action[Place]) -> Step[Cart]:
        return Step(cart)

    compiled = build(table("plcae", bad_place))
    assert reported(compiled) == [("shop.py", 7, "unknown_trigger", "a handler for 'plcae', which no transition has")]
    assert compiled.findings[0].fix == "did you mean 'place'?"


def test_handlers_over_another_state() -> None:
    def place(cart: State, action: Action[Place]) -> Step[State]:
        return Step(cart)

    assert reported(build(table("place", place, State))) == [
        ("shop.yaml", 5, "other_state", "reducer.py handles State; the contract's state_model is Cart")
    ]


async def bad_async(cart: Cart, action: Action[Place]) -> Step[Cart]:
    return Step(cart)


def bad_lonely(cart: Cart) -> Step[Cart]:
    return Step(cart)


def bad_greedy(cart: Cart, action: Action[Place], clock: object) -> Step[Cart]:
    return Step(cart)


def bad_payload(cart: Cart, action: Action[Charged]) -> Step[Cart]:
    return Step(cart)


def bad_state(cart: Place, action: Action[Place]) -> None:
    return None


def bad_action(cart: Cart, action: Place) -> Step[Cart]:
    return Step(cart)


def bad_name(cart: Cart, action: Action[Nowhere]) -> Step[Cart]:  # type: ignore[name-defined]  # noqa: F821 - the error
    return Step(cart)


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (bad_async, "bad_async is async or a generator; a handler answers at once"),
        (bad_lonely, "bad_lonely must take two arguments, the state and the action"),
        (bad_greedy, "bad_greedy must take two arguments, the state and the action"),
        (bad_payload, "bad_payload takes Action[Charged]; the contract says 'place' carries Place"),
        (bad_state, "bad_state takes a Place; the state is Cart"),
        (bad_action, "the second argument of bad_action is not an Action"),
        (bad_name, "the annotations of bad_name cannot be read: NameError: name 'Nowhere' is not defined"),
    ],
)
def test_a_handler_must_fit_its_trigger(handler: Callable[..., Any], said: str) -> None:
    assert reported(build(table("place", handler))) == [("shop.py", 7, "handler", said)]


def test_a_handler_may_take_more_than_it_is_given() -> None:
    def any_payload(cart: Cart, action: Action[BaseModel]) -> Step[Cart]:
        return Step(cart)

    def either(cart: State, action: Action[Place | Charged]) -> Step[Cart]:
        return Step(Cart())

    def silent(cart, action, extra=None):  # type: ignore[no-untyped-def]  # annotations are not asked for
        return Step(cart)

    for handler in (any_payload, either, silent):
        assert build(table("place", handler)).findings == ()


def test_everything_wrong_is_reported_at_once() -> None:
    class BadCart(State):
        amount: int
        raw: bytes = b""

    contract = CONTRACT.replace("amount > 0", "nowhere > 0").replace("payload: Charged", "payload: Chargd")
    compiled = build(table("plcae", bad_lonely, BadCart), contract, {**CLASSES, "Cart": BadCart})
    assert [code for _, _, code, _ in reported(compiled)] == [
        "field_type",
        "no_default",
        "unknown_class",
        "unknown_trigger",
        "guard_field",
    ]
