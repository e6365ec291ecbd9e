"""Every error is one class per decision its reader can take; ``retryable`` says whether the same call may succeed later.

A message is a sentence: what happened, with which values, what to do next. Drivers' own exceptions never leave an
adapter: they are mapped here once, at the leaf. Names the seed documents give are the classes themselves; a second name
for the same thing is an alias at the foot of the page, never a second class.
"""

from __future__ import annotations

from typing import ClassVar

from .user_code import describe

Context = str | int | float | bool | None | list[str] | dict[str, str]


class OnexError(Exception):
    """Root of the tree. ``code`` is stable and machine-readable; ``context`` holds plain values for logs and JSON."""

    code: ClassVar[str] = "onex"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **context: Context) -> None:
        super().__init__(message)
        self.message = message
        correlation_id = context.pop("correlation_id", None)
        self.correlation_id = None if correlation_id is None else str(correlation_id)
        self.context = context

    def as_json(self) -> dict[str, object]:
        """``{code, message, retryable, context[, correlation_id][, cause]}``: what a log line or an API answer holds."""
        shown: dict[str, object] = {"code": self.code, "message": self.message, "retryable": self.retryable}
        if self.context:
            shown["context"] = self.context
        if self.correlation_id:
            shown["correlation_id"] = self.correlation_id
        if self.__cause__ is not None:
            shown["cause"] = describe(self.__cause__)
        return shown


# --- what arrived is not fit to be judged -------------------------------------------------------------------------


class ValidationError(OnexError):
    """Input that no state could accept. Mend the input."""

    code = "invalid"


class InvalidKey(ValidationError):
    """A workflow type or instance id outside promise 1."""

    code = "invalid_key"


class InvalidPayload(ValidationError):
    """A payload that its trigger's model refuses: wrong type, missing field, not finite, too deep, hostile text."""

    code = "invalid_payload"


class PayloadTooLarge(ValidationError):
    """A payload, result, intent or state over its limit. Large data belongs in a ``Blob`` field."""

    code = "payload_too_large"


class ReservedKind(ValidationError):
    """A trigger that begins with ``@`` is the engine's own: nobody submits it. Ask the engine for what it does."""

    code = "reserved_kind"


class UnsupportedAction(ValidationError):
    """An action type, target or field of the wire that no engine honours here. The message says what to send instead."""

    code = "unsupported_action"


class ContractError(ValidationError):
    """A contract or app that cannot be loaded. ``findings`` names every problem at once, each with place and mend."""

    code = "contract"

    def __init__(self, message: str, findings: tuple[object, ...] = (), **context: Context) -> None:
        super().__init__(message, **context)
        self.findings = findings


class UnknownWorkflow(ValidationError):
    """No reducer is registered for this workflow type."""

    code = "unknown_workflow"


class AlgorithmNotFoundError(ValidationError):
    """A compute or effect function that the app does not have."""

    code = "algorithm_not_found"


# --- at the door: who may act, and when -----------------------------------------------------------------------------


class Refused(OnexError):
    """The action was judged and not applied. No version moved; a row in ``rejections`` says why."""

    code = "refused"


class DuplicateActionError(Refused):
    """This action id was used before with another body. Send a new id, or the same body."""

    code = "duplicate_action"


class InstanceFinished(Refused):
    """The instance reached a terminal status; it accepts nothing more."""

    code = "instance_finished"


class ActionExpiredError(Refused):
    """Past ``expires_at``, or an id of ours older than the time dedup is remembered."""

    code = "action_expired"


class LeaseConflictError(Refused):
    """Another orchestrator holds the workflow."""

    code = "lease_conflict"
    retryable = True


class LeaseExpiredError(Refused):
    """The lease named is the workflow's, but its time is over. Take it again."""

    code = "lease_expired"


class LeaseValidationError(Refused):
    """The lease named is not one this workflow has."""

    code = "lease_validation"


class EpochMismatchError(Refused):
    """Planned on another epoch than the workflow is in now. Plan again."""

    code = "epoch_mismatch"


class InvalidStateTransitionError(Refused):
    """The machine has no row for this status and trigger; ``context['accepts']`` lists the triggers it has."""

    code = "illegal_transition"


class GuardFailed(Refused):
    """Every transition for this trigger has a condition that is false or that raised."""

    code = "guard_failed"


