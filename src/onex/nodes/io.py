"""The shape of a function beside a contract, the check of its result, and the large bytes that go in and out.

What a function takes and gives is read from its annotations, once, when the app loads.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeGuard, get_type_hints

from blake3 import blake3
from pydantic import BaseModel

from ..engine.encode import encode_payload
from ..kernel.action import Blob, Nothing
from ..kernel.errors import (
    ContractError,
    EffectFailed,
    InvalidPayload,
    PayloadTooLarge,
    StateConsistencyError,
    ValidationError,
)
from ..kernel.finding import EnumSeverity, Finding
from ..kernel.intent import ModelIntent
from ..kernel.user_code import class_name, describe
from ..ports import NewBlob
from .chunks import chunking_of, chunking_problem

MEDIA_TYPE_CHARACTERS = 200

Function = Callable[..., object]


class FunctionShape(NamedTuple):
    """``[async] name(payload[, io]) -> result``; a function that returns None has the result ``Nothing``."""

    name: str
    payload: type[BaseModel]
    result: type[BaseModel]
    takes_io: bool


def effect_shape(function: Function, io: type) -> FunctionShape:
    """Of ``f(intent: ModelIntent[P][, io]) -> R``. Raises ContractError with one finding at the function's line."""
    first, shape = _read(function, io)
    generic: Mapping[str, object] = getattr(first, "__pydantic_generic_metadata__", {})
    arguments = generic.get("args")
    payload = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if generic.get("origin") is not ModelIntent or not _is_model(payload):
        raise _misfit(
            function,
            f"its first parameter {_annotation_text(first)}",
            "annotate it with the payload class of the intent: ModelIntent[Charge]",
        )
    return shape._replace(payload=payload)


def compute_shape(function: Function, io: type) -> FunctionShape:
    """Of ``f(task: P[, io]) -> R``. Raises ContractError with one finding at the function's line."""
    first, shape = _read(function, io)
    if inspect.iscoroutinefunction(function):
        raise _misfit(function, "it is async", "write def: compute waits for nothing; what must wait is an effect")
    if not _is_model(first):
        raise _misfit(
            function,
            f"its first parameter {_annotation_text(first)}",
            "annotate it with the payload class of the intent: task: Measure",
        )
    shape = shape._replace(payload=first)
    chunking = chunking_of(function)
    if chunking is not None and (problem := chunking_problem(chunking, first, shape.result)) is not None:
        raise _misfit(function, *problem)
    return shape


def _read(function: Function, io: type) -> tuple[object, FunctionShape]:
    """The first parameter's annotation, and the shape but for its payload."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _misfit(function, "it yields", "return one value")
    try:
        hints = get_type_hints(function)
        parameters = list(inspect.signature(function).parameters.values())
    except Exception as error:
        raise _misfit(
            function,
            f"an annotation cannot be read: {describe(error)}",
            "import what annotations name when the module runs, not under TYPE_CHECKING",
        ) from error
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) not in (1, 2) or any(p.kind not in places for p in parameters):
        raise _misfit(
            function,
            f"it takes ({', '.join(map(str, parameters))})",
            f"take one parameter, or two of which the second is io: {io.__name__}",
        )
    if len(parameters) == 2 and hints.get(parameters[1].name) is not io:
        raise _misfit(
            function,
            f"its second parameter {_annotation_text(hints.get(parameters[1].name))}",
            f"annotate it io: {io.__name__}",
        )
    result = hints.get("return", inspect.Parameter.empty)
    if result is type(None):
        result = Nothing
    if not _is_model(result):
        raise _misfit(
            function,
            f"its result {_annotation_text(result)}",
            "annotate it with one payload class, or with None when it returns nothing",
        )
    name = getattr(function, "__qualname__", repr(function))
    return hints.get(parameters[0].name), FunctionShape(name, Nothing, result, len(parameters) == 2)


def _is_model(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _annotation_text(annotation: object) -> str:
    if annotation is None or annotation is inspect.Parameter.empty:
        return "has no annotation"
    return f"is annotated {annotation.__name__ if isinstance(annotation, type) else annotation}"


def place(function: Function) -> tuple[str, int]:
    """File and first line of a function; ``('?', 0)`` for one without source."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code is not None else ("?", 0)


def _misfit(function: Function, wrong: str, fix: str) -> ContractError:
    path, line = place(function)
    name = getattr(function, "__qualname__", repr(function))
    finding = Finding("function_shape", EnumSeverity.ERROR, path, line, 1, f"{name}: {wrong}", fix)
    return ContractError(str(finding), (finding,))


# --- results ----------------------------------------------------------------------------------------------------------


class ResultTooLarge(EffectFailed, PayloadTooLarge):
    """A result over 256 KiB; another try would give the same."""

    code = PayloadTooLarge.code

    def __init__(self, message: str) -> None:
        super().__init__(message, code=self.code)


def check_result(value: object, shape: FunctionShape) -> bytes:
    """The canonical bytes of what a function returned.

    Raises EffectFailed for a value of another class than it is annotated with, ResultTooLarge over 256 KiB encoded. That is
    right for a pure function. An effect has run by then, so its caller must raise EffectUnknown instead.
    """
    if value is None and shape.result is Nothing:
        return b"{}"
    if type(value) is not shape.result:
        wanted = "None" if shape.result is Nothing else shape.result.__name__
        raise EffectFailed(
            f"{shape.name} returned {class_name(type(value))}; it is annotated to return {wanted}", code="wrong_result"
        )
    try:
        return encode_payload(value)
    except PayloadTooLarge as error:
        raise ResultTooLarge(f"{shape.name} returned too much: {error.message}, as io.blob(data) does") from error
    except InvalidPayload as error:
        raise EffectFailed(f"{shape.name} returned what cannot be kept: {error.message}", code=error.code) from error


# --- blobs ------------------------------------------------------------------------------------------------------------


class NewBlobs:
    """The blobs one call makes; equal bytes are one blob."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[str, NewBlob] = {}

    def blob(self, data: bytes, media_type: str = "application/octet-stream") -> Blob:
        """A reference to put into the result. The bytes are stored by the commit that takes the result.

        Raises ValidationError for what is no bytes, and for a media type that is no short printable text.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ValidationError(f"a blob is bytes, not {class_name(type(data))}")
        if type(media_type) is not str or not media_type.isprintable() or len(media_type) > MEDIA_TYPE_CHARACTERS:
            raise ValidationError(
                f"a media type is at most {MEDIA_TYPE_CHARACTERS} printable characters, as text/html is"
            )
        data = bytes(data)  # a copy: the caller may go on changing its own
        digest = blake3(data).digest()
        self._made[digest.hex()] = NewBlob(digest, media_type, data)
        return Blob(digest=digest.hex(), size=len(data), media_type=media_type)

    @property
    def made(self) -> tuple[NewBlob, ...]:
        return tuple(self._made.values())


def check_blob(blob: Blob, data: bytes) -> bytes:
    """``data``, if it is what ``blob`` names. Raises StateConsistencyError."""
    if blake3(data).hexdigest() != blob.digest:
        raise StateConsistencyError(
            f"blob {blob.digest[:16]} holds {len(data):,} bytes whose BLAKE3 is another: the store is damaged; "
            "restore it from a backup"
        )
    return data


def blobs_in(value: object) -> Iterator[Blob]:
    """Every Blob that a payload names, at any depth, in the order of its fields."""
    if isinstance(value, Blob):
        yield value
    elif isinstance(value, BaseModel):
        for part in value.__dict__.values():
            yield from blobs_in(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from blobs_in(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from blobs_in(part)
