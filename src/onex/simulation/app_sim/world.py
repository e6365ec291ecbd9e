"""The world as an app's own invariants see it: every state, every action applied, everything done outside, at this instant.

It holds what was committed and what was done, never what an engine believes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import orjson
from pydantic import BaseModel, JsonValue

from ...kernel.action import EPOCH, WorkflowKey
from ...kernel.step import State

AT_END = "__onex_at_end__"

Invariant = Callable[["World"], str | bool | None]
F = TypeVar("F", bound=Invariant)


def at_end(invariant: F) -> F:
    """Mark an invariant that need not hold at every instant: it is checked when all faults are over and nothing is due."""
    setattr(invariant, AT_END, True)
    return invariant


@dataclass(slots=True)
class Effect:
    """One thing done outside, by its idempotency key. ``times`` is how often a call with this key arrived.

    A service that knows the key did it once and answered the other calls from memory. One that does not did it ``times``.
    """

    key: WorkflowKey
    name: str
    target: str
    payload: BaseModel
    idempotency_key: str
    version: int
    at_us: int
    result: BaseModel | None = None
    times: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """One action as it stands in the log. ``status`` is the one it led to, ``intents`` the names of what it emitted."""

    key: WorkflowKey
    version: int
    trigger: str
    status: str
    at_us: int
    body: bytes = field(repr=False)
    intents: tuple[str, ...] = ()

    @property
    def payload(self) -> JsonValue:
        value: JsonValue = orjson.loads(self.body) if self.body else {}
        return value


class World:
    """``states[key]`` as committed, ``actions`` in the order of the log, ``effects`` in the order in which they were done."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self.states: dict[WorkflowKey, State] = {}
        self.actions: list[Taken] = []
        self.effects: list[Effect] = []
        self._now_us = now_us

    @property
    def now(self) -> datetime:
        """The true time. An engine's clock may be wrong."""
        return EPOCH + timedelta(microseconds=self.now_us)

    @property
    def now_us(self) -> int:
        """The time of the simulation: microseconds since 1970 UTC."""
        return self._now_us()

    def effects_of(self, key: WorkflowKey, name: str | None = None) -> list[Effect]:
        """What was done for one instance, or only by the intent of one name."""
        return [one for one in self.effects if one.key == key and name in (None, one.name)]

    def actions_of(self, key: WorkflowKey, trigger: str | None = None) -> list[Taken]:
        """What one instance has applied, in order, or only under one trigger."""
        return [one for one in self.actions if one.key == key and trigger in (None, one.trigger)]


def evaluate(invariant: Invariant, world: World) -> str | None:
    """What is wrong, in a sentence; None: nothing. An error that the function raises is a violation too."""
    try:
        said: object = invariant(world)  # a function of the user's: its annotation need not be true
    except AssertionError as error:
        return str(error) or "an assertion in it failed"
    except Exception as error:
        return f"it raised {type(error).__name__}: {error}"
    if said is False:
        return "it does not hold"
    if not isinstance(said, str | bool | None):  # a function of the user's: its annotation need not be true
        return f"it returned {type(said).__name__}; return text or False for a violation, None or True for none"
    return said if isinstance(said, str) and said else None


def invariants_of(invariants: Mapping[str, Invariant], *, end: bool) -> dict[str, Invariant]:
    """Those checked at every instant, or those checked at the end only."""
    return {name: one for name, one in invariants.items() if getattr(one, AT_END, False) is end}
