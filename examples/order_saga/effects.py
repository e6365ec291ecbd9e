"""The outside world of this example: a folder for each thing that can be done, with one file per order. Twice changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

from onex import EffectFailed, ModelIntent, effect

from .payloads import Charge, Done, Order, Shipment, Undo


@effect("reserve")
def reserve(intent: ModelIntent[Order]) -> Done:
    return _keep("reservations", intent.payload.id, intent.idempotency_key)


@effect("release")
def release(intent: ModelIntent[Undo]) -> None:
    (_folder("reservations") / intent.payload.order).unlink(missing_ok=True)


@effect("pay")
def pay(intent: ModelIntent[Charge]) -> Done:
    return _keep("payments", intent.payload.order, intent.idempotency_key)


@effect("refund")
def refund(intent: ModelIntent[Undo]) -> None:
    (_folder("payments") / intent.payload.order).unlink(missing_ok=True)


@effect("ship")
def ship(intent: ModelIntent[Shipment]) -> Done:
    if intent.payload.order.startswith("far"):
        raise EffectFailed("nobody ships there", code="too_far")
    return _keep("parcels", intent.payload.order, intent.idempotency_key)


def _folder(kind: str) -> Path:
    folder = Path(os.environ.get("ONEX_SAGA_DIR", "out/order_saga")) / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _keep(kind: str, order: str, key: str) -> Done:
    with (_folder(kind) / order).open("a") as file:
        file.write(f"{key}\n")
    return Done(number=f"{kind}-{order}")
