"""Health: facts become a status with reasons. Pure: who asks the world hands in what it found.

    checks -> NodeHealthStatus          judged: the worst check decides
    (memory, status) -> memory          remembered: worse is told at once, better only after GOOD_IN_A_ROW judgements

A check that fails makes a node ``degraded``; a *critical* one, without which it does no work, makes it ``unhealthy``. The bounds
are those of the source documents: a resource is used below USE_MOST of what there is, and below ERRORS_MOST of calls fail.

``remembered`` is there against flapping: one that goes up and down each second would be told to people each second. Of several
better judgements the worst counts, so a node that was unhealthy is not called healthy by way of one good moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

USE_MOST: Final = 0.9
ERRORS_MOST: Final = 0.1
GOOD_IN_A_ROW: Final = 3


class EnumHealthStatus(StrEnum):
    """``degraded``: it works, and somebody should look. ``unhealthy``: it does no work."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"

    @property
    def badness(self) -> int:
        """0, 1 or 2; more is worse."""
        return _BADNESS[self]


_BADNESS: Final = {EnumHealthStatus.HEALTHY: 0, EnumHealthStatus.DEGRADED: 1, EnumHealthStatus.UNHEALTHY: 2}


class HealthCheck(NamedTuple):
    """One thing that is right or not. Without a critical one no work is done."""

    passing: bool
    critical: bool
    message: str


@dataclass(frozen=True, slots=True)
class NodeHealthStatus:
    """What is told of a node: its status, and every check that led to it."""

    status: EnumHealthStatus
    checks: Mapping[str, HealthCheck]

    @property
    def reasons(self) -> tuple[str, ...]:
        """``name: message`` of each check that fails."""
        return tuple(f"{name}: {check.message}" for name, check in self.checks.items() if not check.passing)


def judged(checks: Mapping[str, HealthCheck]) -> NodeHealthStatus:
    """No check at all is healthy."""
    failed = [check for check in checks.values() if not check.passing]
    if any(check.critical for check in failed):
        return NodeHealthStatus(EnumHealthStatus.UNHEALTHY, checks)
    return NodeHealthStatus(EnumHealthStatus.DEGRADED if failed else EnumHealthStatus.HEALTHY, checks)


def use_check(what: str, used: float) -> HealthCheck:
    """``used`` of a resource, from 0 to 1. Not critical: it still works."""
    return HealthCheck(used < USE_MOST, False, f"{used:.0%} of {what} is used")


def error_check(what: str, failed: int, of: int) -> HealthCheck:
    """``failed`` of so many calls. None at all is a rate of 0."""
    rate = failed / of if of else 0.0
    return HealthCheck(rate < ERRORS_MOST, False, f"{rate:.1%} of {what}")


class HealthMemory(NamedTuple):
    """``shown``: what was told last. ``better``: so many judgements in a row were better, ``worst`` the worst of them."""

    shown: EnumHealthStatus = EnumHealthStatus.HEALTHY
    better: int = 0
    worst: EnumHealthStatus = EnumHealthStatus.HEALTHY


def remembered(memory: HealthMemory, status: EnumHealthStatus, needed: int = GOOD_IN_A_ROW) -> HealthMemory:
    """After one more judgement. ``needed`` better ones in a row are told; 1: each is."""
    if status.badness >= memory.shown.badness:
        return HealthMemory(status)
    worst = max(status, memory.worst, key=lambda one: one.badness) if memory.better else status
    if memory.better + 1 >= needed:
        return HealthMemory(worst)
    return HealthMemory(memory.shown, memory.better + 1, worst)
