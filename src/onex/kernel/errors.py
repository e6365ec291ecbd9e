"""The errors of ONEX. There is one class for each decision that a caller can take.

``retryable`` says whether the same call may succeed later. A message is a sentence: what happened, with which values, and
what to do next. A driver's own exception never leaves its adapter, which raises one of these instead. The names that the
seed documents give are the classes themselves. A second name for the same error is an alias at the end of this file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from .user_code import describe

Context = str | int | float | bool | None | list[str] | dict[str, str]


class OnexError(Exception):
    """Base of all errors of ONEX. ``code`` never changes and is for programs; ``context`` holds plain values for logs and JSON.

    ``trace`` is where code of the user raised, as ``user_trace.trace_text`` writes it; '' where none did.
    """

    code: ClassVar[str] = "onex"
    retryable: ClassVar[bool] = False
    trace: str = ""

    def __init__(self, message: str, **context: Context) -> None:
        super().__init__(message)
        self.message = message
        correlation_id = context.pop("correlation_id", None)
        self.correlation_id = None if correlation_id is None else str(correlation_id)
        self.context = context

    def as_json(self) -> dict[str, object]:
        """``{code, message, retryable, context[, correlation_id][, cause]}``, for a log line or an answer of an API."""
        shown: dict[str, object] = {"code": self.code, "message": self.message, "retryable": self.retryable}
        if self.context:
            shown["context"] = self.context
        if self.correlation_id:
            shown["correlation_id"] = self.correlation_id
        if self.__cause__ is not None:
            shown["cause"] = describe(self.__cause__)
        return shown

    @staticmethod
    def from_json(shown: Mapping[str, object]) -> OnexError:
        """The error that ``as_json`` wrote, of the class that has its code. OnexError where this process has none such, or
        one with arguments of its own."""
        code, context = shown.get("code"), shown.get("context")
        kind = next((one for one in _classes(OnexError) if one.code == code), OnexError)
        made_alike = kind.__init__ is OnexError.__init__
        given = context if isinstance(context, dict) else {}
        error = (kind if made_alike else OnexError)(str(shown.get("message")), **given)
        correlation = shown.get("correlation_id")
        error.correlation_id = None if correlation is None else str(correlation)
        return error


def _classes(base: type[OnexError]) -> Iterator[type[OnexError]]:
    """The class and all below it, a base before what inherits its code."""
    yield base
    for one in base.__subclasses__():
        yield from _classes(one)


# --- invalid input ---------------------------------------------------------------------------------------------------


class ValidationError(OnexError):
    """No state can accept this input. Correct the input."""

    code = "invalid"


class InvalidKey(ValidationError):
    """A workflow type or an instance id is not of the form that promise 1 allows."""

    code = "invalid_key"


class InvalidPayload(ValidationError):
    """The model of the trigger refuses the payload: a wrong type, a missing field, NaN or infinity, too deep, or NUL in text."""

    code = "invalid_payload"


class PayloadTooLarge(ValidationError):
    """A payload, result, intent or state is larger than its limit. Put large data into a ``Blob`` field."""

    code = "payload_too_large"


class ReservedKind(ValidationError):
    """A trigger that begins with ``@`` belongs to the engine and cannot be submitted. Call the engine's method for it."""

    code = "reserved_kind"


class UnsupportedAction(ValidationError):
    """This engine does not support an action type, target or field of the action. The message says what to send instead."""

    code = "unsupported_action"


class ContractError(ValidationError):
    """A contract or an app cannot be loaded. ``findings`` lists every problem, each with its file, line and fix."""

    code = "contract"

    def __init__(self, message: str, findings: tuple[object, ...] = (), **context: Context) -> None:
        super().__init__(message, **context)
        self.findings = findings


class InvalidPattern(ValidationError):
    """A pattern of ``--redact`` that can name no field."""

    code = "invalid_pattern"


class UnknownWorkflow(ValidationError):
    """No reducer is registered for this workflow type."""

    code = "unknown_workflow"


class StatusUnreachable(ValidationError):
    """What was waited for cannot come any more; ``context['reachable']`` lists the statuses that still can."""

    code = "status_unreachable"


class AlgorithmNotFoundError(ValidationError):
    """The app has no compute or effect function of this name."""

    code = "algorithm_not_found"


# --- refused actions ---------------------------------------------------------------------------------------------------


class Refused(OnexError):
    """The action was judged and not applied. The version is unchanged; a row in ``rejections`` says why."""

    code = "refused"
    handler_ran: bool = False  # then user code may have changed lists and dicts of the state in place


class DuplicateActionError(Refused):
    """This action id was used before with another body. Send a new id, or the same body again."""

    code = "duplicate_action"


class InternalTrigger(Refused):
    """Only an outcome, timer or message of the app brings this trigger. List it under ``public``, or submit as an operator."""

    code = "internal_trigger"


class InstanceFinished(Refused):
    """The instance has reached a terminal status and accepts no more actions."""

    code = "instance_finished"


class ActionExpiredError(Refused):
    """The time ``expires_at`` is over, or the id is a UUIDv7 that is older than the time for which ids are remembered."""

    code = "action_expired"


class LeaseConflictError(Refused):
    """Another orchestrator holds the lease of this workflow. Wait, or ask that orchestrator."""

    code = "lease_conflict"
    retryable = True


