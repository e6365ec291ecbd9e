"""Performs one task in a worker process: finds the function by its names, in the very files that the engine loaded.

Only names and bytes come in. Modules stay loaded from one task to the next. A file that changes on disk after the first task of
an app is not noticed; one that changed before it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from operator import attrgetter

from .app import load_compute
from .kernel.errors import AlgorithmNotFoundError, ContractError, EffectFailed
from .nodes.compute import BY_MODULE, ComputeAddress, ComputeIO
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
    if app == BY_MODULE:
        return _by_module(workflow, name)
    try:
        function = load_compute(app, digest, workflow, name)
    except ContractError as error:
        raise EffectFailed(error.message, code="code_changed") from error
    return function, compute_shape(function, ComputeIO)


def _by_module(module: str, name: str) -> tuple[Function, FunctionShape]:
    """A function that stands in a module of the program. Importing it may raise anything."""
    try:
        function = attrgetter(name)(import_module(module))
    except AttributeError as error:
        raise AlgorithmNotFoundError(f"module {module} has no {name}") from error
    return function, compute_shape(function, ComputeIO)
