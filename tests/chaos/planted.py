"""Engines with a wrong planted in them: what a run must find, or it finds nothing. Named by ``CHAOS_PLANT``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from pydantic import BaseModel

from onex.adapters.sqlite.core import SqliteCore
from onex.engine.delivery import Delivery
from onex.kernel.intent import ModelIntent
from onex.ports import Applied, Commit, Conflict, Position

FORGOTTEN_EVERY = 40


def key_of_each_try() -> None:
    """An effect that is tried again comes under another key."""
    whole = Delivery.intent

    def intent(self: Delivery) -> ModelIntent[BaseModel]:
        made = whole(self)
        return made.model_copy(update={"idempotency_key": f"{made.idempotency_key}/{made.attempt}"})

    Delivery.intent = intent  # type: ignore[method-assign]  # that is the plant


def answers_without_rows() -> None:
    """Now and then a commit keeps its answers, and not what they speak of."""
    whole, commits = SqliteCore.commit, count(1)

    def commit(self: SqliteCore, given: Commit) -> Sequence[Applied | Conflict]:
        if next(commits) % FORGOTTEN_EVERY or not given.changes:
            return whole(self, given)
        answers = tuple(answer for change in given.changes for answer in change.answers)
        whole(self, given._replace(changes=(), answers=(*given.answers, *answers)))
        return [Applied(change.instance or 0, Position(0, 0)) for change in given.changes]

    SqliteCore.commit = commit  # type: ignore[assignment, method-assign]  # that is the plant


PLANTS: dict[str, Callable[[], None]] = {one.__name__: one for one in (key_of_each_try, answers_without_rows)}
