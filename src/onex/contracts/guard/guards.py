"""Guards: a condition's text becomes a pure function of state and payload, or a GuardProblem (promise 13).

Exactly three tokens ``path operator value`` are a comparison by type; all else is CEL over ``payload`` and ``state``. There is no
``eval``, and no name but those two. Every pattern takes linear time (Rust's regex, which CEL brings), and an evaluation takes at
most ``cel_cost.STEPS_MAX`` steps.
"""

from __future__ import annotations

from pydantic import BaseModel

from ...kernel.machine import Guard
from . import cel_expression as expression
from . import three_token as comparison
from .cel_expression import CelExpression
from .problem import GuardProblem
from .three_token import Comparison

DEEP = 3


def parse(text: str) -> Comparison | CelExpression:
    """The parsed condition. Raises GuardProblem for all that can be judged without the classes."""
    return comparison.compared(text) or expression.expressed(text)


def guard_warning(parsed: Comparison | CelExpression) -> GuardProblem | None:
    """A warning about a condition that works; None when there is none."""
    if isinstance(parsed, Comparison):
        if not parsed.old:
            return None
        meant = f"{'.'.join(parsed.path)} {comparison.PRESENCE[parsed.old]}"
        said = f"{parsed.old!r} is an old spelling; it is read as `{meant}`"
        return GuardProblem(parsed.at[1], "old_spelling", said, f"write {meant}")
    if parsed.deep < DEEP:
        return None
    said = f"{parsed.deep} loops within one another: 100 items make a million rounds, and such an action is refused"
    return GuardProblem(0, "guard_heavy", said, "decide in the reducer, or keep what is compared in a field")


def bind(parsed: Comparison | CelExpression, state: type[BaseModel], payload: type[BaseModel]) -> Guard:
    """The guard over these classes. Raises GuardProblem for an unknown field, or one whose type can never fit."""
    if isinstance(parsed, Comparison):
        return comparison.bind(parsed, state, payload)
    return expression.bind(parsed, state, payload)
