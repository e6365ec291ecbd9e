"""The billing example: its decisions as given / when / then, its calendar, and whole years in virtual time."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from examples.billing.app import Charge, Mail, Receipt, Subscription, month_after
from onex import EffectFailed, ModelIntent, load_app
from onex.kernel.errors import IllegalTransition
from onex.kernel.intent import Failure
from onex.kernel.step import State
from onex.testing.harness import Given, given
from onex.testing.virtual_time import VirtualRun, virtual
from tests.examples.killed import ActionToSend, over_kills

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "billing"
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def sub() -> Given[State]:
    app = load_app(FOLDER)
    assert app.findings == ()
    return given(app.workflows["billing"].reducer)


def say(sub: Given[State], trigger: str, **fields: object) -> Given[State]:
    return sub.when(trigger, sub.reducer.payloads[trigger].model_validate(fields), at=START)


def subscribed(sub: Given[State]) -> Given[State]:
    return say(sub, "subscribe", customer="ada", cents=900, trial_days=0)


def failed(sub: Given[State]) -> Given[State]:
    return sub.when("charge.failed", Failure(code="refused", message="no credit", attempts=1), at=START)


def emitted(sub: Given[State]) -> list[str]:
    return [one.name for one in sub.emitted]


def test_a_trial_ends_with_the_first_charge(sub: Given[State]) -> None:
    say(sub, "subscribe", customer="ada", cents=900).then(status="trial", first=START + timedelta(days=14))
    assert emitted(sub) == ["renew"]
    sub.when("renew").then(status="charging")
    (charge,) = sub.emitted
    assert charge.payload is not None
    assert charge.payload.model_dump() == Charge(customer="ada", cents=900, month=1).model_dump()
    assert charge.idempotency_key == "test:1/1/0"


def test_a_paid_month_sets_the_next_renewal_on_its_day(sub: Given[State]) -> None:
    say(subscribed(sub).when("renew"), "charge.succeeded", number="r1").then(status="active", months=1)
    renew, mail = sub.emitted
    assert datetime.fromtimestamp(renew.due_us / 1e6, UTC) == datetime(2026, 2, 28, 12, tzinfo=UTC)
    assert mail.payload is not None
    assert mail.payload.model_dump() == Mail(customer="ada", text="month 1: receipt r1").model_dump()


def test_three_refusals_are_tried_again_and_the_fourth_ends_it(sub: Given[State]) -> None:
    subscribed(sub).when("renew")
    waits = []
    for n in range(3):
        failed(sub).then(status="past_due", refusals=n + 1)
        waits.append(timedelta(microseconds=next(one.due_us for one in sub.emitted if one.name == "try_again")))
        sub.when("try_again").then(status="charging")
    begin = START - datetime(1970, 1, 1, tzinfo=UTC)
    assert [wait - begin for wait in waits] == [timedelta(days=1), timedelta(days=3), timedelta(days=7)]
    failed(sub).then(status="ended", trouble="no credit")
    assert emitted(sub) == ["mail"]


def test_an_unclear_charge_is_tried_again_under_its_key(sub: Given[State]) -> None:
    subscribed(sub).when("renew")
    first = sub.emitted[0].idempotency_key
    sub.when("charge.unknown", Failure(code="timeout", message="?", attempts=5), at=START).then(status="past_due")
    sub.when("try_again")
    assert sub.emitted[0].idempotency_key == first


def test_a_customer_who_leaves_keeps_the_month_that_is_paid(sub: Given[State]) -> None:
    say(subscribed(sub).when("renew"), "charge.succeeded", number="r1").when("cancel").then(status="ending")
    sub.when("renew").then(status="ended", intents=[])


def test_a_plan_is_not_changed_while_a_charge_runs(sub: Given[State]) -> None:
    say(subscribed(sub).when("renew"), "change_plan", cents=100).then_refused(IllegalTransition)


@pytest.mark.parametrize(
    ("first", "months", "day"),
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2027-12-31", 2, "2028-02-29"),
        ("2026-01-31", 2, "2026-03-31"),
        ("2026-12-05", 1, "2027-01-05"),
    ],
)
def test_a_month_later_is_the_same_day_or_the_last(first: str, months: int, day: str) -> None:
    assert month_after(datetime.fromisoformat(first), months) == datetime.fromisoformat(day)


# --- years, in virtual time -----------------------------------------------------------------------------------------------


def mail(intent: ModelIntent[Mail]) -> None:
    """Nobody is told."""


def charge(intent: ModelIntent[Charge]) -> Receipt:
    return Receipt(number=f"r{intent.payload.month}")


def refuse(intent: ModelIntent[Charge]) -> Receipt:
    raise EffectFailed("no credit", code="refused")


def days_of(run: VirtualRun, trigger: str) -> list[str]:
    rows = (entry.row for entry in run.history("billing:ada") if entry.row.kind == trigger)
    return [datetime.fromtimestamp(row.issued_us / 1e6, UTC).date().isoformat() for row in rows]


def test_a_year_is_twelve_charges_each_on_the_last_day_of_its_month() -> None:
    with virtual(FOLDER, executors={"charge": charge, "mail": mail}, start=START) as run:
        run.submit("billing:ada", "subscribe", {"customer": "ada", "cents": 900, "trial_days": 0})
        run.until(datetime(2027, 1, 1, tzinfo=UTC))
        assert days_of(run, "charge.succeeded")[:3] == ["2026-01-31", "2026-02-28", "2026-03-31"]
        assert len(days_of(run, "charge.succeeded")) == 12
        assert [intent.payload.model_dump()["text"] for intent in run.calls("mail")][-1] == "month 12: receipt r12"
        run.submit("billing:ada", "cancel")
        assert run.wait("billing:ada").status == "ended"
        assert run.state("billing:ada", Subscription).months == 12
        assert run.now == datetime(2027, 1, 31, 12, tzinfo=UTC)


def test_a_card_that_is_always_refused_is_tried_four_times_in_eleven_days() -> None:
    with virtual(FOLDER, executors={"charge": refuse, "mail": mail}, start=START) as run:
        run.submit("billing:ada", "subscribe", {"customer": "ada", "cents": 900, "trial_days": 0})
        assert run.wait("billing:ada").status == "ended"
        assert days_of(run, "charge.failed") == ["2026-01-31", "2026-02-01", "2026-02-04", "2026-02-11"]
        assert len(run.calls("mail")) == 4


# --- and with kills, in real time -------------------------------------------------------------------------------------


def test_renewals_and_dunning_go_on_over_kills_and_nothing_is_charged_or_told_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who subscribed three months ago is charged for what is due. The days between two tries of a refused card are none here."""
    monkeypatch.setenv("ONEX_BILLING_DIR", str(tmp_path / "bank"))
    app = shutil.copytree(FOLDER, tmp_path / "billing", ignore=shutil.ignore_patterns("__pycache__", "*.lock.yaml"))
    days = "RETRY_DAYS = (1, 3, 7)"
    assert days in (app / "app.py").read_text()
    (app / "app.py").write_text((app / "app.py").read_text().replace(days, "RETRY_DAYS = (0, 0, 0)"))
    began = month_after(datetime.now(UTC) + timedelta(days=1), -3)  # so three months are due, and the next one is not
    asked = {"customer": "ada", "cents": 900, "trial_days": 0}
    actions = [
        ActionToSend("billing:ada", "subscribe", asked, began.isoformat()),
        ActionToSend("billing:bob", "subscribe", {**asked, "customer": "bob", "cents": 90_000}),
    ]
    seen = over_kills(app, tmp_path, actions, {"billing:ada": "active", "billing:bob": "ended"}, ["charge:2", "mail:2"])
    assert (seen.ended["billing:ada"]["months"], seen.ended["billing:bob"]["refusals"]) == (3, 4)
    charged = sorted(seen.keys["charge"])
    assert charged == [
        "billing:ada/1/0",
        "billing:ada/2/0",
        "billing:ada/3/0",
        *(f"billing:bob/1/{n}" for n in range(4)),
    ]
    assert len(list((tmp_path / "bank" / "charges").iterdir())) == 3, (
        "the bank has three months of ada, and none of bob"
    )
    mails = [seen.payloads[key]["text"] for key in seen.keys["mail"]]
    receipts = [text for text in mails if "receipt" in text]
    assert len(set(receipts)) == len(receipts) <= 3, "a letter is sent at most once: one that a kill met may be lost"
    assert "mail" not in seen.again
