"""Guards: a condition's text becomes a pure function of state and payload, or a sentence about what is wrong with it.

Exactly three tokens ``path operator value`` are a comparison by type; all else is CEL over ``payload`` and ``state``.
No eval, no name beside those two, every pattern in linear time (Rust's regex, which CEL brings).
"""

from __future__ import annotations

from pydantic import BaseModel

from ..kernel.machine import Guard
from . import comparison, expression
from .comparison import Comparison
from .expression import Expression


def parse(text: str) -> Comparison | Expression:
    """What can be judged without knowing the classes. Raises GuardProblem."""
    return comparison.compared(text) or expression.expressed(text)


def bind(parsed: Comparison | Expression, state: type[BaseModel], payload: type[BaseModel]) -> Guard:
    """The guard over these classes. Raises GuardProblem for a field that is not there or can never fit."""
    if isinstance(parsed, Comparison):
        return comparison.bind(parsed, state, payload)
    return expression.bind(parsed, state, payload)
