"""Chunks: a long list in parts, so that several worker processes compute one task, and one death costs one part.

    @compute("score")
    @chunked("rows", size=500)
    def score(task: Rows) -> Scores: ...

Theory of operation. ``split`` gives tasks of the same class, each with a part of the field that ``chunked`` names: a list in
groups of ``size`` items, or a Blob in groups of ``size`` lines. Each part is a task of its own in a worker. Then the results
are joined, in the order of the parts: by ``merge`` where the function has one, else each list of the results is concatenated.

The law that makes the size a matter of speed only: ``f(a + b) == merge([f(a), f(b)])``. Nobody can check that for you; a
property test can, with ``split`` and ``join``. An empty list is one part, so that a function always says what nothing gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Never, TypeVar, get_origin

from blake3 import blake3
from pydantic import BaseModel

from ..kernel.action import Blob, Nothing
from ..kernel.errors import ContractError

CHUNKS = "__onex_chunks__"
"""The attribute under which a function carries how its task is cut."""
CACHED = "__onex_cached__"
"""The attribute of a function whose results are kept by what went in."""

F = TypeVar("F", bound=Callable[..., BaseModel | None])


class Chunking(NamedTuple):
    """``over``: a field of the task. ``size``: items, or lines of a Blob. ``merge``: results of the parts, in order -> one."""

    over: str
    size: int
    merge: Callable[[Sequence[Never]], BaseModel] | None = None


class Chunk(NamedTuple):
    """One part of a task. ``blobs[digest]`` are the bytes that were cut for it."""

    task: BaseModel
    blobs: Mapping[bytes, bytes]


def chunked(
    over: str, *, size: int = 1000, merge: Callable[[Sequence[Never]], BaseModel] | None = None
) -> Callable[[F], F]:
    """Cut the task of a compute function: ``size`` items of its field ``over``, or lines of a Blob, are one call.

    Without ``merge`` the lists of the results are concatenated. Raises ContractError for a size below 1.
    """
    if type(size) is not int or size < 1:
        raise ContractError(f"@chunked({over!r}, size={size!r}): a part has at least one item; give an int from 1 on")

    def mark(function: F) -> F:
        setattr(function, CHUNKS, Chunking(over, size, merge))
        return function

    return mark


def cached(function: F) -> F:
    """Keep the results of a compute function by what went in: the same task is not computed twice, as long as it is kept."""
    setattr(function, CACHED, True)
    return function


def chunking_of(function: object) -> Chunking | None:
    found = getattr(function, CHUNKS, None)
    return found if isinstance(found, Chunking) else None


def is_cached(function: object) -> bool:
    return getattr(function, CACHED, False) is True


def chunking_problem(chunking: Chunking, payload: type[BaseModel], result: type[BaseModel]) -> tuple[str, str] | None:
    """What is wrong with it, and what helps; None when it fits its function."""
    field = payload.model_fields.get(chunking.over)
    if field is None:
        known = ", ".join(payload.model_fields) or "no field"
        return f"it is cut over {chunking.over!r}; {payload.__name__} has {known}", "name a field of its task"
    if not (field.annotation is Blob or get_origin(field.annotation) in (list, tuple)):
        return (
            f"it is cut over {chunking.over!r}, which is no list and no Blob",
            "cut over a list, a tuple[X, ...] or a Blob",
        )
    if chunking.merge is None and not (result is Nothing or _lists(result) == tuple(result.model_fields)):
        return (
            f"the results of its parts cannot be joined: not every field of {result.__name__} is a list",
            "write @chunked(..., merge=function), which takes the results in order and returns one",
        )
    return None


def _lists(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name, field in model.model_fields.items() if get_origin(field.annotation) in (list, tuple))


def split(task: BaseModel, chunking: Chunking, blobs: Mapping[bytes, bytes]) -> Iterator[Chunk]:
    """The parts of a task, at least one, in order. ``blobs[digest]`` are the bytes of those that the task names."""
    whole = getattr(task, chunking.over)
    if isinstance(whole, Blob):
        for data in _lines(blobs[bytes.fromhex(whole.digest)], chunking.size):
            digest = blake3(data).digest()
            part = Blob(digest=digest.hex(), size=len(data), media_type=whole.media_type)
            others = {name: kept for name, kept in blobs.items() if name != bytes.fromhex(whole.digest)}
            yield Chunk(task.model_copy(update={chunking.over: part}), {**others, digest: data})
        return
    for at in range(0, len(whole) or 1, chunking.size):
        yield Chunk(task.model_copy(update={chunking.over: whole[at : at + chunking.size]}), blobs)


def _lines(data: bytes, size: int) -> Iterator[bytes]:
    """In groups of ``size`` lines; the last line need not end with a line end."""
    at = 0
    while True:
        end = at
        for _ in range(size):
            end = data.find(b"\n", end) + 1
            if end == 0:
                end = len(data)
                break
        yield data[at:end]
        at = end
        if at >= len(data):
            return


def join(results: Sequence[BaseModel], chunking: Chunking) -> BaseModel:
    """One result of many. ``merge`` is code of the user, and may raise anything."""
    if chunking.merge is not None:
        return chunking.merge(results)  # type: ignore[arg-type]  # chunking_problem compared its classes as far as it says them
    first = results[0]
    joined = {name: [item for one in results for item in getattr(one, name)] for name in type(first).model_fields}
    return type(first).model_validate(joined)
