"""The outside world of this example: a folder of letters and one of payments, with one file for each key. Twice changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

from onex import ModelIntent, Payload, effect

from .payloads import Letter, Payment


@effect("letters")
def send(intent: ModelIntent[Letter]) -> None:
    _keep("letters", intent.idempotency_key, intent.payload)


@effect("bank")
def pay(intent: ModelIntent[Payment]) -> None:
    _keep("payments", intent.idempotency_key, intent.payload)


def _keep(kind: str, key: str, payload: Payload) -> None:
    folder = Path(os.environ.get("ONEX_APPROVAL_DIR", "out/approval"), kind)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{key}.json").write_text(payload.model_dump_json())
