"""Arguments: what a caller hands in, each checked against its type and range. Whatever it is, there is a named error for it.

The law: a type hint stops nothing at run time, and what passes here stands in a log for ever. Nothing is converted but what is
one thing in two classes (a member of a ``StrEnum`` is its text): a UUID is a ``uuid.UUID``, an integer an ``int``, a time an
aware ``datetime``. On a wire all of these are text, and ``ModelAction`` reads them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from pydantic import JsonValue

from ..kernel.action import WorkflowKey, micros
from ..kernel.errors import InvalidKey, InvalidPayload, OnexError, PayloadTooLarge, ValidationError
from ..kernel.size_limits import PAYLOAD_BYTES, PAYLOAD_DEPTH
from ..kernel.user_code import a_type, caught, plain_text
from ..ports import Pointer, Position
from .encode import INT_MAX

T = TypeVar("T")

ISSUER_CHARACTERS = 1000
OPERATOR = "operator:"
OPERATOR_CHARACTERS = 200
KIND_CHARACTERS = 200
_SURROGATE = re.compile("[\ud800-\udfff]")
INTEGER_MAX = 2**63 - 1  # what a store's integers hold
_LAST_US = micros(datetime.max.replace(tzinfo=UTC))


class Arguments:
    """Reads arguments one after the other. ``refusal`` is the first that could not be taken."""

    __slots__ = ("refusal",)

    def __init__(self) -> None:
        self.refusal: OnexError | None = None

    def read(self, check: Callable[[str, object], T], name: str, value: object) -> T | None:
        """What ``check`` makes of it, or None. An argument may be an object of anybody's class, which may raise anything."""
        try:
            return check(name, value)
        except OnexError as error:
            refusal = error
        except BaseException as error:
            refusal = ValidationError(f"{name} cannot be read: {caught(error)}")
        self.refusal = self.refusal or refusal
        return None


def checked(check: Callable[[str, object], T], name: str, value: object) -> T:
    """The same for one alone. Raises ValidationError, InvalidKey."""
    try:
        return check(name, value)
    except OnexError:
        raise
    except BaseException as error:
        raise ValidationError(f"{name} cannot be read: {caught(error)}") from error


def workflow_key(name: str, value: object) -> WorkflowKey:
    """Raises InvalidKey for what is no ``type:id`` text, no WorkflowKey and no tuple of both."""
    if isinstance(value, str):
        return WorkflowKey.parse(value)
    if isinstance(value, tuple) and len(value) == 2:
        return WorkflowKey.of(*value)
    raise InvalidKey(f"{name} is {_a_type(value)}; give TYPE:INSTANCE as text, or a WorkflowKey")


def uuid_bytes(name: str, value: object) -> bytes:
    if isinstance(value, UUID):
        data = value.bytes
        if type(data) is bytes and len(data) == 16:
            return data
    raise ValidationError(f"{name} is {_a_type(value)}; give a uuid.UUID")


def count(name: str, value: object) -> int:
    if type(value) is not int:
        raise ValidationError(f"{name} is {_a_type(value)}; give an int")
    if not 0 <= value <= INTEGER_MAX:
        raise ValidationError(f"{name} is {_short(value)}; give an int from 0 to 2^63-1")
    return value


def moment_us(name: str, value: object) -> int:
    """Microseconds since 1970."""
    if not isinstance(value, datetime):
        raise ValidationError(f"{name} is {_a_type(value)}; give an aware datetime")
    if value.utcoffset() is None:
        raise ValidationError(f"{name} has no time zone; times are aware UTC, for example datetime.now(UTC)")
    moment = micros(value)
    if type(moment) is not int or not 0 <= moment <= _LAST_US:
        raise ValidationError(f"{name} lies outside the years 1970 to 9999 UTC")
    return moment


