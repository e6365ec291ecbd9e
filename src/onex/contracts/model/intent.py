"""The intents a reducer may emit: who serves each, and the trigger that each of its outcomes becomes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ...kernel.intent import EnumDelivery, EnumIntentPriority
from ...kernel.retry import RetryPolicy
from .part import ENGINE, PROSE, ClassName, Kind, Milliseconds, Name, Part, Prose, Share, Target


class ModelIntentOutcomes(Part):
    """The trigger each outcome becomes; all three or no ``outcomes`` at all."""

    succeeded: Annotated[Name, ENGINE]
    failed: Annotated[Name, ENGINE]
    unknown: Annotated[Name, ENGINE]


class ModelIntentRetry(Part):
    max_attempts: Annotated[int, Field(ge=1, le=1000), ENGINE] = 5
    initial_ms: Annotated[Milliseconds, ENGINE] = 500
    max_ms: Annotated[Milliseconds, ENGINE] = 30_000
    factor: Annotated[float, Field(ge=1, le=100), ENGINE] = 2.0
    jitter: Annotated[Share, ENGINE] = 0.5

    def policy(self) -> RetryPolicy:
        return RetryPolicy(self.max_attempts, self.initial_ms / 1000, self.max_ms / 1000, self.factor, self.jitter)


class ModelIntentDeclaration(Part):
    """One intent a reducer may emit: who serves it, and what each outcome becomes."""

    name: Annotated[Name, ENGINE]
    type: Annotated[Kind, ENGINE]
    target: Annotated[Target | None, ENGINE] = None
    payload: Annotated[ClassName | None, ENGINE] = None
    outcomes: Annotated[ModelIntentOutcomes | None, ENGINE] = None
    retry: Annotated[ModelIntentRetry, ENGINE] = ModelIntentRetry()
    delivery: Annotated[EnumDelivery | None, ENGINE] = None
    priority: Annotated[EnumIntentPriority, ENGINE] = EnumIntentPriority.NORMAL
    timeout_ms: Annotated[Milliseconds, ENGINE] = 30_000
    concurrency: Annotated[int, Field(ge=1, le=10_000), ENGINE] = 10
    trigger: Annotated[Name | None, ENGINE] = None
    description: Annotated[Prose, PROSE] = ""
    rank: Annotated[int | None, Field(description="a priority that is a number, in contracts of others")] = None
