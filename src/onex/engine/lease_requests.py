"""Requests for a workflow lease as actions on their way to a commit, and what the inbox is answered.

A request goes through the mailbox of its instance like an action: it keeps its place in the order, is judged by the fold
(``kernel.lease``), and its answer is given when the commit that changes the lease is durable. It makes no version and no log row.
Its kind begins with ``@``, so no trigger of a contract can be spelled so. From other processes only the inbox takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from ..kernel.action import ModelAction, WorkflowKey
from ..kernel.errors import OnexError, StateConsistencyError, ValidationError
from ..kernel.lease import LEASE_MAX_S, TAKE, LeaseRequest, WorkflowLease
from ..ports import InboxRow
from .arguments import checked, client_issuer, moment_us, plain, seconds, uuid_bytes, workflow_key
from .encode import body_hash, encode_payload, json_bytes, read_payload
from .intake import Intake
from .pending import Answer, Pending


def lease_request(
    intake: Intake,
    key: WorkflowKey | str,
    kind: str,
    asked: LeaseRequest,
    *,
    lease_id: UUID | None = None,
    action_id: UUID | None = None,
    issuer: str = "",
    expires_at: datetime | None = None,
    ticket: int = 0,
    shard: int = 0,
) -> Pending:
    """The pending request. Raises InvalidKey, ValidationError for an argument that is none."""
    at = checked(workflow_key, "key", key)
    new_id = intake.ids.new() if action_id is None else checked(uuid_bytes, "action_id", action_id)
    if kind != TAKE and lease_id is None:
        raise ValidationError(f"{kind} names the lease by its lease_id; take_lease gave it")
    return Pending(
        at,
        kind,
        asked,
        id=new_id,
        given_id=False,
        issued_us=intake.clock.now_us(),
        correlation=new_id,
        body=encode_payload(asked),
        body_hash=body_hash(kind, asked),
        accepted_s=intake.clock.monotonic(),
        issuer=checked(client_issuer, "holder", issuer) if issuer else "",
        expires_us=0 if expires_at is None else max(1, checked(moment_us, "expires_at", expires_at)),
        lease_id=new_id if kind == TAKE else checked(uuid_bytes, "lease_id", lease_id),
        ticket=ticket,
        shard=shard,
    )


def lease_from_wire(intake: Intake, wire: ModelAction, row: InboxRow) -> Pending:
    """A request that came through the inbox. Raises InvalidPayload, and as ``lease_request``."""
    return lease_request(
        intake,
        wire.workflow_key,
        wire.kind,
        read_payload(LeaseRequest, json_bytes(plain("payload", wire.command_payload))),
        lease_id=wire.lease_id,
        action_id=wire.action_id,
        issuer=wire.issuer,
        expires_at=wire.expires_at,
        ticket=row.ticket,
        shard=row.shard,
    )


def asked_for(duration_s: float) -> LeaseRequest:
    """Raises ValidationError for no duration of a lease: more than 0, at most 24 h."""
    length_s = checked(seconds, "duration_s", duration_s)
    if not 0 < length_s <= LEASE_MAX_S:
        raise ValidationError(
            f"a lease of {length_s:g} s is none: give more than 0 and at most {LEASE_MAX_S:g} seconds"
        )
    return LeaseRequest(duration_s=length_s)


def granted_of(answer: Answer) -> WorkflowLease:
    """The lease of an answer to such a request. Raises the error that it is."""
    if isinstance(answer, OnexError):
        raise answer
    if not isinstance(answer, WorkflowLease):
        raise StateConsistencyError(f"a request for the lease of {answer.key} was answered as an action")
    return answer


def lease_of_json(key: WorkflowKey, answer: Mapping[str, JsonValue]) -> WorkflowLease:
    """From what an inbox row was turned into (``batch.answer_json``). Raises StateConsistencyError."""
    match answer.get("lease"):
        case {"lease_id": str(lease_id), "epoch": int(epoch), "until_us": int(until_us)}:
            return WorkflowLease(key, UUID(lease_id), epoch, until_us)
    raise StateConsistencyError(f"the store answers a request for the lease of {key} with no lease")
