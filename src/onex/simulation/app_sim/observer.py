"""The observer of one run: it keeps the world that the app's invariants look at, and what happened, to be counted.

Theory of operation
    It is the ``InvariantChecker`` of the engine, and adds the app's side. The store calls ``committed`` at the instant at
    which a commit is applied, before the engine knows of it. In this order: the engine's checks, then each new row becomes an
    action of the world, with the state it led to, then every invariant of the app is asked. An effect that was done asks them
    too (``FakeEffects.changed``). So an invariant sees each state that ever was true outside, and none that was only planned.
    A violation is kept with its rule. Shrinking looks for the same rule, so the rule holds no ids and numbers.
    An invariant that raises, or returns something it must not, is a violation of its own; it never ends the run.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

import orjson

from ...engine.encode import decode
from ...kernel.action import WorkflowKey
from ...kernel.errors import OnexError
from ...kernel.step import State
from ...ports import Applied, Commit, Conflict, KeyChange
from ...records import REJECTION_KEPT_US
from ..invariants import InvariantChecker
from ..sim_store import SimStore
from .app_under_test import AppUnderTest
from .world import Taken, World, evaluate, invariants_of

REFUSALS_KEPT_US: Final = REJECTION_KEPT_US - 4 * 3_600_000_000
"""As long as a store keeps a refusal, less the most that an engine's clock may be wrong by."""
_PARTICULAR = re.compile(r"\S*[\d:@'\[{]\S*")
"""Words of a violation that name one instance, id or number: another run breaks the same rule with others."""


class Violation(NamedTuple):
    """``rule`` is the name of an invariant of the app, or the text of an engine's violation without ids and numbers."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}" if self.rule.isidentifier() else self.text


@dataclass
class Coverage:
    """What happened, to be added up over many runs: what never happened was not tested."""

    actions: int = 0
    commits: int = 0
    effects: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    triggers: Counter[str] = field(default_factory=Counter)
    intents: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, other: Coverage) -> None:
        self.actions += other.actions
        self.commits += other.commits
        self.effects += other.effects
        self.statuses.update(other.statuses)
        self.triggers.update(other.triggers)
        self.intents.update(other.intents)
        self.refused.update(other.refused)


class Observer(InvariantChecker):
    """``broken`` is set by the first violation, which ends the run. ``found`` are all violations until then."""

    def __init__(
        self, batch: int, under_test: AppUnderTest, now_us: Callable[[], int], add_line: Callable[[str, str], None]
    ) -> None:
        super().__init__(batch)
        self.under_test, self.add_line = under_test, add_line
        self.world = World(now_us)
        self.coverage = Coverage()
        self.broken = asyncio.Event()
        self.found: list[Violation] = []
        self._refused_us: list[int] = []
        self._always = invariants_of(under_test.invariants, end=False)
        self._at_end = invariants_of(under_test.invariants, end=True)

    def violated(self, text: str) -> None:
        self.note(Violation(_PARTICULAR.sub("_", text), text))

    def note(self, violation: Violation) -> None:
        if violation not in self.found:
            self.found.append(violation)
            self.add_line("", f"broken: {violation}")
            self.violations.append(violation.text)
            self.broken.set()

    def check_now(self) -> None:
        """The app's invariants that must hold at every instant."""
        for name, invariant in self._always.items():
            if (said := evaluate(invariant, self.world)) is not None:
                self.note(Violation(name, said))

    def check_at_end(self) -> None:
        self.check_now()
        for name, invariant in self._at_end.items():
            if (said := evaluate(invariant, self.world)) is not None:
                self.note(Violation(name, said))

    def refusal(self, key: WorkflowKey, action_id: UUID, error: OnexError, sent_us: int) -> None:
        """A client was refused for good. ``sent_us`` counts, because weeks may pass between its request and the answer."""
        self.refused.append((key, action_id, error))
        self._refused_us.append(sent_us)

    async def check_end(self, truth: SimStore, now_us: int, tail_n: int) -> str:
        """As for every engine, but for refusals that the store need no longer keep: weeks pass in a run."""
        oldest_us = now_us - REFUSALS_KEPT_US
        pairs = zip(self.refused, self._refused_us, strict=True)
        self.refused = [refused for refused, at_us in pairs if at_us > oldest_us]
        return await super().check_end(truth, now_us, tail_n)

    def committed(self, commit: Commit, answers: Sequence[Applied | Conflict]) -> None:
        super().committed(commit, answers)
        self.coverage.commits += 1
        changed = False
        for change, answer in zip(commit.changes, answers, strict=False):
            if not isinstance(answer, Conflict) and change.rows:
                self._take(change)
                changed = True
        if changed:
            self.check_now()

    def _take(self, change: KeyChange) -> None:
        key = change.key
        reducer = self.under_test.workflows[key.workflow_type].reducer
        for n, row in enumerate(change.rows, 1):
            names = tuple(str(one["name"]) for one in orjson.loads(row.intents or b"[]") if not one.get("cancel"))
            taken = Taken(key, change.based_on + n, row.kind, row.status, row.issued_us, row.payload, names)
            self.world.actions.append(taken)
            self.coverage.actions += 1
            self.coverage.statuses[f"{key.workflow_type}.{row.status}"] += 1
            self.coverage.triggers[f"{key.workflow_type}.{row.kind}"] += 1
            self.coverage.intents.update(f"{key.workflow_type}.{name}" for name in names)
            emits = f", emits {', '.join(names)}" if names else ""
            self.add_line("engine", f"commits {key} version {taken.version}: {row.kind} -> {row.status}{emits}")
        state: State = decode(reducer.state_type, change.state)
        self.world.states[key] = state

    def state_of(self, key: WorkflowKey) -> State:
        """The committed state; of an instance that has not begun, the initial one."""
        known = self.world.states.get(key)
        return known if known is not None else self.under_test.workflows[key.workflow_type].reducer.initial()
