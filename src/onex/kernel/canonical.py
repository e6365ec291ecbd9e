"""Canonical: the bytes of a value, and the value that those bytes give back.

The rule: the engine goes on with the value that it would read back. A value is used at once, and after a crash it is used
again, from its bytes. If the two differed, the second try of an effect would send another body than the first.
See docs/decisions/0013.

Theory of operation. ``as_reloaded`` is called for each payload, state and intent, so it must be cheap:

1. ``model_facts.classify`` walks the pydantic-core schema of a class, once, and keeps its ``ModelFacts`` at the class.
2. Values of most classes cannot differ from what their bytes give back: the fields are plain, and no code of the user runs
   when they are read. Such a value is only checked for what a type cannot promise: it was validated (``Value`` marks
   the others), no field holds a subclass, whose own fields would be lost, and no field holds a named time zone.
3. Any other value is written, read back and compared (``reloaded``). Where the two differ, it is refused by name.

What may go wrong:

- A check itself raises, because a value was tampered with: it is written and read back too.
- Code of the user runs in step 3 (validators, serializers, ``__eq__``). Whatever it raises becomes InvalidPayload.
- A value holds a list or dict that its maker changes later: ``detached`` gives a value that shares nothing with it.

This is a hot path: add no call or allocation without a measurement.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel
from pydantic import ValidationError as PydanticError

from .errors import InvalidPayload
from .model_facts import UNKNOWN, ModelFacts, classify
from .user_code import caught, plain_text

M = TypeVar("M", bound=BaseModel)
_PROBLEMS_SHOWN = 5


def encode(value: BaseModel, warns: bool = True) -> bytes:
    """Canonical bytes of a validated value. Raises InvalidPayload when its serializer raises.

    ``warns``: pydantic warns of a value that is not of its field's type.
    """
    try:
        serializer = value.__pydantic_serializer__
        return serializer.to_json(value) if warns else serializer.to_json(value, warnings=False)
    except BaseException as error:
        raise unwritable(value, error) from error


def unwritable(value: BaseModel, error: BaseException) -> InvalidPayload:
    """The error for what a serializer raised: pydantic_core has several classes, and user code may raise anything.

    Only for the handler that has just caught it; raises what ``caught`` raises.
    """
    return InvalidPayload(f"{type(value).__name__} cannot be written as JSON: {caught(error)}")


def problems(error: BaseException) -> str:
    """What a validation raised, as text: the first five errors of pydantic field by field, any other exception by itself.

    Only for the handler that has just caught it; raises what ``caught`` raises.
    """
    text = caught(error)
    if type(error) is not PydanticError:
        return text
    try:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        text = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'value'}: {plain_text(one['msg'].removeprefix('Value error, '), 300)}"
            for one in found[:_PROBLEMS_SHOWN]
        )
    except BaseException as raised:  # pydantic asks the error of a user's validator for its message, which may raise
        caught(raised)
        return text
    more = len(found) - _PROBLEMS_SHOWN
    return plain_text(text + (f"; and {more} more" if more > 0 else ""))


def as_reloaded(value: M) -> M:
    """``value``, or the equal value that its bytes give back. Raises InvalidPayload when they differ."""
    model = type(value)
    facts = getattr(model, "__onex_model_facts__", UNKNOWN)
    check = facts.check if facts.model is model else classify(model).check
    if type(value.__pydantic_fields_set__) is set:
        try:
            if check is None or check(value.__dict__):
                return value
        except Exception:  # the value was tampered with: its bytes will show it
            return reloaded(value)
    return reloaded(value)


def detached(value: M) -> M:
    """``as_reloaded``, and sharing nothing that can change: its maker may still hold a list in it and append to that.

    Raises as ``as_reloaded``.
    """
    facts: ModelFacts = getattr(type(value), "__onex_model_facts__", UNKNOWN)
    if (
        facts.check is None
        and facts.immutable
        and facts.model is type(value)
        and type(value.__pydantic_fields_set__) is set
    ):
        return value  # most payloads are of such a class: one check
    its = as_reloaded(value)
    return its if its is not value else detached_copy(value)


def detached_copy(value: M) -> M:
    """An equal value that shares nothing that can be changed in place. ``value`` must come from ``as_reloaded``."""
    model = type(value)
    facts: ModelFacts = getattr(model, "__onex_model_facts__", UNKNOWN)
    if (facts if facts.model is model else classify(model)).immutable:
        return value
    return reloaded(value)


def reloaded(value: M) -> M:
    """The value that the bytes of ``value`` give back. Raises InvalidPayload, naming the field, when it differs."""
    model = type(value)
    data = encode(value, warns=False)
    try:
        again: M = model.__pydantic_validator__.validate_json(data)
    except BaseException as error:
        raise InvalidPayload(
            f"{model.__name__} cannot be read back from what was written: {problems(error)}"
        ) from error
    try:
        same = again == value
    except BaseException as error:
        raise InvalidPayload(f"{model.__name__} cannot be compared with itself: {caught(error)}") from error
    if not same or encode(again) != data:
        raise InvalidPayload(
            f"{model.__name__} would not be read back as it was written{_difference(value, again)}; give the field a "
            "type that JSON keeps, and no validator or serializer that changes it each time"
        )
    return again


def _difference(value: BaseModel, again: BaseModel) -> str:
    for name, one in value.__dict__.items():
        other = again.__dict__.get(name)
        try:
            if type(one) is type(other) and one == other:
                continue
            return f": {name} is {plain_text(repr(one), 80)}, and would be {plain_text(repr(other), 80)}"
        except BaseException as error:
            caught(error)
    return ""
