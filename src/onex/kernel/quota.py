"""Quota: what one instance of a workflow may take, so that one that runs away is refused and its neighbours notice nothing.

A quota is judged once, when an action comes or is stepped, and never again: what was refused left no row in the log, so replay,
what-if and a fork fold what was committed and ask no quota. A quota that is lowered later changes no history either.

    state_bytes      the canonical bytes of the state after a step
    pending_intents  intents that wait, run, or are held; timers aside
    actions_per_s    actions from outside, on average; some may come at once (``rate``)
    step_budget_ms   how long one step may run

Left out, there is no quota of its own: then the limits of the engine hold, which are the same for every type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import NamedTuple, Self

from .errors import UnknownWorkflow, ValidationError

STATE_BYTES_MOST = 1 << 20
BUDGET_MS_MOST = 3_600_000
COUNT_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """The quotas of one workflow type, each for one of its instances; None: no quota. Raises ValidationError, out of range."""

    state_bytes: int | None = None
    pending_intents: int | None = None
    actions_per_s: float | None = None
    step_budget_ms: int | None = None

    def __post_init__(self) -> None:
        for name, most in (
            ("state_bytes", STATE_BYTES_MOST), ("pending_intents", COUNT_MOST), ("step_budget_ms", BUDGET_MS_MOST),
        ):  # fmt: skip
            value: object = getattr(self, name)
            if value is not None and not (type(value) is int and 1 <= value <= most):
                raise ValidationError(f"{name} is {value!a}; give a whole number from 1 to {most}")
        rate: object = self.actions_per_s
        if rate is not None and not (type(rate) in (int, float) and 0 < float(str(rate)) <= COUNT_MOST):
            raise ValidationError(f"actions_per_s is {rate!a}; give a number above 0, at most {COUNT_MOST}")

    @classmethod
    def for_workflow_type(cls, workflow_type: str, declared: Mapping[str, Self]) -> Self:
        """Those of one type: ``ResourceLimits.for_workflow_type("orders", engine.registry.limits)``. Raises UnknownWorkflow."""
        try:
            return declared[workflow_type]
        except KeyError:
            known = ", ".join(sorted(declared)) or "none"
            raise UnknownWorkflow(f"no workflow {workflow_type!r} is registered; there is {known}") from None

    @property
    def given(self) -> dict[str, int | float]:
        """Those that are set, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


NO_LIMITS = ResourceLimits()


class Rate(NamedTuple):
    """A bucket of tokens as times: one token, and a full bucket."""

    token_s: float
    burst_s: float


@lru_cache(256)
def rate(per_s: float) -> Rate:
    """Ten may come at once, or a quarter of a second's worth where that is more; never more than a second's worth."""
    burst = max(1.0, min(per_s, max(10.0, per_s / 4)))
    return Rate(1.0 / per_s, burst / per_s)


def admit(full_at_s: float, now_s: float, rate: Rate) -> tuple[float, float]:
    """``(full_at_s, 0.0)`` for an action that may pass, else the old value and the seconds until the next one may.

    The bucket is one number: the moment at which it is full again (ITU-T I.371, the generic cell rate algorithm). 0.0 is a
    bucket that nobody has used.
    """
    token_s, burst_s = rate
    after = (full_at_s if full_at_s > now_s else now_s) + token_s
    wait_s = after - now_s - burst_s
    return (full_at_s, wait_s) if wait_s > 1e-9 else (after, 0.0)