class LeaseExpiredError(Refused):
    """The lease is the one of this workflow, but its time is over. Take it again."""

    code = "lease_expired"


class LeaseValidationError(Refused):
    """This workflow has no lease of this id."""

    code = "lease_validation"


class EpochMismatchError(Refused):
    """The action was planned in another epoch than the workflow is in now. Plan it again."""

    code = "epoch_mismatch"


class InvalidStateTransitionError(Refused):
    """The machine has no transition for this status and trigger; ``context['accepts']`` lists the triggers it has."""

    code = "illegal_transition"


class GuardFailed(Refused):
    """Each transition for this trigger has a condition that is false or that raised."""

    code = "guard_failed"


class WorkflowExecutionError(OnexError):
    """Code of the workflow failed."""

    code = "workflow_execution"


class ReducerFailed(WorkflowExecutionError, Refused):
    """The reducer raised, broke a rule of the step, or ran longer than its budget. It is pure, so it is not tried again."""

    code = "reducer_failed"
    handler_ran = True


class InstanceHeld(WorkflowExecutionError, Refused):
    """The reducer failed three times on this instance under one code. New code or ``onex release`` releases it."""

    code = "instance_held"
    retryable = True


class QuotaExceeded(Refused):
    """The step would take more than one instance of this workflow may have (``resource_limits``). ``context`` names the quota."""

    code = "quota_exceeded"
    handler_ran = True


class StateTooNew(Refused):
    """Newer code than this process runs has written the stored state. Send it again when newer code runs."""

    code = "state_too_new"
    retryable = True


class MigrationFailed(WorkflowExecutionError, Refused):
    """A migration of the app raised, or returned something that cannot be stored. Fix it; the stored value is unchanged."""

    code = "migration_failed"


# --- load and ownership -----------------------------------------------------------------------------------------------


class Overloaded(OnexError):
    """A bounded queue is full, or an instance has more than its rate: nothing was accepted. Try again after ``retry_after_s``."""

    code = "overloaded"
    retryable = True

    @property
    def retry_after_s(self) -> float:
        return float(str(self.context.get("retry_after_s", 0.05)))


class NoAvailableSubreducersError(OnexError):
    """No worker process is there to serve this workflow."""

    code = "no_available_subreducers"
    retryable = True


class OwnershipLost(OnexError):
    """Another process owns the shard of the store now."""

    code = "ownership_lost"
    retryable = True


class FencedError(OwnershipLost):
    """The store refused a commit of an older fence. ``shards`` are another process's now; empty where the store does not say."""

    code = "fenced"
    shards: tuple[int, ...] = ()


class EngineClosed(OnexError):
    """The engine is closing or closed. Each action it accepted before is durable, or was answered with an error."""

    code = "engine_closed"


# --- the store ----------------------------------------------------------------------------------------------------------


class TransactionError(OnexError):
    """The store did not do what was asked. Unless the class says otherwise, nothing was applied."""

    code = "transaction"


class CommitUnknown(TransactionError):
    """The answer to a commit was lost, so the commit may have been applied. Send the same action id again."""

    code = "commit_unknown"
    retryable = True


class ConcurrentModificationError(TransactionError, Refused):
    """The instance is at another version than the caller decided on (``expected_version``). Read it and decide again."""

    code = "version_conflict"


class StateUpdateConflictError(ConcurrentModificationError):
    """The instance changed again and again: every retry of the engine met a conflict."""

    code = "state_update_conflict"
    retryable = True


class DatabaseConnectionError(TransactionError):
    """The store cannot be opened or reached."""

    code = "database_connection"


class TemporaryDatabaseError(TransactionError):
    """Busy, full or interrupted; nothing was applied."""

    code = "temporary_database"
    retryable = True


class StateConsistencyError(TransactionError):
    """The content of the store contradicts itself: it is damaged, or another program wrote into it."""

    code = "state_consistency"


class ProjectionLagging(OnexError):
    """The projection has not yet reached the requested position."""

    code = "projection_lagging"
    retryable = True


class DependencyResolutionError(OnexError):
    """Parts need each other in a circle, or need something that is missing. The message names them in order."""

    code = "dependency_resolution"


# --- effects --------------------------------------------------------------------------------------------------------------


class EffectFailed(OnexError):
    """An effect raises this when it surely did nothing. ``retryable=True``: try again by the retry policy of the intent, and,
    with ``retry_after_s``, not before so many seconds (an hour at most). EffectUnknown takes it too."""

    code = "effect_failed"

    def __init__(
        self, message: str, *, retryable: bool = False, code: str = "effect_failed", **context: Context
    ) -> None:
        super().__init__(message, **context)
        self.retry = retryable
        self.reason = code


class EffectUnknown(OnexError):
    """An effect raises this when it may have been done. Under ``at_least_once`` it runs again with the same key.

    ``retryable=False``: another try would not show more. An exception of another class becomes this one, ``effect_raised``.
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
    """It was running when the process died, three times in a row. An action is refused, a timer or outcome held, an effect dead."""

    code = "killed_its_process"


class NotFound(OnexError):
    """There is nothing under this key, id or name."""

    code = "missing"


IllegalTransition = InvalidStateTransitionError
VersionConflict = ConcurrentModificationError
