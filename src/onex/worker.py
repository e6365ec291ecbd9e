"""Performs one task in a worker process: finds the function by its names, in the very files that the engine loaded.

Only names and bytes come in. Modules stay loaded from one task to the next. A file that changes on disk after the first task of
an app is not noticed; one that changed before it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from .app import load_compute
from .kernel.errors import ContractError, EffectFailed
from .nodes.compute import ComputeAddress, ComputeIO
from .nodes.compute import perform as perform_task
from .nodes.io import Function, FunctionShape, compute_shape
from .ports import NewBlob


def perform(where: ComputeAddress, payload: bytes, blobs: Mapping[bytes, bytes]) -> tuple[bytes, tuple[NewBlob, ...]]:
    """Result and new blobs of one task.

    Raises EffectFailed (``code_changed``: the files are not those the engine loaded), AlgorithmNotFoundError, and what
    the function raises.
    """
    function, shape = _find(where)
    return perform_task(function, shape, payload, blobs)


@lru_cache(maxsize=1024)
def _find(where: ComputeAddress) -> tuple[Function, FunctionShape]:
    app, digest, workflow, name = where
    try:
        function = load_compute(app, digest, workflow, name)
    except ContractError as error:
        raise EffectFailed(error.message, code="code_changed") from error
    return function, compute_shape(function, ComputeIO)
