"""What a shadow has counted so far. A plain value, JSON on both ends: a workflow that judges a deployment takes it as an action."""

from __future__ import annotations

from collections.abc import Iterable

from ..kernel.action import Payload
from .result import WhatIfSummary

SHOWN = 20


class ShadowFinding(Payload):
    """``instances`` that differ alike: where it begins, on which action, and what. ``why`` is of the first of ``examples``."""

    workflow_type: str
    status: str
    trigger: str
    what: str
    instances: int
    why: str
    examples: tuple[str, ...]


class ShadowCounts(Payload):
    """``actions`` were read, and ``compared`` of them folded and compared. The others: ``passed_over`` came before an instance
    was met, or while it was met; ``behind_open`` came behind a point from which on it is open; ``unknown`` are of workflows
    that the other code does not have.

    ``same + differs + open == instances``, as in a what-if; one that was let go and met again counts twice. ``unseen`` of the same
    had states that could not be compared by value. ``refused``, ``added``, ``lost`` and ``changed`` count actions and intents.
    ``let_go``: how often an instance was dropped from memory. ``lag_ms``: how old the last action is, while there are more; 0
    where it has read all. ``fired``: effects that came to its boundary.
    """

    actions: int = 0
    compared: int = 0
    passed_over: int = 0
    behind_open: int = 0
    unknown: int = 0
    instances: int = 0
    same: int = 0
    differs: int = 0
    open: int = 0
    unseen: int = 0
    stranded: int = 0
    refused: int = 0
    added: int = 0
    lost: int = 0
    changed: int = 0
    let_go: int = 0
    lag_ms: float = 0.0
    fired: int = 0
    findings: tuple[ShadowFinding, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing differs. What is open, or was not compared, is not known to be the same; it is counted beside."""
        return not (self.differs or self.fired or self.unknown)


def findings_of(summary: WhatIfSummary) -> Iterable[ShadowFinding]:
    """The kinds of difference with the most instances first; at most ``SHOWN``."""
    for alike, group in summary.ranked()[:SHOWN]:
        first = group.examples[0]
        if first.first is not None:
            why = f"version {first.first.version}: {first.first.why}"
        else:
            why = "" if first.opened is None else f"from version {first.opened.version}: {first.opened.why}"
        yield ShadowFinding(
            workflow_type=alike.workflow_type,
            status=alike.status,
            trigger=alike.trigger,
            what=alike.what,
            instances=group.instances,
            why=why,
            examples=tuple(str(one.key) for one in group.examples),
        )
