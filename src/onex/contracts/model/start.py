"""``start:`` of a contract: how runs of the workflow begin, where they are not to begin at once.

    {trigger, per, reuse, delay_ms, debounce_ms, batch, concurrency, rate: {most, per_ms}, waiting}

A workflow of its own, ``NAME_start``, holds what waits (``orchestration.start_queue``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from ...kernel.intent import START_SUFFIX
from .part import ENGINE, Milliseconds, Part, TriggerName

ASK: Final = "ask"
WAITING_MOST: Final = 1000
FIELD: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"


class EnumReuse(StrEnum):
    """What becomes of an ask whose id waits, or whose run has not ended."""

    REJECT = "reject"
    USE_EXISTING = "use_existing"
    AFTER_TERMINAL = "after_terminal"


class ModelStartRate(Part):
    """At most ``most`` runs begin within any ``per_ms``."""

    most: Annotated[int, Field(ge=1, le=1000), ENGINE]
    per_ms: Annotated[Milliseconds, ENGINE]


class ModelStartBatch(Part):
    """One run takes what was asked for: ``most`` asks, or those of ``wait_ms``. Each carries one entry of ``field``."""

    field: Annotated[str, Field(pattern=FIELD, description="a list of models, in the payload of the trigger"), ENGINE]
    most: Annotated[int, Field(ge=1, le=1000), ENGINE]
    wait_ms: Annotated[Milliseconds, ENGINE]


class ModelStart(Part):
    """Clients send ``ask`` to ``NAME_start``, and not ``trigger``. What is left out sets no limit."""

    trigger: Annotated[TriggerName, Field(description="that begins a run"), ENGINE]
    per: Annotated[
        str | None,
        Field(
            pattern=FIELD,
            description="a field of its payload: each value has a queue and limits of its own; left out, the type has them",
        ),
        ENGINE,
    ] = None
    reuse: Annotated[EnumReuse, ENGINE] = EnumReuse.REJECT
    delay_ms: Annotated[
        Milliseconds | None, Field(description="a run begins so long after it was asked for"), ENGINE
    ] = None
    debounce_ms: Annotated[
        Milliseconds | None,
        Field(description="a run begins when its id was not asked for that long; the last ask wins"),
        ENGINE,
    ] = None
    batch: Annotated[ModelStartBatch | None, ENGINE] = None
    concurrency: Annotated[int | None, Field(ge=1, le=1000, description="runs that have not ended"), ENGINE] = None
    rate: Annotated[ModelStartRate | None, ENGINE] = None
    waiting: Annotated[int, Field(ge=1, le=WAITING_MOST, description="asks that wait; more are refused"), ENGINE] = 100


def start_type(workflow: str) -> str:
    """The workflow that holds what waits to begin."""
    return workflow + START_SUFFIX
