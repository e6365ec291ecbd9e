"""What is measured of a rule, what a person says to it, and what receivers are told."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, field_validator

from onex import Payload, State

Kind = Literal["chat", "mail", "pagerduty", "webhook"]
Severity = Literal["critical", "high", "medium", "low"]
Event = Literal["firing", "acknowledged", "resolved"]
Seconds = Annotated[int, Field(ge=0, le=31 * 24 * 3600)]


EVERYBODY: Final = "*"


class Receiver(Payload):
    name: str
    kind: Kind


class AlertRule(Payload):
    """The rule as it was when the value was judged. ``bound`` is in words: above 0.01."""

    source: str
    metric: str
    bound: str
    unit: str = ""
    about: str = ""
    severity: Severity
    for_s: Seconds
    settle_s: Seconds
    receivers: tuple[Receiver, ...] = ()

    @field_validator("receivers")
    @classmethod
    def _named_once(cls, receivers: tuple[Receiver, ...]) -> tuple[Receiver, ...]:
        if len({one.name for one in receivers}) != len(receivers):
            raise ValueError("two receivers have one name: what each was told is kept by its name")
        return receivers


class Breached(Payload):
    """The value is beyond its bound. Told when it becomes so, and now and then while it stays so. ``teller``: who read it."""

    value: float
    rule: AlertRule
    teller: str = ""


class Recovered(Payload):
    """It is within its bound, as ``teller`` reads it; EVERYBODY says so for all. ``value`` is None where nothing is measured."""

    value: float | None = None
    teller: str = ""
    reason: str = ""


class Acknowledge(Payload):
    """A person takes it up. Nobody is told of it again before it is over."""

    by: Annotated[str, Field(max_length=200)] = ""
    note: Annotated[str, Field(max_length=1000)] = ""


class Silence(Payload):
    """Nobody is told anything for so long; 0 ends a silence."""

    for_s: Seconds
    by: Annotated[str, Field(max_length=200)] = ""
    note: Annotated[str, Field(max_length=1000)] = ""


class Notice(Payload):
    """What one receiver is told. ``incident`` is the key under which the far side knows it: the same from firing to resolved."""

    receiver: str
    event: Event
    severity: Severity
    alert: str
    source: str
    incident: str
    summary: str
    text: str
    value: float | None
    since: AwareDatetime


class Desk(Payload):
    """One receiver, and what it knows. ``knows``: the last event it was told, of which incident (``of``).

    ``sending`` is the intent that is under way, and ``says`` what it tells; ``tries`` counts those that failed in a row. It is
    tried again at ``not_before``. ``doubts`` counts notices of which nobody knows whether they went out.
    """

    kind: Kind
    knows: Event | None = None
    of: int = 0
    sending: UUID | None = None
    says: Event | None = None
    says_of: int = 0
    tries: int = 0
    not_before: AwareDatetime | None = None
    doubts: int = 0
    error: str = ""


class Alert(State):
    """``incident`` counts how often it fired. ``relapses``: how often it came back while it settled, in this incident.

    ``breached_by[teller]``: when each said last that the value is beyond its bound; ``tellers`` counts them, for the machine.
    """

    status: Literal["quiet", "pending", "firing", "settling", "resolved"] = "quiet"
    rule: AlertRule | None = None
    value: float | None = None
    breached_by: dict[str, AwareDatetime] = Field(default_factory=dict)
    tellers: int = 0
    since: AwareDatetime | None = None
    fired_at: AwareDatetime | None = None
    resolved_at: AwareDatetime | None = None
    incident: int = 0
    relapses: int = 0
    reason: str = ""
    acknowledged_by: str | None = None
    acknowledged_at: AwareDatetime | None = None
    note: str = ""
    silenced_until: AwareDatetime | None = None
    silenced_by: str = ""
    desks: dict[str, Desk] = Field(default_factory=dict)
