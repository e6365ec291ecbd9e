"""WireActions: an action of the wire becomes a pending action, a rollback too, whose state has to be read first.

A rollback names a version. The state of that version is folded from the log (``refold``), which never changes behind it. So it
may be read before the action takes its turn: what was version 3 then is version 3 when it is applied.
"""

from __future__ import annotations

from pydantic import Field

from ..kernel.action import EnumActionType, ModelAction, Payload, WorkflowKey
from ..kernel.errors import OnexError, ValidationError
from ..kernel.step import ROLLBACK, Rollback
from ..ports import Reader
from .arguments import plain
from .encode import json_bytes, read_payload
from .intake import Intake
from .pending import Pending
from .refold import proven_state_at
from .wire_support import unsupported


class RollbackTo(Payload):
    """What a ``rollback_state`` carries."""

    to_version: int = Field(ge=1)


class WireActions:
    """Of one engine. ``intake`` is where all actions come in."""

    def __init__(self, intake: Intake, reader: Reader) -> None:
        self.intake, self.reader = intake, reader

    async def earlier_state(self, key: WorkflowKey, to_version: int) -> Rollback:
        """The state of ``to_version``, as what a rollback to it carries.

        Raises ValidationError for a version that the instance does not have, and StateConsistencyError where today's code
        cannot tell what that state was.
        """
        workflow = self.intake.registry[key.workflow_type]
        stored = (await self.reader.load([key])).get(key)
        last = stored.version if stored is not None else 0
        if not 1 <= to_version <= last:
            raise ValidationError(f"{key} has no version {to_version} to go back to; its last is {last}")
        state = await proven_state_at(self.reader, workflow, key, to_version)
        return Rollback(to_version=to_version, state=state.model_dump(mode="json"))

    async def asked_back(self, wire: ModelAction) -> Rollback | OnexError | None:
        """Of a rollback what it carries, or why it is refused; None for every other action. Raises what may be tried again."""
        if wire.action_type is not EnumActionType.ROLLBACK_STATE or unsupported(wire) is not None:
            return None
        try:
            asked = read_payload(RollbackTo, json_bytes(plain("payload", wire.command_payload)))
            return await self.earlier_state(WorkflowKey.of(*wire.workflow_key), asked.to_version)
        except OnexError as error:
            if error.retryable:
                raise
            return error

    def pending(
        self,
        wire: ModelAction,
        back: Rollback | OnexError | None,
        *,
        source: str,
        ticket: int = 0,
        shard: int = 0,
        comes_again: bool = False,
    ) -> Pending:
        """``back`` is what ``asked_back`` gave."""
        if not isinstance(back, Rollback):
            return self.intake.from_wire(
                wire, ticket=ticket, shard=shard, source=source, comes_again=comes_again, refusal=back
            )
        return self.intake.pending(
            wire.workflow_key,
            ROLLBACK,
            back,
            action_id=wire.action_id,
            correlation_id=wire.correlation_id,
            issuer=wire.issuer,
            cause=wire.parent_action_id,
            expires_at=wire.expires_at,
            lease_id=wire.lease_id,
            epoch=wire.epoch,
            expected_version=wire.expected_version,
            ticket=ticket,
            shard=shard,
            source=source,
            ours=True,
            comes_again=comes_again,
        )
