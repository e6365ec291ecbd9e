"""VersionCounts: what the instances of each version did, while a rollout is judged. Without one an engine counts nothing here.

An action counts for the version that judged it, a given up intent for the one that emitted it. How much a state grew is known of an
instance whose last state was seen here; at most ``SIZES_MOST`` sizes are kept, and then all are forgotten, since a mean needs no
instance in particular.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..ports import Clock
from .batch import Batch, Settlement
from .delivery import Delivery
from .labelled_counts import fault_of
from .pending import Committed
from .registry import Workflow

SIZES_MOST: Final = 50_000
TRIGGERS_MOST: Final = 100


@dataclass(slots=True)
class VersionFigures:
    """Sums over actions. ``slow`` took longer than the limit. ``growth[trigger]`` is of actions on a state whose size before was
    known: how many, the bytes that they added, and the sizes that they led to."""

    actions: int = 0
    errors: int = 0
    slow: int = 0
    held: int = 0
    growth: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def add(self, more: VersionFigures) -> None:
        self.actions += more.actions
        self.errors += more.errors
        self.slow += more.slow
        self.held += more.held
        for name, (actions, added, sizes) in more.growth.items():
            self.grew(name, actions, added, sizes)

    def grew(self, trigger: str, actions: int, added: int, sizes: int) -> None:
        before = self.growth.get(trigger, (0, 0, 0))
        if trigger in self.growth or len(self.growth) < TRIGGERS_MOST:
            self.growth[trigger] = before[0] + actions, before[1] + added, before[2] + sizes


class VersionCounts:
    """``taken`` gives what was counted since it was last called, by workflow type and digest of the code."""

    def __init__(self, clock: Clock, slow_s: float) -> None:
        self._clock, self._slow_s = clock, slow_s
        self._figures: dict[tuple[str, bytes], VersionFigures] = {}
        self._sizes: dict[WorkflowKey, int] = {}

    def take(self, batch: Batch, done: Settlement) -> None:
        """One batch, after the store has answered."""
        now_s = self._clock.monotonic()
        for pending, answer in done.results:
            if pending.read_by is None:
                continue
            of = self._of(pending.read_by)
            if isinstance(answer, Committed):
                of.actions += not answer.duplicate
                of.slow += not answer.duplicate and now_s - pending.accepted_s > self._slow_s
            elif isinstance(answer, OnexError):
                of.errors += fault_of(answer) == "workflow"
        applied = {id(change) for change, _ in done.applied}
        for folded, change, _ in batch.written:
            if id(change) not in applied:
                continue
            of, size = self._of(folded.entry.workflow), len(change.state)
            of.held += bool(folded.held) and bool(folded.refused)
            before = self._sizes.get(change.key)
            if before is not None and len(change.rows) == 1:
                of.grew(change.rows[0].kind, 1, size - before, size)
            if len(self._sizes) >= SIZES_MOST:
                self._sizes.clear()
            self._sizes[change.key] = size

    def gave_up(self, delivery: Delivery) -> None:
        """An intent of it failed for good."""
        self._of(delivery.workflow).errors += 1

    def taken(self) -> Mapping[tuple[str, bytes], VersionFigures]:
        figures, self._figures = self._figures, {}
        return figures

    def _of(self, workflow: Workflow) -> VersionFigures:
        code = workflow.code
        return self._figures.setdefault((code.workflow_type, code.digest), VersionFigures())
