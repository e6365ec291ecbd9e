"""The results of a what-if: for one instance where and how the other code differs from the record, and the sums over all.

Everything here is a plain value of bounded size, made in one process and added up in another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final, NamedTuple

from ..kernel.action import WorkflowKey
from .value_diff import NONE, SHOWN, Changes

GROUPS: Final = 500
"""Classes of difference that are kept apart; all later ones count as one class."""


class EnumBranch(StrEnum):
    """The result of one instance; ``open``: it was not compared to the end, and does not differ before."""

    SAME = "same"
    DIFFERS = "differs"
    OPEN = "open"


class EnumIntentChange(StrEnum):
    ADDED = "added"
    LOST = "lost"
    CHANGED = "changed"


class IntentChange(NamedTuple):
    """An intent that only one of both emitted at ``version``, or both with another content. Texts are JSON, '' for none."""

    version: int
    how: EnumIntentChange
    name: str
    old: str
    new: str
    changes: Changes = NONE


class RefusedAction(NamedTuple):
    """A recorded action that the other code refuses; folding goes on without it."""

    version: int
    trigger: str
    code: str
    message: str


class FirstDifference(NamedTuple):
    """The first action that came out otherwise. ``what`` is equal for a whole class of differences, ``why`` holds the values."""

    version: int
    status: str
    trigger: str
    what: str
    why: str


class OpenFrom(NamedTuple):
    """From ``version`` on nothing is compared: under the other code that action would not have come."""

    version: int
    trigger: str
    why: str


@dataclass(slots=True)
class InstanceResult:
    """One instance. ``actions`` are the recorded ones, ``folded`` those that the other code was given.

    ``state`` is the difference at the end of what was compared; None: the recorded state there is not known. ``status`` is
    '' where it has not begun. ``unseen``: states in between were not compared, because the code that made them is not at
    hand. Lists hold the first ``SHOWN`` of each kind, ``counts`` all of them.
    """

    key: WorkflowKey
    actions: int
    folded: int = 0
    first: FirstDifference | None = None
    state: Changes | None = NONE
    recorded_status: str = ""
    status: str = ""
    intents: list[IntentChange] = field(default_factory=list)
    refused: list[RefusedAction] = field(default_factory=list)
    opened: OpenFrom | None = None
    stranded: str = ""
    unseen: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def branch(self) -> EnumBranch:
        """One that differs is so also when it is open further on. One that is open is never the same."""
        if self.first is not None:
            return EnumBranch.DIFFERS
        return EnumBranch.OPEN if self.opened is not None else EnumBranch.SAME

    def add_intent(self, change: IntentChange) -> None:
        self.counts[change.how.value] = self.counts.get(change.how.value, 0) + 1
        if len(self.intents) < SHOWN:
            self.intents.append(change)

    def add_refusal(self, refusal: RefusedAction) -> None:
        self.counts["refused"] = self.counts.get("refused", 0) + 1
        if len(self.refused) < SHOWN:
            self.refused.append(refusal)

    @property
    def weight(self) -> tuple[int, int]:
        """For sorting, the worst highest: stranded, then refused, then intents, then states; then the number of differences."""
        seen = sum(self.counts.values()) + (0 if self.state is None else self.state.total)
        grade = 3 if self.stranded else 2 if self.refused else 1 if self.intents else 0
        return grade, seen


@dataclass(slots=True)
class WhatIfTotals:
    """Counts of instances, except ``actions``, ``folded``, ``refused_actions`` and the three kinds of intents.

    ``same + differs + opened_only == instances``; ``opened`` counts all that are open somewhere, ``opened_only`` those that
    do not differ before. ``unseen`` of those called the same had states in between that could not be compared.
    """

    instances: int = 0
    actions: int = 0
    folded: int = 0
    same: int = 0
    differs: int = 0
    opened: int = 0
    opened_only: int = 0
    refused: int = 0
    refused_actions: int = 0
    stranded: int = 0
    added: int = 0
    lost: int = 0
    changed: int = 0
    unseen: int = 0

    def count(self, result: InstanceResult) -> None:
        self.instances += 1
        self.actions += result.actions
        self.folded += result.folded
        branch = result.branch
        self.same += branch is EnumBranch.SAME
        self.differs += branch is EnumBranch.DIFFERS
        self.opened += result.opened is not None
        self.opened_only += branch is EnumBranch.OPEN
        self.refused += bool(result.refused)
        self.stranded += bool(result.stranded)
        self.unseen += result.unseen
        self.refused_actions += result.counts.get("refused", 0)
        for how in EnumIntentChange:
            setattr(self, how.value, getattr(self, how.value) + result.counts.get(how.value, 0))

    def merge(self, other: WhatIfTotals) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


class DifferenceClass(NamedTuple):
    """What a class of differences has in common: where it begins, on which action, and what differs there."""

    workflow_type: str
    status: str
    trigger: str
    what: str


@dataclass(slots=True)
class DifferenceGroup:
    """How many instances differ alike, and the worst ``kept`` of them."""

    instances: int = 0
    opened: int = 0
    stranded: int = 0
    examples: list[InstanceResult] = field(default_factory=list)

    def merge(self, other: DifferenceGroup, kept: int) -> None:
        self.instances += other.instances
        self.opened += other.opened
        self.stranded += other.stranded
        # by weight, then by key: the same examples whichever process saw which instance first
        ranked = sorted([*self.examples, *other.examples], key=_rank)
        self.examples = ranked[:kept]


def _rank(result: InstanceResult) -> tuple[int, int, WorkflowKey]:
    grade, seen = result.weight
    return -grade, -seen, result.key


ELSE: Final = DifferenceClass("", "", "", "yet other differences")


@dataclass(slots=True)
class WhatIfSummary:
    """Totals and groups of some instances; tallies of different instances add up, in any order to the same."""

    kept: int = 3
    totals: WhatIfTotals = field(default_factory=WhatIfTotals)
    groups: dict[DifferenceClass, DifferenceGroup] = field(default_factory=dict)

    def add(self, result: InstanceResult) -> None:
        self.totals.count(result)
        if (alike := class_of(result)) is not None:
            one = DifferenceGroup(1, result.opened is not None, bool(result.stranded), [result])
            self._group(alike).merge(one, self.kept)

    def merge(self, other: WhatIfSummary) -> None:
        self.totals.merge(other.totals)
        for alike, group in other.groups.items():
            self._group(alike).merge(group, self.kept)

    def _group(self, alike: DifferenceClass) -> DifferenceGroup:
        if alike not in self.groups and len(self.groups) >= GROUPS:
            alike = ELSE
        return self.groups.setdefault(alike, DifferenceGroup())

    def ranked(self) -> list[tuple[DifferenceClass, DifferenceGroup]]:
        """The classes of difference, those with the most instances first."""
        return sorted(self.groups.items(), key=lambda one: (-one[1].instances, one[0]))


def class_of(result: InstanceResult) -> DifferenceClass | None:
    """None for an instance that is the same."""
    if (first := result.first) is not None:
        return DifferenceClass(result.key.workflow_type, first.status, first.trigger, first.what)
    if (opened := result.opened) is not None:
        return DifferenceClass(
            result.key.workflow_type, result.recorded_status, opened.trigger, "open: what came in is not known"
        )
    return None


def merged(tallies: Iterable[WhatIfSummary], kept: int) -> WhatIfSummary:
    whole = WhatIfSummary(kept)
    for tally in tallies:
        whole.merge(tally)
    return whole
