"""Each call that leaves the process is told once, with what came of it, and nothing is paid when nobody listens."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from onex.adapters.clock import SystemClock
from onex.engine.external_call import CallAudit
from onex.engine.metrics import Events
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import EffectFailed
from onex.kernel.intent import ModelIntent
from tests.engine.jobs import Do

Told = dict[str, str | int | float | bool | UUID | None]


class Listener:
    def __init__(self, *, details: bool) -> None:
        self.details, self.told = details, list[tuple[str, Told]]()

    def emit(self, name: str, **fields: str | int | float | bool | UUID | None) -> None:
        self.told.append((name, fields))


def asked() -> ModelIntent[BaseModel]:
    return ModelIntent[BaseModel](
        intent_id=uuid4(),
        intent_type="api_call",
        target="bank",
        payload=Do(text="pin 1234"),
        correlation_id=uuid4(),
        idempotency_key="k",
        name="charge",
        workflow_key=WorkflowKey("job", "1"),
        attempt=2,
    )


def test_a_call_is_told_with_its_place_its_time_and_its_result() -> None:
    listener, intent = Listener(details=True), asked()
    audit = CallAudit(Events(listener), SystemClock())
    with audit.call(intent, "POST bank.example/charges/{order}") as call:
        call.result = "201"
    with pytest.raises(EffectFailed), audit.call(intent, "POST bank.example/charges/{order}"):
        raise EffectFailed("no", code="declined")
    with pytest.raises(OSError, match="line"), audit.call(intent, "POST bank.example/charges/{order}"):
        raise OSError("the line dropped")
    assert [(name, fields["result"]) for name, fields in listener.told] == [
        ("external_call", "201"),
        ("external_call", "declined"),
        ("external_call", "OSError"),
    ]
    first = listener.told[0][1]
    took = first.pop("ms")
    assert isinstance(took, float)
    assert took >= 0
    assert first == {
        "target": "bank",
        "kind": "api_call",
        "what": "POST bank.example/charges/{order}",
        "result": "201",
        "attempt": 2,
        "key": "job:1",
        "intent": "charge",
        "correlation": intent.correlation_id,
    }


def test_nobody_is_told_who_does_not_ask_for_details() -> None:
    listener = Listener(details=False)
    with CallAudit(Events(listener), SystemClock()).call(asked(), "GET bank.example/"):
        pass
    assert listener.told == []
