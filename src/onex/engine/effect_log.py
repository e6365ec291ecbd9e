"""EffectLog: what a function says while it works, as events of the engine: ``io.log.info("asked the bank", cents=5)``.

Each line carries which intent of which instance it belongs to, the number of the try, and the correlation id, so that it stands
beside the engine's own events of that action. It may be called from the thread of a plain function: the listener is called in the
loop of the engine. Text of fields marked as ``Secret`` in the intent's payload is ``***``. It never raises and never waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from uuid import UUID

from pydantic import BaseModel

from ..kernel.intent import ModelIntent
from ..kernel.secret import secret_texts
from ..kernel.user_code import said_text
from ..kernel.user_trace import without
from .metrics import Events

SAID_CHARACTERS = 2000
OURS = frozenset({"self", "name", "level", "message", "key", "intent", "n", "attempt", "target", "correlation"})
"""Names that the engine uses: a field of the user's that is called so gets an underscore."""

Field = str | int | float | bool | UUID | None


class EffectLog:
    """Of one call. ``bind`` gives one with more fields."""

    __slots__ = ("_events", "_fields", "_intent", "_loop")

    def __init__(
        self,
        events: Events,
        intent: ModelIntent[BaseModel] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        self._events, self._intent, self._loop, self._fields = events, intent, loop, dict(fields or {})

    def bind(self, **fields: object) -> EffectLog:
        """A log whose lines carry these fields too."""
        return EffectLog(self._events, self._intent, self._loop, {**self._fields, **fields})

    def info(self, message: str, /, **fields: object) -> None:
        self._say("info", message, fields)

    def warning(self, message: str, /, **fields: object) -> None:
        self._say("warning", message, fields)

    def error(self, message: str, /, **fields: object) -> None:
        self._say("error", message, fields)

    def _say(self, level: str, message: object, fields: Mapping[str, object]) -> None:
        if not self._events.heard:
            return
        intent = self._intent
        secrets = frozenset[str]() if intent is None else secret_texts(intent.payload)
        shown: dict[str, Field] = {}
        for name, value in {**self._fields, **fields}.items():
            shown[f"{name}_" if name in OURS else name] = _plain(value, secrets)
        text = without(secrets, said_text(message, SAID_CHARACTERS))
        about: dict[str, Field] = {}
        if intent is not None:
            about = {
                "key": str(intent.workflow_key),
                "intent": intent.name,
                "attempt": intent.attempt,
                "target": intent.target,
                "correlation": intent.correlation_id,
            }
        tell = partial(self._tell, level, text, {**about, **shown})
        try:
            here = self._loop is None or asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            tell()
        elif self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(tell)
            except RuntimeError:
                return  # the loop is closed: nobody listens any more

    def _tell(self, level: str, message: str, fields: Mapping[str, Field]) -> None:
        self._events("effect_log", level=level, message=message, **fields)


def _plain(value: object, secrets: frozenset[str]) -> Field:
    if value is None or type(value) in (bool, UUID):
        return value  # type: ignore[return-value]  # it is one of these
    if type(value) in (int, float):
        number: float = value  # type: ignore[assignment]  # an int or a float
        return "***" if str(number) in secrets else number
    return without(secrets, said_text(value, SAID_CHARACTERS))
