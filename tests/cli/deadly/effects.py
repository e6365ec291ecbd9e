from __future__ import annotations

from onex import ModelIntent, effect

from .payloads import Did, Work, deadly


@effect("worker")
def work(intent: ModelIntent[Work]) -> Did:
    deadly("effect", intent.payload.what)
    return Did(what=intent.payload.what)