class WorkflowExecutionError(OnexError):
    """The workflow's own code did not do its part."""

    code = "workflow_execution"


class ReducerFailed(WorkflowExecutionError, Refused):
    """``delta`` raised, broke a rule of the step, or ran past its budget. It is pure, so it is not tried again."""

    code = "reducer_failed"


class InstanceHeld(WorkflowExecutionError, Refused):
    """The reducer failed three times on this instance under one code: released by new code or by an operator."""

    code = "instance_held"
    retryable = True


class StateTooNew(Refused):
    """The stored state was written by newer code than this process runs. Leave it to that code."""

    code = "state_too_new"


class MigrationFailed(WorkflowExecutionError, Refused):
    """A migration of the app raised, or returned what is no value. Mend it; the stored value is untouched."""

    code = "migration_failed"


# --- load and ownership -----------------------------------------------------------------------------------------------


class Overloaded(OnexError):
    """A bounded queue is full; nothing of this call was accepted. ``retry_after_s`` in seconds."""

    code = "overloaded"
    retryable = True

    def __init__(self, message: str, retry_after_s: float = 0.05, **context: Context) -> None:
        super().__init__(message, retry_after_s=retry_after_s, **context)
        self.retry_after_s = retry_after_s


class NoAvailableSubreducersError(OnexError):
    """No live worker serves this workflow."""

    code = "no_available_subreducers"
    retryable = True


class OwnershipLost(OnexError):
    """Another process owns the shard now."""

    code = "ownership_lost"
    retryable = True


class FencedError(OwnershipLost):
    """The store refused a commit: its fence is older than the shard's."""

    code = "fenced"


class EngineClosed(OnexError):
    """The engine is closing or closed; what was accepted before is durable or was answered."""

    code = "engine_closed"


# --- the store ----------------------------------------------------------------------------------------------------------


class TransactionError(OnexError):
    """The store did not do what was asked, and nothing of it was applied."""

    code = "transaction"


class CommitUnknown(TransactionError):
    """The answer to a commit was lost: it may have been applied. Send the same action id again."""

    code = "commit_unknown"
    retryable = True


class ConcurrentModificationError(TransactionError):
    """Another commit to this key came first."""

    code = "version_conflict"
    retryable = True


class StateUpdateConflictError(ConcurrentModificationError):
    """The key kept moving: every retry of the engine met a conflict."""

    code = "state_update_conflict"


class DatabaseConnectionError(TransactionError):
    """The store cannot be opened or reached."""

    code = "database_connection"


class TemporaryDatabaseError(TransactionError):
    """Busy, full or interrupted; nothing was applied."""

    code = "temporary_database"
    retryable = True


class StateConsistencyError(TransactionError):
    """What the store holds contradicts itself: damage, or a hand that wrote into it."""

    code = "state_consistency"


class ProjectionLagging(OnexError):
    """The projection has not reached the position asked for."""

    code = "projection_lagging"
    retryable = True


class DependencyResolutionError(OnexError):
    """Things that wait for each other, or for something that is not there; the message names them in order."""

    code = "dependency_resolution"


# --- effects --------------------------------------------------------------------------------------------------------------


class EffectFailed(OnexError):
    """Raised by an effect: surely not done. ``retryable=True`` asks the relay to try again by the intent's policy."""

    code = "effect_failed"

    def __init__(
        self, message: str, *, retryable: bool = False, code: str = "effect_failed", **context: Context
    ) -> None:
        super().__init__(message, **context)
        self.retry = retryable
        self.reason = code


class EffectUnknown(OnexError):
    """Raised by an effect: it may have been done. Under ``at_least_once`` it runs again with the same key.

    ``retryable=False`` says that another try would tell no more. What an effect raises that is neither this nor
    EffectFailed becomes this, its ``reason`` being ``effect_raised``.
    """

    code = "effect_unknown"
    retryable = True

    def __init__(
        self, message: str, *, retryable: bool = True, code: str = "effect_unknown", **context: Context
    ) -> None:
        super().__init__(message, **context)
        self.retry = retryable
        self.reason = code


class KilledItsProcess(OnexError):
    """It was running at three crashes in a row: an action is refused, a timer or outcome held, an effect dead, until re-driven."""

    code = "killed_its_process"


class NotFound(OnexError):
    """What was asked for is not there."""

    code = "missing"


IllegalTransition = InvalidStateTransitionError
VersionConflict = ConcurrentModificationError
