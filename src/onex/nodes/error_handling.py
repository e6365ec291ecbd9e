"""Errors of a pipeline of nodes: each node's error names its node, and the pipeline's error names every node that failed.

@standard_error_handling
async def execute_compute(self, compute_input): ...

context = PipelineErrorContext(correlation_id)
with context.node("compute"):
    output = await compute.execute_compute(...)
context.raise_if_failed()
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from pydantic import ValidationError as PydanticError

from ..kernel.canonical import problems
from ..kernel.errors import OnexError, ValidationError, WorkflowExecutionError
from ..kernel.user_code import describe

P = ParamSpec("P")
R = TypeVar("R")


def standard_error_handling(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """A node's method raises OnexError only, each with ``node_type`` and ``operation`` in its context.

    Its correlation id is that of the first argument that has one. An OnexError keeps its class; what pydantic refuses is a
    ValidationError, and anything else a WorkflowExecutionError, with the cause behind it. A cancelled call stays cancelled.
    """

    @wraps(method)
    async def handled(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await method(*args, **kwargs)
        except OnexError as error:
            _named(error, method.__name__, args)
            raise
        except PydanticError as error:
            raise _named(
                ValidationError(f"the input does not fit: {problems(error)}"), method.__name__, args
            ) from error
        except Exception as error:
            failed = WorkflowExecutionError(f"{method.__name__} failed: {describe(error)}")
            raise _named(failed, method.__name__, args) from error

    return handled


def _named(error: OnexError, operation: str, args: tuple[object, ...]) -> OnexError:
    if args:
        error.context.setdefault("node_type", type(args[0]).__name__)
    error.context.setdefault("operation", operation)
    found = next((one for arg in args if (one := getattr(arg, "correlation_id", None)) is not None), None)
    if error.correlation_id is None and found is not None:
        error.correlation_id = str(found)
    return error


class PipelineErrorContext:
    """The errors of one run through several nodes, in order. ``failed_nodes`` are the names given to them."""

    def __init__(self, correlation_id: UUID) -> None:
        self.correlation_id = correlation_id
        self.error_chain: list[OnexError] = []
        self.failed_nodes: list[str] = []

    def add_error(self, error: OnexError, node_type: str) -> None:
        """The node of this type failed, after those that were added before."""
        self.error_chain.append(error)
        self.failed_nodes.append(node_type)

    @contextmanager
    def node(self, node_type: str) -> Iterator[None]:
        """An OnexError of the block is kept, and the block ends. Whether to go on without its result is the caller's decision."""
        try:
            yield
        except OnexError as error:
            self.add_error(error, node_type)

    def create_pipeline_error(self) -> WorkflowExecutionError:
        """Names every node that failed, with its error; the first one is the cause."""
        told = [f"{node}: {error.message}" for node, error in zip(self.failed_nodes, self.error_chain, strict=True)]
        made = WorkflowExecutionError(
            f"pipeline failed at {', '.join(self.failed_nodes) or 'no node'}",
            failed_nodes=list(self.failed_nodes),
            pipeline_errors=list(told),
            total_errors=len(told),
            correlation_id=str(self.correlation_id),
        )
        made.__cause__ = self.error_chain[0] if self.error_chain else None
        return made

    def raise_if_failed(self) -> None:
        """Raises the pipeline's error when a node has failed."""
        if self.failed_nodes:
            raise self.create_pipeline_error()
