"""What the outside sees of each intent: its attempts, keys and bodies, and which attempts the engine must never have made.

Used by everything that stands in for the outside world. Call ``begin`` first in every attempt, before anything is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import orjson
from pydantic import BaseModel

from ..engine.encode import ordinals
from ..kernel.intent import ModelIntent
from ..ports import OutboxRow
from ..replay.audit import SeenEffect
from .host import Host, current_host
from .invariants import InvariantChecker


@dataclass
class Attempts:
    """All attempts at one intent. ``perhaps`` are those that did not end with "surely not done".

    ``allowed`` is how often an operator has asked for it to be driven again: so many attempts more are no fault of the
    engine's, even at most once.
    """

    count: int = 0
    keys: set[str] = field(default_factory=set)
    bodies: set[str] = field(default_factory=set)
    perhaps: set[int] = field(default_factory=set)
    allowed: int = 0
    done: bool = False


class AttemptLog:
    """``owner`` says whose engine owns the store: one that lost it, and does not know, may run what it has in memory."""

    def __init__(self, checker: InvariantChecker) -> None:
        self.checker = checker
        self.owner: Callable[[], Host | None] = lambda: None
        self.attempts: dict[SeenEffect, Attempts] = {}
        self.own_timeouts: set[SeenEffect] = set()

    @property
    def done(self) -> set[SeenEffect]:
        return {what for what, known in self.attempts.items() if known.done}

    def begin(self, intent: ModelIntent[BaseModel], body: str, *, at_most_once: bool) -> tuple[SeenEffect, Attempts]:
        """One more attempt, which may be done from here on. ``body`` is its payload as JSON."""
        checker, what = self.checker, seen_of_intent(intent)
        known = self.attempts.setdefault(what, Attempts())
        if not checker.has_committed(what, body):
            checker.violated(f"phantom: {what} ran, and no commit has it")
        if checker.has_ended(what) and not known.allowed and self.owner() is current_host():
            checker.violated(f"ended: {what} runs again after its row was settled")
        checker.times.runs(what, current_host().clock.now_us())
        if known.perhaps and at_most_once:
            if not known.allowed:
                checker.violated(f"at most once: {what} runs again after an attempt that may have been done")
            known.allowed = max(0, known.allowed - 1)
            known.perhaps.clear()
        known.count += 1
        known.perhaps.add(known.count)
        known.keys.add(intent.idempotency_key)
        known.bodies.add(body)
        if len(known.keys) > 1 or len(known.bodies) > 1:
            checker.violated(f"repeated: {what} came with keys {sorted(known.keys)} and bodies {sorted(known.bodies)}")
        return what, known


def seen_of_intent(intent: ModelIntent[BaseModel]) -> SeenEffect:
    return SeenEffect(str(intent.workflow_key), intent.version, intent.name, intent.n)


def seen_of_row(row: OutboxRow) -> SeenEffect:
    """The intent of an outbox row, as the outside knows it."""
    names = [item["name"] for item in orjson.loads(row.intents)]
    at = row.pointer.ordinal
    return SeenEffect(str(row.key), row.version, names[at], ordinals(names)[at])
