"""A bank that takes every charge."""

from __future__ import annotations

from onex import ModelIntent, effect

from .payloads import Charge, PaidReceipt


@effect("bank")
def charge(intent: ModelIntent[Charge]) -> PaidReceipt:
    return PaidReceipt(number=f"{intent.workflow_key}/{intent.payload.month}")
