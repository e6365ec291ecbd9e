"""ActionValidator of the source documents, a preset over the law of leases (``kernel.lease``) and the engine's own checks.

To validate an action looks at the instance as it is stored now; to execute it submits it, and there the engine checks the same
again within the commit. So an action that was valid and is no longer is refused all the same, and ``validate_action`` need not be
called first: it tells early, and costs a read.
"""

from __future__ import annotations

from ..engine.arguments import checked, workflow_key
from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.pending import Committed
from ..kernel.action import ModelAction, micros
from ..kernel.errors import ActionExpiredError
from ..kernel.lease import Lease, command_refusal


class ActionValidator:
    """Validates actions against lease, epoch and expiry. It neither routes nor counts epochs: the engine does."""

    def __init__(self, engine: ReducerPatternEngine) -> None:
        self.engine = engine

    async def validate_action(self, action: ModelAction) -> bool:
        """True. Raises ActionExpiredError, LeaseConflictError, LeaseExpiredError, LeaseValidationError, EpochMismatchError."""
        key = checked(workflow_key, "key", action.workflow_key)
        workflow = self.engine.registry[key.workflow_type]
        stored, now_us = await self.engine.stored(key), self.engine.clock.now_us()
        if action.expires_at is not None and now_us > micros(action.expires_at):
            raise ActionExpiredError(f"{action.kind!r} for {key} expired at {action.expires_at}; plan it again")
        lease = Lease() if stored is None else Lease(stored.lease_id, stored.lease_until_us)
        refused = command_refusal(
            lease,
            0 if stored is None else stored.epoch,
            key,
            action.kind,
            None if action.lease_id is None else action.lease_id.bytes,
            action.epoch,
            now_us,
            unleased=action.kind in workflow.unleased,
        )
        if refused is not None:
            raise refused
        return True

    async def execute_validated_action(self, action: ModelAction) -> Committed:
        """The action is durable. Raises as ``validate_action``, UnsupportedAction for another target, and as ``submit``."""
        await self.validate_action(action)
        service = self.engine.service
        return await service.done(service.accept(self.engine.intake.from_wire(action, source="validator")))
