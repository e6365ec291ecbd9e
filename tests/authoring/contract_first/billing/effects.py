"""Effects that answer at once; the equality of the forms is one of decisions."""

from __future__ import annotations

from onex import ModelIntent, effect

from .payloads import Charge, Mail, Receipt


@effect("charge")
def charge(intent: ModelIntent[Charge]) -> Receipt:
    return Receipt(number=intent.idempotency_key)


@effect("mail")
def mail(intent: ModelIntent[Mail]) -> None:
    """Nothing is sent."""
