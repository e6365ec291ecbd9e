"""Compute: a pure function that takes too long for ``delta``; it runs in a worker process and its result is an action.

Only names and bytes go to a worker. It finds the function by its names in the files of the app.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Final, Never, Protocol, TypeVar

from pydantic import BaseModel, TypeAdapter

from ..engine.encode import decode
from ..kernel.action import Blob
from ..kernel.errors import AlgorithmNotFoundError, ContractError, DependencyResolutionError, EffectFailed
from ..ports import NewBlob
from .chunks import chunking_of, join
from .io import Function, FunctionShape, NewBlobs, check_result

COMPUTE = "__onex_compute__"
"""The attribute under which a marked function carries its name."""


class ComputeIO(NewBlobs):
    """What a compute function may ask for beside its task: ``def parse(task: Parse, io: ComputeIO) -> Parsed``."""

    __slots__ = ("_shipped",)

    def __init__(self, shipped: Mapping[bytes, bytes]) -> None:
        super().__init__()
        self._shipped = shipped

    def read(self, blob: Blob) -> bytes:
        """The bytes of a blob that the task names. Raises EffectFailed for any other: only those are sent along."""
        made = self._made.get(blob.digest)
        if made is not None:
            return made.data
        data = self._shipped.get(bytes.fromhex(blob.digest))
        if data is None:
            raise EffectFailed(
                f"blob {blob.digest[:16]} was not sent along: a compute function reads the blobs its task names",
                code="blob_not_sent",
            )
        return data


F = TypeVar("F", bound=Callable[[Never], BaseModel | None] | Callable[[Never, ComputeIO], BaseModel | None])


def compute(name: str) -> Callable[[F], F]:
    """Mark a function as the compute function ``name``; it is returned unchanged.

    Raises ContractError when the name is empty or the function already has one.
    """
    if not name:
        raise ContractError("@compute needs a name: the target of a compute_task in the contract's intents")

    def mark(function: F) -> F:
        earlier = getattr(function, COMPUTE, None)
        if earlier is not None:
            raise ContractError(f"{function!r} is the compute function {earlier!r} already; {name!r} needs its own")
        setattr(function, COMPUTE, name)
        return function

    return mark


JOIN = b"\0"
"""Begins a task that is no JSON: what follows is the list of the results of a task's parts, to be joined."""


def perform(
    function: Function, shape: FunctionShape, payload: bytes, shipped: Mapping[bytes, bytes]
) -> tuple[bytes, tuple[NewBlob, ...]]:
    """What a worker does with one task: decode, call, check, encode. Raises what the function raises, and what
    ``check_result`` raises."""
    chunking = chunking_of(function)
    if chunking is not None and payload.startswith(JOIN):
        results = TypeAdapter(list[shape.result]).validate_json(payload[len(JOIN) :])  # type: ignore[name-defined]  # the class is a value
        return check_result(join(results, chunking), shape), ()
    task = decode(shape.payload, payload)
    io = ComputeIO(shipped)
    value = function(task, io) if shape.takes_io else function(task)
    return check_result(value, shape), io.made


class AlgorithmRegistry:
    """Compute functions by name."""

    def __init__(self, algorithms: Mapping[str, Function]) -> None:
        self._algorithms = dict(algorithms)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._algorithms))

    def get_algorithm(self, name: str) -> Function:
        """Raises AlgorithmNotFoundError, naming what is near."""
        found = self._algorithms.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self._algorithms, n=3) or self.names
            raise AlgorithmNotFoundError(
                f"no compute function is named {name!r}; there is {', '.join(near) or 'none at all'}"
            )
        return found


ComputeAddress = tuple[str, str, str, str]
"""Path of the app, digest that its files must have, workflow type, name of the function.

Of a function that a module holds: ``BY_MODULE``, '', module, qualified name.
"""
BY_MODULE: Final = "@module"


def address_of(function: Function) -> ComputeAddress:
    """Where a worker finds a function of a module. Raises DependencyResolutionError for one that cannot be imported by name."""
    module, name = function.__module__, getattr(function, "__qualname__", "<unnamed>")
    if module == "__main__" or "<" in name:
        raise DependencyResolutionError(
            f"{module}.{name} cannot be imported by a worker process: define it at the top of a module of its own"
        )
    return BY_MODULE, "", module, name


class Workers(Protocol):
    """Where compute functions run, ``max_workers`` of them at once."""

    @property
    def max_workers(self) -> int: ...

    async def run(
        self, where: ComputeAddress, payload: bytes, blobs: Mapping[bytes, bytes], timeout_s: float | None = None
    ) -> tuple[bytes, tuple[NewBlob, ...]]:
        """The result and the blobs it made.

        Raises EffectFailed, whose ``retry`` says whether another try may do better; EngineClosed.
        """
