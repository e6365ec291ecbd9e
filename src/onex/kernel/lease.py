"""The law of a workflow lease: (the lease of an instance, a request, now) -> the lease after it, or the error it is refused with.

An orchestrator takes the lease of one instance, renews it, and releases it (promise 10). While it runs, commands of others are
refused. Its id is the id of the request that took it. So a request that is judged a second time, because the answer to its
commit was lost, finds its own lease and gets it again.

    no lease runs      take: granted                  renew, release: LeaseValidationError; of the last one LeaseExpiredError
    mine runs          take (same request): granted   renew: it runs longer      release: it is gone
    another's runs     take: LeaseConflictError       renew, release: LeaseValidationError

A lease that was released leaves nothing behind. One that has run out stays stored until another is taken.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import Field

from .action import EPOCH, Payload, WorkflowKey
from .errors import EpochMismatchError, LeaseConflictError, LeaseExpiredError, LeaseValidationError, Refused

LEASE_S: Final = 600.0
LEASE_MAX_S: Final = 86_400.0

TAKE: Final = "@take_lease"
RENEW: Final = "@renew_lease"
RELEASE: Final = "@release_lease"
LEASE_KINDS: Final = frozenset({TAKE, RENEW, RELEASE})


class LeaseRequest(Payload):
    """What a request for a lease carries: how long it is to run from the moment it is granted. A release ignores it."""

    duration_s: float = Field(default=LEASE_S, gt=0, le=LEASE_MAX_S)


class Lease(NamedTuple):
    """As it is stored with its instance. No id: nobody leads it."""

    id: bytes | None = None
    until_us: int = 0

    def runs(self, now_us: int) -> bool:
        """Its last microsecond included."""
        return self.id is not None and self.until_us >= now_us


class WorkflowLease(NamedTuple):
    """What the holder of a lease knows of it. ``epoch`` counts the commands that were applied under leases so far.

    The first command under this lease carries ``epoch``, the n-th after it ``epoch + n``.
    """

    key: WorkflowKey
    lease_id: UUID
    epoch: int
    until_us: int

    @property
    def until(self) -> datetime:
        """Aware UTC. It runs up to then, this moment included."""
        return EPOCH + timedelta(microseconds=self.until_us)


def lease_after(
    lease: Lease, key: WorkflowKey, kind: str, of: bytes, duration_s: float, now_us: int, *, tried_before: bool = False
) -> Lease:
    """The lease of ``key`` after a request of ``kind`` for the lease ``of``. Renewing never shortens it.

    ``tried_before``: the request may have been carried out already. A release then finds its lease gone, and that is what it
    asked for. Raises LeaseConflictError, LeaseExpiredError, LeaseValidationError.
    """
    until_us = now_us + int(duration_s * 1_000_000)
    if kind == TAKE:
        if lease.runs(now_us) and lease.id != of:
            raise LeaseConflictError(f"another orchestrator leads {key}; wait, or ask it")
        return Lease(of, max(until_us, lease.until_us) if lease.id == of else until_us)
    if lease.id != of:
        if tried_before and kind == RELEASE:
            return lease
        raise no_such_lease(key, of)
    if not lease.runs(now_us):
        raise run_out(key)
    return Lease() if kind == RELEASE else Lease(of, max(until_us, lease.until_us))


def command_refusal(
    lease: Lease, at_epoch: int, key: WorkflowKey, kind: str, given: bytes | None, epoch: int | None, now_us: int,
    *, unleased: bool,
) -> Refused | None:  # fmt: skip
    """Why a command with the lease ``given``, planned on ``epoch``, may not step ``key``, which is ``at_epoch``. None: it may.

    ``unleased``: the contract lets its trigger pass a lease of others.
    """
    if given is not None and given != lease.id:
        return no_such_lease(key, given)
    runs = lease.runs(now_us)
    if given is not None and not runs:
        return run_out(key)
    if given is None and runs and not unleased:
        return LeaseConflictError(f"{key} is led by an orchestrator; wait, or ask it")
    if epoch is not None and epoch != at_epoch:
        return EpochMismatchError(f"{kind!r} was planned on epoch {epoch}; {key} is at {at_epoch}", epoch=at_epoch)
    return None


def no_such_lease(key: WorkflowKey, lease_id: bytes) -> LeaseValidationError:
    return LeaseValidationError(f"{key} knows no lease {UUID(bytes=lease_id)}; it was released, or another took over")


def run_out(key: WorkflowKey) -> LeaseExpiredError:
    return LeaseExpiredError(f"the lease of {key} ran out; take it again")
