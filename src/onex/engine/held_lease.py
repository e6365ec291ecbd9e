"""HeldLease: a workflow lease for the length of a block. The same for an engine and for a client of one.

    async with client.lease("orders:4711", "planner-3") as lease:
        await lease.submit("reserve", {"items": 3})

The block begins when the lease is taken. ``submit`` stamps each command with the lease, the epoch and an expiry, one after the
other: the first carries the epoch the lease was taken at, the n-th after it that plus n. A task renews the lease at half of its
time. At the end it is released, whether the block succeeded or failed.

What may go wrong, and why the end is still right:

- The lease runs out, because this process stood still or the store took no commits, and another takes it. Then every command
  of this block is refused by the engine. The block need not look.
- A renewal fails for now: it is tried again soon. It fails for good: nothing more is done, for the commands will tell.
- The answer to a command is lost. Whoever sends it again with the same id gets its first answer, and the epoch is read again.
  Whoever does not gets EpochMismatchError for the next one: it would have been planned on a state nobody has seen.
- The release fails: the lease ends by itself. An error of the block is not replaced by that of the release.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Protocol, Self
from uuid import UUID

from ..kernel.action import EPOCH, WorkflowKey
from ..kernel.errors import CommitUnknown, LeaseExpiredError, LeaseValidationError, OnexError, ValidationError
from ..kernel.lease import LEASE_S, RELEASE, RENEW, TAKE, LeaseRequest, WorkflowLease
from ..ports import Clock, Stored
from .arguments import checked, workflow_key
from .dispatch import ReducerService
from .intake import Intake
from .lease_requests import asked_for, granted_of, lease_request
from .payload_reading import PayloadInput
from .pending import Committed

COMMAND_S: Final = 300.0
"""A command under a lease expires after so long, unless its sender says otherwise."""


class Orchestrated(Protocol):
    """What the block needs of an engine, or of a client of one."""

    clock: Clock

    async def take_lease(
        self, key: WorkflowKey | str, holder: str = "", duration_s: float = LEASE_S
    ) -> WorkflowLease: ...

    async def renew_lease(
        self, key: WorkflowKey | str, lease_id: UUID, duration_s: float = LEASE_S
    ) -> WorkflowLease: ...

    async def release_lease(self, key: WorkflowKey | str, lease_id: UUID) -> None: ...

    async def stored(self, key: WorkflowKey | str) -> Stored | None: ...

    async def submit(
        self,
        key: WorkflowKey | str,
        kind: str,
        payload: PayloadInput = None,
        *,
        action_id: UUID | None = None,
        correlation_id: UUID | None = None,
        issuer: str = "",
        cause: UUID | None = None,
        expires_at: datetime | None = None,
        lease_id: UUID | None = None,
        epoch: int | None = None,
        expected_version: int | None = None,
    ) -> Committed: ...


class HeldLease:
    """Made by ``lease`` of an engine or a client; use it as ``async with``. ``epoch`` is the one of the next command."""

    def __init__(self, giver: Orchestrated, key: WorkflowKey, holder: str, duration_s: float) -> None:
        self.key, self.holder, self.duration_s = key, holder, duration_s
        self.epoch = 0
        self._giver, self._clock = giver, giver.clock
        self._lease: WorkflowLease | None = None
        self._one_by_one = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None

    @property
    def lease(self) -> WorkflowLease:
        """As it was last granted. Raises ValidationError outside the block."""
        if self._lease is None:
            raise ValidationError(
                f"no lease of {self.key} is held here; use it as: async with client.lease(key) as lease"
            )
        return self._lease

    async def __aenter__(self) -> Self:
        if self._lease is not None:
            raise ValidationError(f"the lease of {self.key} is held by this block already; ask for another one")
        self._lease = await self._giver.take_lease(self.key, self.holder, self.duration_s)
        self.epoch = self._lease.epoch
        self._renewing = asyncio.create_task(self._renew(self._lease.lease_id), name="onex-lease")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait((self._renewing,))
        lease, self._lease = self.lease, None
        no_matter = (LeaseExpiredError, LeaseValidationError) if error is None else (OnexError,)
        with suppress(*no_matter):
            await self._giver.release_lease(self.key, lease.lease_id)

    async def submit(
        self,
        kind: str,
        payload: PayloadInput = None,
        *,
        action_id: UUID | None = None,
        correlation_id: UUID | None = None,
        cause: UUID | None = None,
        expires_at: datetime | None = None,
    ) -> Committed:
        """A command under this lease, by its holder. Raises what ``submit`` of the engine or the client raises."""
        async with self._one_by_one:
            lease = self.lease
            if expires_at is None:
                expires_at = EPOCH + timedelta(microseconds=self._clock.now_us(), seconds=COMMAND_S)
            done = await self._giver.submit(
                self.key,
                kind,
                payload,
                action_id=action_id,
                correlation_id=correlation_id,
                issuer=self.holder,
                cause=cause,
                expires_at=expires_at,
                lease_id=lease.lease_id,
                epoch=self.epoch,
            )
            stored = await self._giver.stored(self.key) if done.duplicate else None
            self.epoch = self.epoch + 1 if stored is None else stored.epoch
            return done

    async def _renew(self, lease_id: UUID) -> None:
        wait_s = self.duration_s / 2
        while True:
            await self._clock.sleep(wait_s)
            try:
                self._lease = await self._giver.renew_lease(self.key, lease_id, self.duration_s)
                wait_s = self.duration_s / 2
            except OnexError as error:
                if not (error.retryable or isinstance(error, CommitUnknown)):
                    return
                wait_s = self.duration_s / 20


class LeaseGiver(ABC):
    """What an engine, and a client of one, offer to orchestrators."""

    def lease(self: Orchestrated, key: WorkflowKey | str, holder: str = "", duration_s: float = LEASE_S) -> HeldLease:
        """``async with engine.lease(key) as lease: await lease.submit(...)``: taken, renewed at half time, and released."""
        asked_for(duration_s)
        return HeldLease(self, checked(workflow_key, "key", key), holder, duration_s)

    async def take_lease(
        self, key: WorkflowKey | str, holder: str = "", duration_s: float = LEASE_S, *, action_id: UUID | None = None
    ) -> WorkflowLease:
        """Lead the instance; durable when it returns. Until the lease ends, actions without it are refused, but for the
        triggers that the contract lists under ``unleased``. No version comes of it.

        The id of the lease is ``action_id``: sent again after a lost answer, the request gets the same lease.

        Raises LeaseConflictError where another leads it, NotFound where it has not begun, InstanceFinished, InstanceHeld.
        """
        return await self._asked(key, TAKE, duration_s, None, action_id, holder)

    async def renew_lease(self, key: WorkflowKey | str, lease_id: UUID, duration_s: float = LEASE_S) -> WorkflowLease:
        """The lease runs ``duration_s`` from now, or as long as it did. Raises LeaseExpiredError, LeaseValidationError."""
        return await self._asked(key, RENEW, duration_s, lease_id)

    async def release_lease(self, key: WorkflowKey | str, lease_id: UUID) -> None:
        """Nobody leads the instance from now on. Raises LeaseExpiredError, LeaseValidationError."""
        await self._asked(key, RELEASE, LEASE_S, lease_id)

    async def _asked(
        self,
        key: WorkflowKey | str,
        kind: str,
        duration_s: float,
        lease_id: UUID | None,
        action_id: UUID | None = None,
        holder: str = "",
    ) -> WorkflowLease:
        at = checked(workflow_key, "key", key)
        return await self._request_lease(at, kind, asked_for(duration_s), lease_id, action_id, holder)

    @abstractmethod
    async def _request_lease(
        self,
        key: WorkflowKey,
        kind: str,
        asked: LeaseRequest,
        lease_id: UUID | None,
        action_id: UUID | None,
        holder: str,
    ) -> WorkflowLease:
        """What the engine answers to this request. Raises the OnexError it was refused with."""


class EngineLeases(LeaseGiver):
    """The part of an engine that grants leases: the request goes to the engine's own writer."""

    intake: Intake
    service: ReducerService

    async def _request_lease(
        self,
        key: WorkflowKey,
        kind: str,
        asked: LeaseRequest,
        lease_id: UUID | None,
        action_id: UUID | None,
        holder: str,
    ) -> WorkflowLease:
        request = lease_request(self.intake, key, kind, asked, lease_id=lease_id, action_id=action_id, issuer=holder)
        return granted_of(await self.service.accept(request).answered())
