"""What serves a notice where no file of alerts says who is told. ``onex run APP --alerts FILE`` puts the receivers in its place."""

from __future__ import annotations

from typing import Never

from onex import EffectFailed, ModelIntent, effect

from .onex_alert.payloads import Notice


@effect("onex_alert_chat")
def chat(intent: ModelIntent[Notice]) -> None:
    _nobody(intent)


@effect("onex_alert_mail")
def mail(intent: ModelIntent[Notice]) -> None:
    _nobody(intent)


@effect("onex_alert_pagerduty")
def pagerduty(intent: ModelIntent[Notice]) -> None:
    _nobody(intent)


@effect("onex_alert_webhook")
def webhook(intent: ModelIntent[Notice]) -> None:
    _nobody(intent)


def _nobody(intent: ModelIntent[Notice]) -> Never:
    raise EffectFailed(
        f"nobody is told: no file of alerts is here, so the receiver {intent.payload.receiver!r} is not known; "
        "onex run APP --alerts FILE",
        code="no_receiver",
    )
