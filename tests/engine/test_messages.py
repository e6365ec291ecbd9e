"""Messages between instances, sent again by code that came in between."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.intent import EnumIntentType, EnumOutcome, IntentSpec, intent_id, outcome_id, sent_id
from tests.engine.bills import INTENTS, Mail, record, shop

BILL = WorkflowKey("bill", "1")
OPEN = UUID("01890000-0000-4000-8000-000000000001")
HEARD = {EnumOutcome.SUCCEEDED: "thanked", EnumOutcome.FAILED: "close", EnumOutcome.UNKNOWN: "close"}
TOLD: Mapping[str, IntentSpec] = {
    **INTENTS,
    "enter": IntentSpec("enter", EnumIntentType.ACTION_SEND, "ledger", Mail, HEARD, trigger="enter"),
}


def _arrives(issuer: str, cause: UUID | None = None) -> list[str]:
    """The triggers of a bill whose message arrived before with another body, as before a crash and a release."""

    async def script(engine: ReducerPatternEngine) -> None:
        paid = outcome_id(intent_id(OPEN, BILL, "charge", 0))
        sent = sent_id(intent_id(paid, BILL, "enter", 0))
        mail = Mail(bill="2", cents=1)
        await engine.submit("ledger:main", "enter", mail, action_id=sent, issuer=issuer, cause=cause or paid)
        await engine.submit(BILL, "open", {"amount": 7}, action_id=OPEN)
        await engine.idle()

    tables = record(script, shop(intents=TOLD))
    return [entry.row.kind for entry in tables.log if entry.key == BILL]


def test_a_message_sent_again_with_what_a_release_made_of_it_has_arrived_once() -> None:
    assert _arrives(str(BILL)) == ["open", "paid", "thanked"]


def test_another_action_under_a_message_s_id_is_not_the_message() -> None:
    assert _arrives("somebody") == ["open", "paid", "close"]
    assert _arrives(str(BILL), OPEN) == ["open", "paid", "close"]
