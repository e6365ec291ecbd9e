"""promise 36, sentence by sentence: which recorded actions another code is given, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

from onex.adapters.memory.read import Tables
from onex.kernel.action import EPOCH, Action, Nothing
from onex.kernel.intent import IntentDraft, IntentSpec, cancel, send, timer
from onex.kernel.step import Step
from onex.whatif.result import EnumBranch, EnumIntentChange, InstanceResult
from onex.whatif.value_diff import ValueChange, recorded_intents
from tests.engine.bills import (
    ENDS,
    INTENTS,
    MOVES,
    PAYLOADS,
    Amount,
    Bill,
    Charge,
    Letter,
    Mail,
    Words,
    judged,
    noted,
    one_bill,
    opened,
    paid,
    record,
    shop,
)

SAME, DIFFERS, OPEN = EnumBranch.SAME, EnumBranch.DIFFERS, EnumBranch.OPEN


@cache
def story() -> Tables:
    return record(one_bill, shop())


def bill(**changes: Any) -> InstanceResult:
    """Of the one bill, with the code of the record at hand."""
    return judged(story(), shop("other", **changes), shop())["bill:1"]


def louder(state: Bill, action: Action[Words]) -> Step[Bill]:
    return Step(state.evolve(words=action.payload.text.upper()))


# --- the same ---------------------------------------------------------------------------------------------------------


def test_the_recorded_story_has_every_kind_of_action() -> None:
    kinds = [entry.row.kind for entry in story().log if entry.key.workflow_type == "bill"]
    assert kinds == ["open", "paid", "thanked", "note", "remind", "note", "close"]


def test_the_same_code_makes_the_same_of_everything() -> None:
    found = judged(story(), shop("other name, same code"))
    assert {key: one.branch for key, one in found.items()} == {"bill:1": SAME, "ledger:main": SAME}
    assert found["bill:1"].folded == 7


def test_a_difference_that_is_never_reached_is_none() -> None:
    def refused_loudly(state: Bill, action: Action[Nothing]) -> Step[Bill]:
        return Step(state.evolve(words="REFUSED"))

    assert bill(refused=refused_loudly).branch is SAME


# --- what differs, and where ------------------------------------------------------------------------------------------


def test_a_difference_in_the_state_is_found_at_its_action_and_followed_to_the_end() -> None:
    found = bill(note=louder)
    assert found.branch is DIFFERS and found.opened is None
    assert found.first is not None
    assert found.first[:4] == (4, "paid", "note", "state: words")
    assert found.first.why == 'words "FIRST", recorded "first"'
    assert (found.folded, found.actions) == (7, 7)
    assert found.state is not None and found.state.first == (ValueChange("words", '"second"', '"SECOND"'),)
    assert not found.intents and not found.refused and not found.stranded


def test_an_outcome_is_used_where_the_intent_is_the_same_and_only_the_state_differs() -> None:
    def opened_wordily(state: Bill, action: Action[Amount]) -> Step[Bill]:
        step = opened(state, action)
        return Step(step.state.evolve(words="thank you"), *step.intents)

    found = bill(open=opened_wordily)
    assert found.first is not None and found.first[:4] == (1, "new", "open", "state: words")
    assert found.opened is None and found.folded == 7
    assert found.state is not None and found.state.total == 0  # overwritten by the notes


def test_an_outcome_is_not_used_where_the_payload_differs_and_nothing_is_compared_beyond() -> None:
    def cheaper(state: Bill, action: Action[Amount]) -> Step[Bill]:
        return Step(state.evolve(amount=action.payload.amount), Charge(cents=90 * action.payload.amount))

    found = bill(open=cheaper, note=louder)
    assert found.branch is DIFFERS
    assert found.first is not None and found.first[:4] == (1, "new", "open", "changed charge (cents)")
    assert found.opened is not None and found.opened[:2] == (2, "paid")
    assert "emits with another payload" in found.opened.why
    assert found.folded == 1
    assert [(one.version, one.how, one.name) for one in found.intents] == [(1, EnumIntentChange.CHANGED, "charge")]
    assert found.intents[0].changes.first == (ValueChange("payload.cents", "500", "450"),)


def test_an_outcome_is_not_used_where_the_intent_is_not_emitted_and_who_waits_for_it_is_stranded() -> None:
    def forgetful(state: Bill, action: Action[Amount]) -> Step[Bill]:
        return Step(state.evolve(amount=action.payload.amount))

    found = bill(open=forgetful)
    assert found.first is not None and found.first.what == "lost charge"
    assert found.opened is not None and found.opened[:2] == (2, "paid")
    assert "in 'charging' only paid, refused would move it" in found.stranded
    assert found.counts == {"lost": 1}


def test_who_waits_for_an_outcome_that_is_under_way_is_not_stranded() -> None:
    def dearer(state: Bill, action: Action[Amount]) -> Step[Bill]:
        return Step(state.evolve(amount=action.payload.amount), Charge(cents=1))

    assert bill(open=dearer).stranded == ""


def test_an_outcome_that_the_other_contract_maps_to_another_trigger_is_not_used() -> None:
    renamed = {outcome: {"paid": "settled"}.get(trigger, trigger) for outcome, trigger in ENDS.items()}
    charge = IntentSpec("charge", "api_call", "bank", Charge, renamed)
    found = bill(
        intents={**INTENTS, "charge": charge},
        settled=paid,
        payloads={**PAYLOADS, "settled": Nothing},
        moves=(*MOVES, ("charging", "paid", "settled")),
    )
    assert found.branch is OPEN
    assert found.opened is not None and "no outcome of 'charge' is called 'paid'" in found.opened.why


def test_an_intent_that_is_new_is_told_and_opens_nothing() -> None:
    def with_a_letter(state: Bill, action: Action[Words]) -> Step[Bill]:
        return Step(noted(state, action).state, Letter(text="noted"))

    found = bill(note=with_a_letter)
    assert found.first is not None and found.first[:4] == (4, "paid", "note", "added letter")
    assert found.opened is None
    assert found.counts == {"added": 2}


# --- timers -----------------------------------------------------------------------------------------------------------


Later = Callable[[Action[Nothing]], IntentDraft]


def paid_with(*timers: Later) -> Callable[[Bill, Action[Nothing]], Step[Bill]]:
    def handler(state: Bill, action: Action[Nothing]) -> Step[Bill]:
        mail = Mail(bill=action.key.instance_id, cents=100 * state.amount)
        return Step(state, *(one(action) for one in timers), send("enter", "main", mail))

    return handler


def in_days(days: float) -> Later:
    return lambda action: timer("remind", action.issued_at + timedelta(days=days))


def test_a_timer_set_for_another_time_opens_where_it_fired() -> None:
    found = bill(paid=paid_with(in_days(1.5)))
    assert found.first is not None and found.first[:4] == (2, "charging", "paid", "changed remind (due_us)")
    assert found.opened is not None and found.opened[:2] == (5, "remind")
    assert "is set for" in found.opened.why
    assert found.folded == 4


def test_a_timer_that_is_not_set_opens_where_it_fired() -> None:
    found = bill(paid=paid_with())
    assert found.opened is not None and found.opened[:2] == (5, "remind")
    assert "timer 'remind' is not set" in found.opened.why


def test_a_timer_set_for_the_same_time_by_another_action_is_used() -> None:
    """What counts is the time it was set for, and that it waits: timers are named, and set again they are replaced."""

    row = next(one.row for one in story().log if one.row.kind == "paid")
    due_us = next(item.due_us for item in recorded_intents(row.intents) if item.name == "remind")
    due = EPOCH + timedelta(microseconds=due_us)

    def thanked_later(state: Bill, action: Action[Nothing]) -> Step[Bill]:
        return Step(state, timer("remind", due))

    found = bill(paid=paid_with(), thanked=thanked_later)
    assert found.opened is None and found.folded == 7
    assert found.counts == {"lost": 1, "added": 1}


def test_a_timer_that_only_the_other_code_sets_opens_at_the_first_action_behind_its_time() -> None:
    def hurried(state: Bill, action: Action[Words]) -> Step[Bill]:
        return Step(noted(state, action).state, timer("remind", action.issued_at + timedelta(hours=1)))

    found = bill(note=hurried)
    assert found.first is not None and found.first.version == 4
    assert found.opened is not None and found.opened[:2] == (5, "remind")
    assert "would have fired before it" in found.opened.why


def test_a_timer_that_the_other_code_cancels_opens_where_it_fired() -> None:
    def calmed(state: Bill, action: Action[Words]) -> Step[Bill]:
        return Step(noted(state, action).state, cancel("remind"))

    found = bill(note=calmed)
    assert found.first is not None and found.first.what == "added cancel remind"
    assert found.opened is not None and found.opened.version == 5
