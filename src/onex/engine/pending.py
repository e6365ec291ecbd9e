"""Pending: an accepted action on its way to a commit, and the answer that it gets."""

from __future__ import annotations

import asyncio
from dataclasses import KW_ONLY, dataclass
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import BaseModel

from ..kernel.action import ID_BYTES, WorkflowKey
from ..kernel.errors import DuplicateActionError, OnexError
from ..kernel.lease import WorkflowLease
from ..ports import LogRow, NewBlob, Pointer, Position
from .registry import Workflow


class Committed(NamedTuple):
    """An action is durable. ``duplicate``: it was so before this call, and this is the first answer again."""

    key: WorkflowKey
    version: int
    position: Position
    status: str
    duplicate: bool = False


Answer = Committed | WorkflowLease | OnexError


@dataclass(slots=True, eq=False)
class Pending:
    """An accepted action on its way to a commit. Nothing of it changes after it was made, but its answer and ``read_as``.

    ``read_by`` is the version that read ``kind``, ``payload`` and ``body``; ``sent_as`` is what a
    client sent, trigger and JSON, where an instance may run on another version.
    What becomes of it on the way (a refusal, a retry) is kept beside it: ``Extras.refused``, ``Folded``, ``Retry``.
    ``settles`` is the outbox row that an outcome, a timer or a message ends. ``sent``: it is a message of another instance,
    judged like anybody's action though it settles a row. ``refusal``: it could not be read, and is answered with this.
    ``given_id``: the log may hold its id already, so the log is asked before it is refused. ``ticket``: its inbox row, or 0;
    ``shard``: that row's. ``attempt``: which try of its intent an outcome comes from, else 0. ``comes_again``: a bus brings it
    again after a crash. ``cause`` is as in ``LogRow``. ``internal``: what alone may bring this trigger from a client; else ''.
    """

    key: Final[WorkflowKey]
    kind: str
    payload: BaseModel
    _: KW_ONLY
    id: Final[bytes]
    given_id: Final[bool]
    issued_us: Final[int]
    correlation: Final[bytes]
    body: bytes
    body_hash: Final[bytes]
    accepted_s: Final[float]
    issuer: Final[str] = ""
    cause: Final[bytes | None] = None
    expires_us: Final[int] = 0
    lease_id: Final[bytes | None] = None
    epoch: Final[int | None] = None
    expected_version: Final[int | None] = None
    settles: Final[Pointer | None] = None
    sent: Final[bool] = False
    timer: Final[str] = ""
    blobs: Final[tuple[NewBlob, ...]] = ()
    ticket: Final[int] = 0
    shard: Final[int] = 0
    attempt: Final[int] = 0
    refusal: Final[OnexError | None] = None
    internal: Final[str] = ""
    comes_again: Final[bool] = False
    read_by: Workflow | None = None
    sent_as: Final[tuple[str, bytes] | None] = None
    answer: Answer | None = None
    _waiters: tuple[asyncio.Future[None], ...] = ()

    def read_as(self, workflow: Workflow, kind: str, payload: BaseModel, body: bytes) -> None:
        """It is judged by another version than the one that read it. Its id and ``body_hash`` stay: it is the same action."""
        self.read_by, self.kind, self.payload, self.body = workflow, kind, payload, body

    async def answered(self) -> Answer:
        """Wait for the answer; a cancelled wait withdraws nothing."""
        while self.answer is None:
            # a future of its own: others may wait for the same action, and cancelling one must not answer them
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters += (future,)
            await future
        return self.answer

    def is_of(self, row: LogRow) -> bool:
        """Whether ``row``, applied under the same id, is this action: the same body, or the same message of the same intent.

        A message of ours that is sent again after a release may be called otherwise, or carry what a migration made of it.
        """
        again = self.sent and self.cause is not None and row.issuer == self.issuer
        again = again and row.cause_id == (self.cause or b"")[:ID_BYTES]
        return row.body_hash == self.body_hash or again

    def reused(self) -> DuplicateActionError:
        """Its refusal, when its id stands for another body."""
        return DuplicateActionError(
            f"action id {UUID(bytes=self.id)} was used before for {self.key} with another body; send a new id",
            action_id=self.id.hex(),
        )

    def resolve(self, answer: Answer) -> None:
        self.answer = answer
        for future in self._waiters:
            if not future.done():
                future.set_result(None)
