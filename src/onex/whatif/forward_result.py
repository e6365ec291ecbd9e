"""The result of a forward check: what other code would do otherwise with the instances in flight. Plain values, JSON on both ends.

``ForwardResult`` is a payload: a workflow that judges a deployment takes it as an action.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from ..kernel.action import Payload, WorkflowKey

GROUPS: Final = 200
"""Kinds of findings that are kept apart; of later ones only the instances are counted."""


class EnumForward(StrEnum):
    """``again``, ``lost`` and ``stranded`` are what a deployment is stopped for; the others may be what the change is for.

    ``again``: the new code emits what the log has already, and the old code does not. ``lost``: the old code emits it, the new
    one does not. ``stranded``: nothing would move it any more, or what is under way is refused. ``refused``: an action that a
    client may send. ``changed``: emitted with another payload. ``added``: only the new code emits it.
    """

    AGAIN = "again"
    LOST = "lost"
    STRANDED = "stranded"
    REFUSED = "refused"
    CHANGED = "changed"
    ADDED = "added"


STOPS: Final = frozenset({EnumForward.AGAIN, EnumForward.LOST, EnumForward.STRANDED})


class Difference(NamedTuple):
    """One finding in one instance. ``name`` is an intent, a timer or a trigger; ``after`` the events that lead to it."""

    what: EnumForward
    name: str
    after: tuple[str, ...]
    why: str


class ForwardFinding(Payload):
    """``instances`` that stand in ``status`` differ so. ``after`` and ``why`` are those of the first of ``examples``."""

    what: EnumForward
    workflow_type: str
    status: str
    name: str
    instances: int
    after: tuple[str, ...]
    why: str
    examples: tuple[str, ...]


class ForwardResult(Payload):
    """``looked_at + alike + not_looked_at + unreadable == instances``, which are all in flight.

    ``looked_at``: continued here. ``alike``: stand as one that was continued, and are counted with it. ``not_looked_at``: the
    budget ended before. ``unreadable``: the old code cannot continue them, ``reasons`` say why. ``cut``: of those looked at,
    how many have more continuations than were tried. ``other_code``: stand on other code than the old one that was given.
    ``uneven``: classes of which the second instance came out otherwise than the first, so that *alike* says less.
    ``again`` to ``added`` count instances, the alike ones with them. ``fired`` is to be 0.
    """

    instances: int = 0
    looked_at: int = 0
    alike: int = 0
    not_looked_at: int = 0
    unreadable: int = 0
    cut: int = 0
    other_code: int = 0
    uneven: int = 0
    steps: int = 0
    again: int = 0
    lost: int = 0
    stranded: int = 0
    refused: int = 0
    changed: int = 0
    added: int = 0
    fired: int = 0
    findings: tuple[ForwardFinding, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing that a deployment is stopped for was found, and nothing was left out."""
        return not (self.again or self.lost or self.stranded or self.not_looked_at or self.unreadable or self.fired)


@dataclass(slots=True)
class ForwardSummary:
    """Adds up instances, each with the number of those that are ``alike``."""

    kept: int = 3
    counts: dict[EnumForward, int] = field(default_factory=dict)
    _groups: dict[tuple[EnumForward, str, str, str], ForwardFinding] = field(default_factory=dict)

    def add(
        self,
        key: WorkflowKey,
        status: str,
        found: Iterable[Difference],
        instances: int,
        examples: Iterable[WorkflowKey],
    ) -> None:
        """``instances`` stand as ``key`` does, ``examples`` are some of them."""
        seen: set[EnumForward] = set()
        for one in found:
            if one.what not in seen:
                seen.add(one.what)
                self.counts[one.what] = self.counts.get(one.what, 0) + instances
            group = (one.what, key.workflow_type, status, one.name)
            names = tuple(str(name) for name in dict.fromkeys((key, *examples)))
            if (known := self._groups.get(group)) is not None:
                more = (*known.examples, *names)[: self.kept]
                self._groups[group] = known.model_copy(
                    update={"instances": known.instances + instances, "examples": more}
                )
            elif len(self._groups) < GROUPS:
                self._groups[group] = ForwardFinding(
                    what=one.what,
                    workflow_type=key.workflow_type,
                    status=status,
                    name=one.name,
                    instances=instances,
                    after=one.after,
                    why=one.why,
                    examples=names[: self.kept],
                )

    @property
    def findings(self) -> tuple[ForwardFinding, ...]:
        """What a deployment is stopped for first, then those with the most instances."""
        found = self._groups.values()
        return tuple(sorted(found, key=lambda one: (one.what not in STOPS, -one.instances, one.what, one.name)))

    @property
    def totals(self) -> Mapping[str, int]:
        return {one.value: self.counts.get(one, 0) for one in EnumForward}