def seconds(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValidationError(f"{name} is {_a_type(value)}; give seconds as a number, math.inf for no end")
    try:
        number = float(value)
    except OverflowError:
        number = math.nan
    if not number >= 0:
        raise ValidationError(f"{name} is {_short(value)}; give seconds from 0 on, math.inf for no end")
    return number


def text(name: str, value: object) -> str:
    """Of a ``str``, or of a subclass of it: a member of a ``StrEnum`` is its text."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise ValidationError(f"{name} is {_a_type(value)}; give text")


def trigger(name: str, value: object) -> str:
    kind = text(name, value)
    if not kind.isprintable() or len(kind) > KIND_CHARACTERS:
        raise ValidationError(
            f"{name} {kind[:40]!a} is none: it holds what cannot be printed, or more than {KIND_CHARACTERS} characters"
        )
    return kind


def operator_name(name: str, value: object) -> str:
    operator = text(name, value)
    if not operator.strip() or not operator.isprintable() or len(operator) > OPERATOR_CHARACTERS:
        raise ValidationError(
            f"{name} {operator[:40]!a} names nobody: give 1 to {OPERATOR_CHARACTERS} printable characters"
        )
    return operator


def client_issuer(name: str, value: object) -> str:
    issuer = issuer_text(name, value)
    if issuer.startswith(OPERATOR):
        raise ValidationError(
            f"{name} {issuer[:40]!a} would pass for an operator's: submit with operator=NAME, or onex submit --as-operator"
        )
    return issuer


def issuer_text(name: str, value: object) -> str:
    issuer = text(name, value)
    if plain_text(issuer, ISSUER_CHARACTERS) != issuer:
        raise InvalidPayload(
            f"{name} {issuer[:40]!a} cannot stand in a log: it holds a NUL or a lone surrogate, or more than "
            f"{ISSUER_CHARACTERS} characters"
        )
    return issuer


def outbox_pointer(name: str, value: object) -> Pointer:
    if isinstance(value, tuple) and len(value) == 3:
        shard, n, ordinal = value
        return Pointer(count(name, shard), count(name, n), count(name, ordinal))
    raise ValidationError(f"{name} is {_a_type(value)}; give a Pointer(shard, n, ordinal)")


def log_position(name: str, value: object) -> Position:
    if isinstance(value, tuple) and len(value) == 2:
        return Position(*(count(name, part) for part in value))
    raise ValidationError(f"{name} is {_a_type(value)}; give a Position(shard, n)")


def plain(name: str, value: object) -> Mapping[str, JsonValue]:
    """A payload given as a mapping, as plain JSON values: what its classes do when they are read is over then.

    Raises InvalidPayload: a key that is no text, what JSON does not know, deeper than 32 (one that holds itself is), and
    what ``check_json`` refuses: its JSON need not be checked again.
    Raises PayloadTooLarge for more values than 256 KiB of JSON can hold.
    """
    mapping = _plain(value, 1, [PAYLOAD_BYTES])
    if not isinstance(mapping, dict):
        raise InvalidPayload(f"{name} is {_a_type(value)}; give a mapping")
    return mapping


def _plain(value: object, depth: int, left: list[int]) -> JsonValue:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value if type(value) is str else str.__str__(value))
    if isinstance(value, int):
        number = value if type(value) is int else int.__index__(value)
        if abs(number) > INT_MAX:
            raise InvalidPayload(f"integer {_short(number)} is beyond +-2^53; send it as text")
        return number
    if isinstance(value, float):
        real = value if type(value) is float else float.__float__(value)
        if not math.isfinite(real):
            raise InvalidPayload(f"payload cannot be written as JSON: {real} is not finite")
        return real
    if not isinstance(value, Mapping | list | tuple):
        raise InvalidPayload(f"payload cannot be written as JSON: it holds {_a_type(value)}")
    if depth > PAYLOAD_DEPTH:
        raise InvalidPayload(f"payload is nested deeper than {PAYLOAD_DEPTH}")
    if not isinstance(value, Mapping):
        listed: list[JsonValue] = []
        for item in value:
            _one_less(left)
            listed.append(_plain(item, depth + 1, left))
        return listed
    items: dict[str, JsonValue] = {}
    for key, item in value.items():
        _one_less(left)
        if not isinstance(key, str):
            raise InvalidPayload(f"payload has the key {_short(key)}, {_a_type(key)}; keys of JSON are text")
        name = _text(str.__str__(key))
        if name in items:
            raise InvalidPayload(f"key {name[:80]!a} stands twice in one object")
        items[name] = _plain(item, depth + 1, left)
    return items


def _text(value: str) -> str:
    if "\x00" in value or not (value.isascii() or _SURROGATE.search(value) is None):
        raise InvalidPayload("text holds NUL or a lone surrogate")
    return value


def _one_less(left: list[int]) -> None:
    left[0] -= 2  # the shortest value and its comma
    if left[0] < 0:
        raise PayloadTooLarge(f"payload holds more values than {PAYLOAD_BYTES} bytes can. Large data belongs in a Blob")


def _a_type(value: object) -> str:
    return f"a class ({plain_text(value.__name__, 80)})" if isinstance(value, type) else a_type(value)


def _short(value: object) -> str:
    """A number or a key, as an error shows it. Of a long integer only its length: Python would not write its digits."""
    if type(value) is int and value.bit_length() > 128:
        return f"an int of {value.bit_length()} bits"
    if isinstance(value, int | float | None | bytes | tuple):
        return repr(value)[:40]
    return "of its own kind"
