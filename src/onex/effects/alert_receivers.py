"""AlertReceivers: tells the receivers of a file of alerts, by the executors of the built-in notification targets.

One executor for each kind of receiver serves ``onex_alert_KIND`` of the workflow ``onex_alert``. The payload names the receiver,
and the file says how it is reached. So the contract of that workflow is the same whatever the file says. A receiver that was
taken out of the file is a named failure of its notices, not a row that nobody can read.

At PagerDuty the incident is the ``dedup_key``: *firing* triggers it, *acknowledged* and *resolved* find it again. A webhook gets
the intent's idempotency key in its header.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel

from ..contracts.alerts.alerts_model import KINDS, ModelAlerts, ModelReceiver, ReceiverKind
from ..contracts.model.target import ModelIntentCall, ModelTarget
from ..contracts.model.target_block import ModelCallBlock
from ..contracts.model.target_notification import ModelChatCall, ModelMailCall, ModelPagerDutyCall, ModelWebhookCall
from ..kernel.errors import EffectFailed
from ..kernel.intent import EnumIntentType, ModelIntent
from ..ports import Executor, Result
from .build import built_executor
from .context import EffectContext

TARGET: Final = "onex_alert_"
ACTIONS: Final[Mapping[str, Literal["trigger", "acknowledge", "resolve"]]] = {
    "firing": "trigger",
    "acknowledged": "acknowledge",
    "resolved": "resolve",
}
PAGED: Final[Mapping[str, Literal["critical", "error", "warning", "info"]]] = {
    "critical": "critical",
    "high": "error",
    "medium": "warning",
    "low": "info",
}
"""``PAGED[severity of an alert] -> severity at PagerDuty``."""


def alert_executors(alerts: ModelAlerts, context: EffectContext) -> dict[str, Executor]:
    """By target. Raises DependencyResolutionError where the library of a receiver is not installed."""
    return {TARGET + kind: AlertReceivers(kind, alerts, context) for kind in KINDS}


class AlertReceivers:
    """Those of one kind."""

    def __init__(self, kind: ReceiverKind, alerts: ModelAlerts, context: EffectContext) -> None:
        self._kind, self._context = kind, context
        self._receivers = {name: one for name, one in alerts.receivers.items() if one.kind == kind}
        self._executors: dict[tuple[str, str, str], Executor] = {}
        for name in self._receivers:
            self._executor(name, "firing", "low")  # a library that is missing is told now, not at the first alert

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        fields = intent.serialize_payload()
        name = str(fields["receiver"])
        if name not in self._receivers:
            raise EffectFailed(
                f"the file of alerts has no receiver {name!r} by {self._kind}; add it there again, or let the alert end",
                code="no_receiver",
            )
        return await self._executor(name, str(fields["event"]), str(fields["severity"])).execute(intent)

    def _executor(self, name: str, event: str, severity: str) -> Executor:
        found = self._executors.get((name, event, severity))
        if found is None:
            receiver = self._receivers[name]
            target = ModelTarget.model_validate({self._kind: receiver.target})
            call = ModelIntentCall(
                name=self._kind, type=EnumIntentType.NOTIFICATION, target=TARGET + self._kind
            ).model_copy(update={self._kind: _call(self._kind, receiver, event, severity)})
            found = built_executor(name, target, {self._kind: call}, lambda intent: None, self._context)
            self._executors[name, event, severity] = found
        return found


def _call(kind: ReceiverKind, receiver: ModelReceiver, event: str, severity: str) -> ModelCallBlock:
    """What one notice asks of the far side. ``{text}``, ``{summary}`` and ``{incident}`` are fields of it."""
    if kind == "chat":
        return ModelChatCall(channel=None if receiver.channel is None else _plain(receiver.channel))
    if kind == "mail":
        return ModelMailCall(to=_plain(receiver.to or ""), subject="{summary}")
    if kind == "webhook":
        return ModelWebhookCall()
    return ModelPagerDutyCall(action=ACTIONS[event], severity=PAGED[severity], source="{source}", incident="{incident}")


def _plain(text: str) -> str:
    """As a text without fields."""
    return text.replace("{", "{{").replace("}", "}}")
