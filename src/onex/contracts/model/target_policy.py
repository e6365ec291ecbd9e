"""The policies of a target, as a contract says them: how many calls at once, how many a second, and when it is left alone."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from ...kernel.quota import COUNT_MOST
from ...kernel.retry import BreakerPolicy
from ...kernel.target_policy import CALLS_MOST, CONCURRENCY_MOST, TargetPolicy
from .part import ENGINE, Milliseconds, Part

_BREAKER = BreakerPolicy()


class ModelTargetBreaker(Part):
    """After ``failures`` in a row the target is left alone for ``open_ms``; then ``probes`` calls show whether it answers again."""

    failures: Annotated[int, Field(ge=1, le=CALLS_MOST), ENGINE] = _BREAKER.failures
    open_ms: Annotated[Milliseconds, ENGINE] = round(_BREAKER.open_s * 1000)
    probes: Annotated[int, Field(ge=1, le=CALLS_MOST), ENGINE] = _BREAKER.probes

    @property
    def policy(self) -> BreakerPolicy:
        return BreakerPolicy(self.failures, self.open_ms / 1000, self.probes)


class ModelTargetPolicy(Part):
    """They hold for all intents of the target, within one workflow type and one process. What is left out is no policy."""

    concurrency: Annotated[
        int | None,
        Field(ge=1, le=CONCURRENCY_MOST, description="calls at once, whatever the intents say"),
        ENGINE,
    ] = None
    rate_per_s: Annotated[
        float | None, Field(gt=0, le=COUNT_MOST, description="calls that begin in a second, on average"), ENGINE
    ] = None
    burst: Annotated[
        int | None,
        Field(
            ge=1, le=COUNT_MOST, description="of a rate: calls that may begin at once; left out, a tenth of a second's"
        ),
        ENGINE,
    ] = None
    circuit_breaker: Annotated[ModelTargetBreaker | None, ENGINE] = None

    @model_validator(mode="after")
    def _burst_of_a_rate(self) -> Self:
        if self.burst is not None and self.rate_per_s is None:
            raise ValueError("burst says how many may begin at once within a rate; write rate_per_s too")
        return self

    @property
    def policy(self) -> TargetPolicy:
        breaker = self.circuit_breaker
        return TargetPolicy(self.concurrency, self.rate_per_s, self.burst, breaker.policy if breaker else None)
