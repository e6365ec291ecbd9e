"""CallAudit: one telemetry event for each call that leaves the process, told by whoever makes it.

    with audit.call(intent, "POST api.bank.example/charges/{order}") as call:
        ...                                   # what it raises is what the event says; it is passed on
        call.result = "201"

``what`` names verb, host and path with places instead of values: never a header, a body or a secret. Nothing is made or
measured when nobody listens to details.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from ..kernel.errors import EffectFailed, EffectUnknown
from ..kernel.intent import ModelIntent
from ..kernel.user_code import class_name
from ..ports import Clock
from .metrics import Events


class ExternalCall:
    """One call that runs. ``result`` may be set to more than ``ok``, for example a status code."""

    __slots__ = ("result", "what")

    def __init__(self, what: str) -> None:
        self.what, self.result = what, "ok"


class CallAudit:
    """Of one engine."""

    def __init__(self, events: Events, clock: Clock) -> None:
        self._events, self._clock = events, clock

    @contextmanager
    def call(self, intent: ModelIntent[BaseModel], what: str) -> Iterator[ExternalCall]:
        """The event ``external_call`` when the block ends, however it ends."""
        call = ExternalCall(what)
        if not self._events.details:
            yield call
            return
        begun_s = self._clock.monotonic()
        try:
            yield call
        except BaseException as error:
            known = isinstance(error, EffectFailed | EffectUnknown)
            call.result = error.reason if known else class_name(type(error))  # type: ignore[attr-defined]  # both have one
            raise
        finally:
            self._events(
                "external_call",
                target=intent.target,
                kind=intent.intent_type,
                what=call.what,
                ms=round((self._clock.monotonic() - begun_s) * 1000, 3),
                result=call.result,
                attempt=intent.attempt,
                key=str(intent.workflow_key),
                intent=intent.name,
                correlation=intent.correlation_id,
            )
