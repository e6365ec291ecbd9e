"""Compute: a pure function that takes too long for ``delta``; it runs in a worker process and its result is an action.

Only names and bytes go to a worker. It finds the function by its names in the files of the app.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Never, Protocol, TypeVar

from pydantic import BaseModel

from ..engine.encode import decode, encode
from ..kernel.action import Blob, Nothing
from ..kernel.errors import (
    AlgorithmNotFoundError,
    ContractError,
    EffectFailed,
    EngineClosed,
    OnexError,
)
from ..kernel.intent import ModelIntent
from ..kernel.user_code import caught
from ..ports import Blobs, NewBlob, Result
from .io import Function, FunctionShape, NewBlobs, ResultTooLarge, blobs_in, check_blob, check_result, compute_shape

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


def perform(
    function: Function, shape: FunctionShape, payload: bytes, shipped: Mapping[bytes, bytes]
) -> tuple[bytes, tuple[NewBlob, ...]]:
    """What a worker does with one task: decode, call, check, encode. Raises what the function raises, and what
    ``check_result`` raises."""
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
"""Path of the app, digest that its files must have, workflow type, name of the function."""


class Workers(Protocol):
    """Where compute functions run."""

    async def run(
        self, where: ComputeAddress, payload: bytes, blobs: Mapping[bytes, bytes], timeout_s: float | None = None
    ) -> tuple[bytes, tuple[NewBlob, ...]]:
        """The result and the blobs it made.

        Raises EffectFailed, whose ``retry`` says whether another try may do better; EngineClosed.
        """


class ComputeExecutor:
    """Serves one target by a compute function of an app, run by ``workers``."""

    def __init__(
        self,
        workers: Workers,
        blobs: Blobs,
        *,
        where: ComputeAddress,
        function: Function,
        timeout_s: float | None = None,
    ) -> None:
        """``function`` is not called here: only its annotations are read. Raises ContractError when they do not fit."""
        self.shape: FunctionShape = compute_shape(function, ComputeIO)
        self._workers = workers
        self._blobs = blobs
        self._where = where
        self._timeout_s = timeout_s

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, since a pure function leaves nothing half done; EngineClosed."""
        shipped: dict[bytes, bytes] = {}
        for blob in blobs_in(intent.payload):
            digest = bytes.fromhex(blob.digest)
            if digest not in shipped:
                shipped[digest] = check_blob(blob, await self._blobs.read(digest))
        try:
            encoded, made = await self._workers.run(self._where, encode(intent.payload), shipped, self._timeout_s)
        except EffectFailed as failed:
            raise (ResultTooLarge(failed.message) if failed.reason == ResultTooLarge.code else failed) from None
        except EngineClosed:
            raise
        except OnexError as error:
            raise EffectFailed(error.message, retryable=error.retryable, code=error.code) from error
        return Result(None if self.shape.result is Nothing else self._read(encoded), made)

    def _read(self, encoded: bytes) -> BaseModel:
        """The worker wrote it with the same class. Reading runs that class's validators, which are code of the user too."""
        try:
            return decode(self.shape.result, encoded)
        except BaseException as error:
            reason = caught(error)
            raise EffectFailed(
                f"{self.shape.name} returned what cannot be read back: {reason}", code="wrong_result"
            ) from error
