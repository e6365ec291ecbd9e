"""The orders example: its decisions by calling functions, its machine through the app, its effects on real files."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from uuid import UUID

import pytest

from examples.orders.effects import CREDIT_CENTS, charge, pack
from examples.orders.payloads import Charge, Charged, Item, Order, Pack, Packed, Place
from examples.orders.reducer import charged, explain, packed, place
from onex import EffectFailed, Failure, ModelIntent, Step, load_app
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import GuardFailed, IllegalTransition
from onex.kernel.intent import intent_id
from onex.testing.harness import Given, action, given

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "orders"
ITEMS = (Item(sku="tea", quantity=2, cents=350), Item(sku="cup", quantity=1, cents=1200))
WEEK_S = 7 * 24 * 3600


# --- functions --------------------------------------------------------------------------------------------------------


def test_placing_sums_the_items_and_asks_for_the_money() -> None:
    step = place(Order(trouble="card expired"), action("place", Place(items=ITEMS)))
    assert step == Step(Order(items=ITEMS, total_cents=1900), Charge(cents=1900))


def test_a_charged_order_is_packed() -> None:
    step = charged(Order(items=ITEMS, total_cents=1900), action("charged", Charged(receipt="r1")))
    assert step == Step(Order(items=ITEMS, total_cents=1900, receipt="r1"), Pack(items=ITEMS, receipt="r1"))


def test_a_packed_order_knows_its_parcel() -> None:
    assert packed(Order(), action("packed", Packed(parcel="p1"))) == Step(Order(parcel="p1"))


def test_a_refusal_is_remembered() -> None:
    failure = Failure(code="declined", message="no credit", attempts=1)
    assert explain(Order(), action("declined", failure)) == Step(Order(trouble="no credit"))


# --- the machine ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def order() -> Given[Order]:
    app = load_app(FOLDER)
    assert app.findings == ()
    return given(app.workflows["orders"].reducer)  # type: ignore[arg-type]  # the app's own Order, not the one imported


def say(order: Given[Order], kind: str, **fields: object) -> Given[Order]:
    """The same order, one action on, in a Given of its own."""
    payload = order.reducer.payloads[kind].model_validate(fields)
    return given(order.reducer, order.state).when(kind, payload)


FAILED = {"code": "declined", "message": "no credit", "attempts": 1}


def test_an_order_goes_from_the_basket_to_the_parcel(order: Given[Order]) -> None:
    order = say(order, "place", items=[one.model_dump() for one in ITEMS]).then(status="charging", total_cents=1900)
    order = say(order, "charged", receipt="r1").then(status="paid", receipt="r1")
    order = say(order, "packed", parcel="p1").then(status="shipped", parcel="p1", intents=[])
    say(order, "cancel").then_refused(IllegalTransition)


def test_an_empty_basket_cannot_be_placed(order: Given[Order]) -> None:
    say(order, "place", items=[]).then_refused(GuardFailed)


def test_a_declined_order_goes_back_to_the_basket_and_waits_a_week(order: Given[Order]) -> None:
    order = say(order, "place", items=[ITEMS[0].model_dump()])
    order = say(order, "declined", **FAILED).then(status="basket", trouble="no credit", intents=["@basket"])
    assert order.emitted[0].due_us == WEEK_S * 1_000_000
    say(order, "abandon").then(status="cancelled")


def test_a_charge_in_doubt_is_cleared_up_either_way(order: Given[Order]) -> None:
    order = say(order, "place", items=[ITEMS[0].model_dump()])
    order = say(order, "charge_unknown", **FAILED).then(status="in_doubt")
    say(order, "charged", receipt="r1").then(status="paid")
    say(order, "declined", **FAILED).then(status="basket")
    say(order, "cancel").then(status="cancelled")
    say(order, "place", items=[]).then_refused(IllegalTransition)


# --- effects ----------------------------------------------------------------------------------------------------------

KEY = WorkflowKey("orders", "4711")


def asked(payload: Charge) -> ModelIntent[Charge]:
    ident = intent_id(UUID(int=1), KEY, "charge", 0)
    return ModelIntent[Charge](
        intent_id=ident,
        intent_type="file_operation",
        target="bank",
        payload=payload,
        correlation_id=UUID(int=2),
        idempotency_key=str(ident),
        workflow_key=KEY,
    )


def test_a_charge_leaves_one_file_however_often_it_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path))
    first = charge(asked(Charge(cents=1900)))
    written = (tmp_path / "receipts" / first.receipt).read_bytes()
    again = charge(asked(Charge(cents=1900)).model_copy(update={"attempt": 2}))
    assert again == first
    assert [path.name for path in (tmp_path / "receipts").iterdir()] == [first.receipt]
    assert (tmp_path / "receipts" / first.receipt).read_bytes() == written
    assert json.loads(written) == {"for": "orders:4711", "correlation": str(UUID(int=2)), "cents": 1900}


def test_a_key_of_any_shape_names_a_file_inside_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path))
    receipt = charge(asked(Charge(cents=1)).model_copy(update={"idempotency_key": "../../x/y z"})).receipt
    assert [path.name for path in (tmp_path / "receipts").iterdir()] == [receipt]
    assert [path.name for path in tmp_path.iterdir()] == ["receipts"]


def test_beyond_the_credit_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path))
    with pytest.raises(EffectFailed, match="beyond the credit") as caught:
        charge(asked(Charge(cents=CREDIT_CENTS + 1)))
    assert (caught.value.reason, caught.value.retry) == ("declined", False)
    assert list(tmp_path.iterdir()) == []


def test_a_parcel_lists_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path))
    wanted = asked(Charge(cents=1)).model_dump() | {"payload": Pack(items=ITEMS, receipt="r1"), "target": "warehouse"}
    parcel = pack(ModelIntent[Pack].model_validate(wanted)).parcel
    assert json.loads((tmp_path / "parcels" / parcel).read_text())["items"][1] == ITEMS[1].model_dump()


# --- the size of it ---------------------------------------------------------------------------------------------------


def test_the_reducer_is_a_page_that_reads_in_a_minute() -> None:
    tree = ast.parse((FOLDER / "reducer.py").read_text())
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    lines = {line for node in statements for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    text = (FOLDER / "reducer.py").read_text().split("\n")
    assert len([line for line in lines if text[line - 1].strip()]) <= 25
