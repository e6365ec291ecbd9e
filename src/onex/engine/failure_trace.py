"""What is kept and reported of a failure: its message, and where code of the user raised, without text of secret fields."""

from __future__ import annotations

from pydantic import BaseModel

from ..kernel.errors import OnexError, WorkflowExecutionError
from ..kernel.secret import secret_texts
from ..kernel.user_code import plain_text
from ..kernel.user_trace import trace_text, without


def kept_message(error: OnexError, payload: BaseModel | None) -> str:
    """The message as any store takes it. What stands in a field of ``payload`` that is marked as Secret is ``***``."""
    return without(secret_texts(payload), plain_text(error.message))


def failure_trace(error: OnexError, payload: BaseModel) -> str:
    """Where the user's exception behind ``error`` was raised, by a reducer or a migration; '' where none raised."""
    if not isinstance(error, WorkflowExecutionError):
        return ""
    trace = error.trace or (trace_text(error.__cause__) if error.__cause__ is not None else "")
    return without(secret_texts(payload), trace) if trace else ""
