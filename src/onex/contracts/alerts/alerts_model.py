"""A file of alerts as values: receivers, routes, rules and objectives.

    source: shop                       who tells; a part of the key under which PagerDuty knows an incident
    receivers:
      team: {chat: {url: {env: CHAT_URL}}}
      duty: {pagerduty: {routing_key: {env: PAGERDUTY_KEY}}}
      post: {mail: {host: smtp.example, sender: onex@example}, to: ops@example}
    routes: {critical: [duty, team], high: [team]}
    rules:
      error_rate: {metric: error_rate, above: 0.01, window_s: 300, for_s: 60, severity: critical}
    objectives:
      latency: {metric: p95_ms, at_most: 5000, window_s: 3600, target: 0.999}

The blocks of a receiver are those of a contract's ``targets:``. Rules and objectives that the file does not name are the defaults
(``default_alerts``), unless it says ``defaults: false``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from ..model.part import ENGINE, Name, Part, Prose
from ..model.target_notification import (
    Line,
    ModelChatTarget,
    ModelMailTarget,
    ModelPagerDutyTarget,
    ModelWebhookTarget,
)
from .series import Form
from .signals import SIGNALS, Signal

ReceiverTarget: TypeAlias = ModelChatTarget | ModelMailTarget | ModelPagerDutyTarget | ModelWebhookTarget
RECEIVERS_MAX = 50
RULES_MAX = 200
OBJECTIVES_MAX = 50
WINDOW_S = 300
WINDOW_S_MAX = 6 * 3600
OBJECTIVE_S_MIN = 600
OBJECTIVE_S_MAX = 31 * 24 * 3600
SLA = "sla_"
"""Begins the name of the alert of an objective."""

Seconds = Annotated[int, Field(ge=0, le=7 * 24 * 3600)]


class EnumAlertSeverity(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class ModelReceiver(Part):
    """Somebody who is told: one of ``chat``, ``mail``, ``pagerduty`` and ``webhook``; ``to`` is of mail, ``channel`` of a chat."""

    chat: Annotated[ModelChatTarget | None, ENGINE] = None
    mail: Annotated[ModelMailTarget | None, ENGINE] = None
    pagerduty: Annotated[ModelPagerDutyTarget | None, ENGINE] = None
    webhook: Annotated[ModelWebhookTarget | None, ENGINE] = None
    to: Annotated[Line | None, Field(description="addresses, with commas between"), ENGINE] = None
    channel: Annotated[Line | None, ENGINE] = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"it has {len(kinds)} kinds; give one of {', '.join(KINDS)}")
        if (self.to is None) == (kinds == ["mail"]):
            raise ValueError("to: says who gets the mail; give it to a receiver by mail, and to no other")
        if self.channel is not None and kinds != ["chat"]:
            raise ValueError("channel: is of a chat; leave it out")
        return self

    @property
    def kind(self) -> ReceiverKind:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def target(self) -> ReceiverTarget:
        found: ReceiverTarget | None = getattr(self, self.kind)
        assert found is not None, "a receiver has one kind"
        return found


ReceiverKind = Literal["chat", "mail", "pagerduty", "webhook"]
KINDS: tuple[ReceiverKind, ...] = ("chat", "mail", "pagerduty", "webhook")


class ModelWatch(Part):
    """What a rule and an objective have in common. ``where`` narrows the metric to rows with these labels."""

    metric: Annotated[str, Field(max_length=64), ENGINE]
    where: Annotated[dict[Name, Annotated[str, Field(max_length=200)]], Field(max_length=5), ENGINE] = Field(
        default_factory=dict
    )
    severity: Annotated[EnumAlertSeverity, ENGINE] = EnumAlertSeverity.MEDIUM
    receivers: Annotated[
        tuple[Name, ...] | None, Field(max_length=RECEIVERS_MAX, description="instead of the route"), ENGINE
    ] = None
    description: Annotated[Prose, ENGINE] = ""

    @property
    def signal(self) -> Signal:
        """Raises KeyError for a metric that is not known; the checks of a file find that."""
        return SIGNALS[self.metric]

    @property
    def form(self) -> Form:
        return self.signal.form.narrowed(self.where)


class ModelRule(ModelWatch):
    """Fires when the value was beyond its bound for ``for_s``; ends when it was within it for ``settle_s``."""

    above: Annotated[float | None, ENGINE] = None
    below: Annotated[float | None, ENGINE] = None
    window_s: Annotated[
        Annotated[int, Field(ge=1, le=WINDOW_S_MAX)] | None, Field(description="of a metric that grows"), ENGINE
    ] = None
    for_s: Annotated[Seconds, ENGINE] = 60
    settle_s: Annotated[Seconds, Field(description="twice as long after each relapse"), ENGINE] = 120

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("it has no bound or two; give above: or below:")
        return self

    @property
    def span_s(self) -> int:
        """The window, 0 for a metric that has none."""
        return (self.window_s or WINDOW_S) if self.form.windowed else 0

    @property
    def bound(self) -> str:
        return f"above {self.above:.12g}" if self.above is not None else f"below {self.below:.12g}"

    def is_beyond(self, value: float) -> bool:
        if self.above is not None:
            return value > self.above
        assert self.below is not None, "a rule has one bound"
        return value < self.below


class ModelObjective(ModelWatch):
    """In ``target`` of the minutes of the window the value is within its bound. Its alert is the rule ``sla_NAME``."""

    at_most: Annotated[float | None, ENGINE] = None
    at_least: Annotated[float | None, ENGINE] = None
    window_s: Annotated[int, Field(ge=OBJECTIVE_S_MIN, le=OBJECTIVE_S_MAX), ENGINE]
    target: Annotated[float, Field(ge=0.5, le=1, description="a part of the minutes: 0.999"), ENGINE]
    severity: Annotated[EnumAlertSeverity, ENGINE] = EnumAlertSeverity.HIGH

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("it has no bound or two; give at_most: or at_least:")
        return self

    @property
    def bound(self) -> str:
        return f"at most {self.at_most:.12g}" if self.at_most is not None else f"at least {self.at_least:.12g}"

    def is_met_by(self, value: float) -> bool:
        if self.at_most is not None:
            return value <= self.at_most
        assert self.at_least is not None, "an objective has one bound"
        return value >= self.at_least


class ModelAlerts(Part):
    """The whole file. ``interval_s``: how often the figures are read."""

    source: Annotated[Name, ENGINE] = "onex"
    interval_s: Annotated[int, Field(ge=1, le=300), ENGINE] = 15
    defaults: Annotated[bool, ENGINE] = True
    receivers: Annotated[dict[Name, ModelReceiver], Field(max_length=RECEIVERS_MAX), ENGINE] = Field(
        default_factory=dict
    )
    routes: Annotated[dict[EnumAlertSeverity, tuple[Name, ...]] | None, ENGINE] = None
    rules: Annotated[dict[Name, ModelRule], Field(max_length=RULES_MAX), ENGINE] = Field(default_factory=dict)
    objectives: Annotated[dict[Name, ModelObjective], Field(max_length=OBJECTIVES_MAX), ENGINE] = Field(
        default_factory=dict
    )

    def told(self, watch: ModelWatch) -> tuple[str, ...]:
        """Names of the receivers: those of the rule, else of its severity's route; all of them where there are no routes."""
        if watch.receivers is not None:
            return watch.receivers
        return tuple(self.receivers) if self.routes is None else self.routes.get(watch.severity, ())

    @property
    def names(self) -> frozenset[str]:
        """The rows of ``/metrics`` that are needed."""
        watched: list[ModelWatch] = [*self.rules.values(), *self.objectives.values()]
        return frozenset(name for one in watched for name in one.form.names)

    def with_defaults(self, rules: Mapping[str, ModelRule], objectives: Mapping[str, ModelObjective]) -> Self:
        """Its own come last and win."""
        if not self.defaults:
            return self
        both = {"rules": {**rules, **self.rules}, "objectives": {**objectives, **self.objectives}}
        return self.model_copy(update=both)
