"""Under which name a far side remembers that an intent was done.

The intent's own id, unless its reducer gave a key. Such a key means something within one intent of one workflow type: an order
number may be the key of its booking and of its counter, and both are to be done.
"""

from __future__ import annotations

from pydantic import BaseModel

from .intent import ModelIntent


def dedup_name(intent: ModelIntent[BaseModel]) -> str:
    """The same at every try."""
    if intent.idempotency_key == str(intent.intent_id):
        return intent.idempotency_key
    workflow = "" if intent.workflow_key is None else intent.workflow_key.workflow_type
    return f"{workflow}/{intent.name}/{intent.idempotency_key}"
