"""ComputeExecutor: serves one target of an app by a compute function, which worker processes run."""

from __future__ import annotations

from pydantic import BaseModel

from ..engine.encode import decode
from ..kernel.action import Nothing
from ..kernel.errors import EffectFailed, EngineClosed, OnexError
from ..kernel.intent import ModelIntent
from ..kernel.user_code import caught
from ..ports import Blobs, Result
from .compute import ComputeAddress, ComputeIO, Workers
from .compute_call import ComputeCall, ResultCache
from .io import Function, FunctionShape, ResultTooLarge, blobs_in, check_blob, compute_shape


class ComputeExecutor:
    """Runs each task in one worker, or its parts in several. A pure function leaves nothing half done."""

    def __init__(
        self,
        workers: Workers,
        blobs: Blobs,
        *,
        where: ComputeAddress,
        function: Function,
        timeout_s: float | None = None,
        cache: ResultCache | None = None,
    ) -> None:
        """``function`` is not called here: only its annotations and marks are read. Raises ContractError when they do not fit."""
        self.shape: FunctionShape = compute_shape(function, ComputeIO)
        self._blobs = blobs
        self._call = ComputeCall(workers, where, function, timeout_s=timeout_s, cache=cache)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed; EngineClosed."""
        shipped: dict[bytes, bytes] = {}
        for blob in blobs_in(intent.payload):
            digest = bytes.fromhex(blob.digest)
            if digest not in shipped:
                shipped[digest] = check_blob(blob, await self._blobs.read(digest))
        try:
            computed = await self._call.run(
                intent.payload, shipped, lambda done, of: intent.heartbeat(f"{done} of {of} parts")
            )
        except EffectFailed as failed:
            raise (ResultTooLarge(failed.message) if failed.reason == ResultTooLarge.code else failed) from None
        except EngineClosed:
            raise
        except OnexError as error:
            raise EffectFailed(error.message, retryable=error.retryable, code=error.code) from error
        return Result(None if self.shape.result is Nothing else self._read(computed.encoded), computed.made)

    def _read(self, encoded: bytes) -> BaseModel:
        """The worker wrote it with the same class. Reading runs that class's validators, which are code of the user too."""
        try:
            return decode(self.shape.result, encoded)
        except BaseException as error:
            reason = caught(error)
            raise EffectFailed(
                f"{self.shape.name} returned what cannot be read back: {reason}", code="wrong_result"
            ) from error
