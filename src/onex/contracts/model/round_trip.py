"""Fields whose values may be read back as something else than was written. Reported when an app loads.

These are warnings. Each value is tested when it is made (``kernel.canonical``), and one that is not read back equal is refused
there. Here the line of the field is reported before such a value exists. Only a random default of the state is an error: a
replay could not begin where the instance began.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.functional_serializers import PlainSerializer, WrapSerializer

from .payload_fields import FieldProblem, nested_models, unwrap

_IMPURE = frozenset(
    {
        "uuid1", "uuid4", "uuid6", "uuid7", "now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "random",
        "randint", "randrange", "choice", "token_hex", "token_urlsafe", "token_bytes", "urandom", "getrandbits",
    }
)  # fmt: skip


def round_trip_warnings(model: type[BaseModel]) -> Iterator[FieldProblem]:
    """Of ``model`` and the models inside it, each once."""
    for current in nested_models(model):
        yield from _serializers(current)
        for name, field in current.model_fields.items():
            for message, fix in _of_type(f"{current.__name__}.{name}", field.annotation):
                yield FieldProblem(current, name, message, fix)


def random_defaults(model: type[BaseModel]) -> Iterator[FieldProblem]:
    """Fields of ``model`` and the models inside it whose default differs each time: an id or the time of day."""
    fix = "begin with None or '', and set it in a handler: action.mint(name) for an id, action.issued_at for a time"
    for current in nested_models(model):
        for name, field in current.model_fields.items():
            if _is_random(field):
                message = f"{current.__name__}.{name} begins as something else each time: a replay cannot begin where it began"
                yield FieldProblem(current, name, message, fix)


def _is_random(field: FieldInfo) -> bool:
    make: Any = field.default_factory
    if make is None:
        return False
    code = getattr(make, "__code__", None)
    names = set(code.co_names) if code is not None else {getattr(make, "__name__", "")}
    if names & _IMPURE:
        return True
    try:
        first, second = make(), make()
        return bool(first != second)
    except Exception:  # it takes the validated data, or it fails, which another check reports
        return False


def _serializers(model: type[BaseModel]) -> Iterator[FieldProblem]:
    fix = "keep the value as it is, and shorten or format it where it is shown"
    written = "is written by a serializer of its own: what is read back may be something else"
    decorators = model.__pydantic_decorators__
    for name in decorators.model_serializers:
        yield FieldProblem(model, name, f"{model.__name__} {written}", fix)
    named = {field for one in decorators.field_serializers.values() for field in one.info.fields}
    for field, info in model.model_fields.items():
        own = any(isinstance(one, PlainSerializer | WrapSerializer) for one in info.metadata)
        if own or field in named or "*" in named:
            yield FieldProblem(model, field, f"{model.__name__}.{field} {written}", fix)


def _of_type(where: str, annotation: object) -> Iterator[tuple[str, str]]:
    members = unwrap(annotation)
    classes = [
        one for one in members if isinstance(one, type) and get_origin(one) is None and issubclass(one, BaseModel)
    ]
    for at, first in enumerate(classes):
        for second in classes[at + 1 :]:
            if _could_be(first, second) or _could_be(second, first):
                yield (
                    f"{where} is {first.__name__} | {second.__name__}, which may look the same when they are read again",
                    "give each a field that tells them apart: kind: Literal['...'] = '...'",
                )
    if classes and any(get_origin(one) is dict for one in members):
        yield (
            f"{where} is a dict or {classes[0].__name__}, which may look the same when they are read again",
            "choose one of them",
        )
    for model in classes:
        lost = sorted({name for one in model.__subclasses__() for name in one.model_fields} - set(model.model_fields))
        if lost and not any(one in model.__subclasses__() for one in classes):
            yield (
                f"{where} is a {model.__name__}; one of its subclasses put there would be written without {', '.join(lost)}",
                f"say which classes it may be, or keep {model.__name__} without subclasses",
            )
    for member in members:
        if get_origin(member) is not Literal:
            for part in get_args(member):
                yield from _of_type(where, part)


def _could_be(model: type[BaseModel], other: type[BaseModel]) -> bool:
    """Whether what a value of ``model`` is written as could be read as ``other``."""
    names = set(model.model_fields)
    if not names <= set(other.model_fields):
        return False
    if any(info.is_required() and name not in names for name, info in other.model_fields.items()):
        return False
    return all(_meet(info.annotation, other.model_fields[name].annotation) for name, info in model.model_fields.items())


def _meet(one: object, other: object) -> bool:
    """Whether a value of the one type may be of the other: only words that differ are sure not to be."""
    words, others = _words(one), _words(other)
    return words is None or others is None or bool(words & others)


def _words(annotation: object) -> set[object] | None:
    members = unwrap(annotation)
    if all(get_origin(member) is Literal for member in members):
        return {value for member in members for value in get_args(member)}
    return None
