"""Fields of an intent: each value that a handler gave, checked against its type and range, or refused by name.

A handler may return anything, also objects that lie about their class or raise when they are looked at.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from .action import micros
from .errors import ValidationError
from .user_code import shown


class EnumIntentPriority(StrEnum):
    """The order of delivery, most urgent first. A waiting intent moves up one step every 30 s."""

    rank: int
    """0 is most urgent. An attribute, because a look-up by member would hash the name for each intent."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    BACKGROUND = "background"

    def __init__(self, value: str) -> None:
        self.rank = len(type(self).__members__)


_PRIORITIES = {one.value: one for one in EnumIntentPriority}
KEY_CHARACTERS = 1000
LAST_US = micros(datetime.max.replace(tzinfo=UTC))


class IntentNotDeclared(ValidationError):
    """A handler emitted an intent that its contract does not list under ``intents:``, or one with a wrong payload."""

    code = "intent_not_declared"


class IntentUnfit(ValidationError):
    """A handler gave an intent a priority, time, key or receiver that is not allowed."""

    code = "intent_unfit"


def is_text(value: object) -> bool:
    return isinstance(value, str)


def kind_of(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def shown_with_type(value: object) -> str:
    """``value`` for a message, with its type. Never raises."""
    text = shown(value)
    return f"{text} ({type(value).__name__})" if not isinstance(value, str) else text


def priority_of(name: str, priority: object) -> EnumIntentPriority:
    if isinstance(priority, EnumIntentPriority):
        return priority
    if isinstance(priority, str) and priority in _PRIORITIES:
        return _PRIORITIES[priority]
    raise IntentUnfit(f"intent {name!r} has priority {shown_with_type(priority)}; allowed are {', '.join(_PRIORITIES)}")


def due_us_of(name: str, due: object) -> int:
    if type(due) is datetime and due.tzinfo is UTC:
        return micros(due)  # the common case, action.issued_at + timedelta(...): no offset to subtract
    if not isinstance(due, datetime) or due.utcoffset() is None:
        raise IntentUnfit(
            f"intent {name!r} is due {shown_with_type(due)}; a time is an aware datetime, as action.issued_at + timedelta(...)"
        )
    due_us = micros(due)
    if due_us > LAST_US:
        raise IntentUnfit(f"intent {name!r} is due {shown_with_type(due)}, which in UTC is beyond the year 9999")
    return due_us


def key_of(name: str, key: object) -> str:
    if isinstance(key, UUID) or (isinstance(key, int) and not isinstance(key, bool)):
        return str(key)
    if not isinstance(key, str):
        raise IntentUnfit(
            f"intent {name!r} has the idempotency key {shown_with_type(key)}; a key is text, a UUID or a whole number"
        )
    if not 1 <= len(key) <= KEY_CHARACTERS or not key.isprintable():
        raise IntentUnfit(
            f"intent {name!r} has the idempotency key {shown_with_type(key)}; a key has 1 to {KEY_CHARACTERS} printable characters"
        )
    return str(key)
