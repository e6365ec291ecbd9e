"""The outside world of this example: a bank and a warehouse that keep one JSON file per thing they did.

Each file is named by the intent's idempotency key and written whole or not at all, so doing it twice changes nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import quote

from onex import EffectFailed, ModelIntent, effect

from .payloads import Charge, Charged, Pack, Packed

CREDIT_CENTS = 1_000_000


@effect("bank")
def charge(intent: ModelIntent[Charge]) -> Charged:
    if intent.payload.cents > CREDIT_CENTS:
        raise EffectFailed(f"{intent.payload.cents} cents are beyond the credit of {CREDIT_CENTS}", code="declined")
    return Charged(receipt=_keep("receipts", intent))


@effect("warehouse")
def pack(intent: ModelIntent[Pack]) -> Packed:
    return Packed(parcel=_keep("parcels", intent))


def _keep(kind: str, intent: ModelIntent[Charge] | ModelIntent[Pack]) -> str:
    """The file's name. A second call with the same key finds the file and leaves it."""
    folder = Path(os.environ.get("ONEX_ORDERS_DIR", "out/orders")) / kind
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{quote(intent.idempotency_key, safe='')}.json"
    if not path.exists():
        content = {"for": str(intent.workflow_key), "correlation": str(intent.correlation_id)}
        with NamedTemporaryFile("w", dir=folder, prefix=".", delete=False) as file:
            json.dump(content | intent.serialize_payload(), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)  # appears whole under its name, also when the power fails in between
    return path.name
