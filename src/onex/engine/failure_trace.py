"""Where a reducer, a guard's state or a migration of the user raised, as a rejection keeps it."""

from __future__ import annotations

from pydantic import BaseModel

from ..kernel.errors import OnexError, WorkflowExecutionError
from ..kernel.secret import secret_texts
from ..kernel.user_trace import trace_text, without


def failure_trace(error: OnexError, payload: BaseModel) -> str:
    """The trace of the user's exception behind ``error``, without text of the payload's secret fields; '' where none raised."""
    if not isinstance(error, WorkflowExecutionError):
        return ""
    trace = error.trace or (trace_text(error.__cause__) if error.__cause__ is not None else "")
    return without(secret_texts(payload), trace) if trace else ""
