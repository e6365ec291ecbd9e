"""NodeReducerPatternEngine: the engine as a node. An input is a list of actions for one instance, an output is their answers.

    reduce({data: [action, ...]}) -> {aggregated_data: [answer, ...], aggregated_state: state, metadata}

Theory of operation of one call:

1. Each record becomes a ``ModelAction``. One that cannot be read refuses the whole input: nothing was sent.
2. A record without an id gets ``uuid5(operation_id, n)``; one without either is refused. So a caller that lost an answer sends
   the same input again, and each action is applied once.
3. Records are submitted one after the other; the next goes when the one before it is durable. What the engine refuses is an
   answer like any other. With ``partial_results_enabled`` it stands in the output and the next record goes; else it is raised,
   and what follows it is not sent.
4. The state is read once, after the last record. It is not older than the last answer, and may be newer.

The intents of the steps are not in the output: the engine runs them, and whoever ran them again would do it twice.

What may go wrong: the engine does not answer, because its store is away or its shard is elsewhere. A call waits
``max_execution_time_ms`` at most and then raises CommitUnknown: the action may be applied, and is sent again with the same id.
Calls without an answer open the circuit breaker of the contract: then the next are refused at once with ``retry_after_s``, so
they do not pile up before a store that is away. A refusal is an answer and closes it; an overload or a close tells nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Protocol, Self
from uuid import uuid5

from pydantic import JsonValue
from pydantic import ValidationError as PydanticError
from pydantic_core import from_json

from ..contracts.model.reducer_pattern import ModelContractReducerPattern
from ..engine.circuit_breaker import CircuitBreaker
from ..engine.held_lease import Orchestrated
from ..engine.pending import Committed
from ..engine.wire_support import unsupported
from ..kernel.action import EnumActionType, ModelAction, WorkflowKey
from ..kernel.errors import (
    CommitUnknown,
    EngineClosed,
    InvalidPayload,
    OnexError,
    Overloaded,
    Refused,
    ValidationError,
)
from ..kernel.retry import BreakerPolicy
from ..kernel.visible_text import visible
from .reducer import EnumStreamingMode, ModelReducerInput, ModelReducerOutput

TAKEN: Final = frozenset({"correlation_id", "data", "operation_id"})
"""The fields of an input that mean something here. The others say how values are aggregated."""
ANSWERS = (Refused, ValidationError)
"""The engine has judged the action: its errors are answers."""
TELL_NOTHING = (Overloaded, EngineClosed)


class NodeEngine(Orchestrated, Protocol):
    """An engine of this process, or a client of one that runs elsewhere."""

    async def close(self) -> None: ...


class NodeReducerPatternEngine:
    """``engine`` is ``onex.open(...)`` or ``onex.connect(...)``. ``owns_engine``: ``close`` closes it too."""

    def __init__(self, engine: NodeEngine, contract: ModelContractReducerPattern, *, owns_engine: bool = False) -> None:
        self.engine, self.contract = engine, contract
        self.breaker = CircuitBreaker(engine.clock, _policy(contract))
        limit_ms = None if contract.performance is None else contract.performance.max_execution_time_ms
        self.limit_s = None if limit_ms is None else limit_ms / 1000
        self._owns_engine = owns_engine
        self._closing = False
        self._running = 0
        self._none_runs = asyncio.Event()
        self._none_runs.set()

    async def reduce(self, reducer_input: ModelReducerInput) -> ModelReducerOutput:
        """``metadata``: workflow_type, instance_id, execution_time_ms.

        Raises InvalidPayload and ValidationError for an input that is none; what ``submit`` raises (``record`` in its ``context``
        is the number of the record, and all before it had their answers); CommitUnknown when no answer came in time; Overloaded
        while the breaker is open; EngineClosed.
        """
        actions = _actions(reducer_input, self.contract.name)
        key = actions[0].workflow_key
        started_s = self.engine.clock.monotonic()
        answers: list[JsonValue] = []
        try:
            async with self._call(key):
                for action in actions:
                    answers.append(await self._answer(action))
                stored = await self.engine.stored(key)
        except OnexError as error:
            error.correlation_id = error.correlation_id or str(reducer_input.correlation_id)
            if len(answers) < len(actions):
                error.context |= {"record": len(answers), "workflow_key": str(key)}
            raise
        state = b"{}" if stored is None or stored.version == 0 else stored.state
        return ModelReducerOutput(
            correlation_id=reducer_input.correlation_id,
            operation_id=reducer_input.operation_id,
            aggregated_data=answers,
            aggregated_state=from_json(state),
            previous_state=None,
            records_processed=len(actions),
            batches_processed=1,
            reduction_ratio=1 / len(actions),
            state_size=len(state),
            streaming_mode=EnumStreamingMode.BATCH,
            metadata={
                "workflow_type": key.workflow_type,
                "instance_id": key.instance_id,
                "execution_time_ms": round((self.engine.clock.monotonic() - started_s) * 1000, 3),
            },
        )

    async def ping(self) -> None:
        """For the health of a container. Raises EngineClosed, and Overloaded while the breaker is open."""
        self._check_open()
        if not self.breaker.is_closed:
            raise self._overloaded()

    async def close(self) -> None:
        """New calls are refused, those that run get their answers. Idempotent."""
        self._closing = True
        if self._owns_engine:
            await self.engine.close()
        await self._none_runs.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- how ----------------------------------------------------------------------------------------------------------

    async def _answer(self, action: ModelAction) -> dict[str, JsonValue]:
        try:
            done = await self.engine.submit(
                action.workflow_key,
                action.kind,
                action.command_payload,
                action_id=action.action_id,
                correlation_id=action.correlation_id,
                issuer=action.issuer,
                cause=action.parent_action_id,
                expires_at=action.expires_at,
                lease_id=action.lease_id,
                epoch=action.epoch,
                expected_version=0 if action.action_type is EnumActionType.START_WORKFLOW else action.expected_version,
            )
        except ANSWERS as refused:
            if not self.contract.partial_results_enabled:
                raise
            return {"error": refused.as_json()}  # type: ignore[dict-item]  # plain values, as its docstring says
        return _shown(done)

    @asynccontextmanager
    async def _call(self, key: WorkflowKey) -> AsyncIterator[None]:
        """One call of the engine: within its time, past a breaker that is closed, and seen by ``close``."""
        self._check_open()
        if not self.breaker.allow():
            raise self._overloaded()
        self._running += 1
        self._none_runs.clear()
        limit = asyncio.timeout(self.limit_s)
        try:
            async with limit:
                yield
        except ANSWERS:
            self.breaker.record(succeeded=True)
            raise
        except TELL_NOTHING:
            self.breaker.withdraw()
            raise
        except TimeoutError as error:
            self.breaker.record(succeeded=False)
            if not limit.expired():
                raise
            raise CommitUnknown(
                f"{key} had no answer within {self.limit_s} s, and its action may be applied; send the same input again"
            ) from error
        except Exception:
            self.breaker.record(succeeded=False)
            raise
        except BaseException:
            self.breaker.withdraw()
            raise
        else:
            self.breaker.record(succeeded=True)
        finally:
            self._running -= 1
            if not self._running:
                self._none_runs.set()

    def _check_open(self) -> None:
        if self._closing:
            raise EngineClosed(f"the node {self.contract.name} was closed; make it again and send the same input")

    def _overloaded(self) -> Overloaded:
        wait_s = self.breaker.retry_after_s
        return Overloaded(
            f"the engine of {self.contract.name} did not answer {self.breaker.policy.failures} calls in a row; send the "
            f"same input again in {wait_s:.1f} s",
            retry_after_s=wait_s,
        )


def _policy(contract: ModelContractReducerPattern) -> BreakerPolicy:
    given, policy = contract.circuit_breaker, BreakerPolicy()
    if given is None:
        return policy
    return BreakerPolicy(
        given.failure_threshold or policy.failures,
        policy.open_s if given.timeout_ms is None else given.timeout_ms / 1000,
        given.half_open_requests or policy.probes,
    )


def _actions(task: ModelReducerInput, issuer: str) -> Sequence[ModelAction]:
    """All of one instance. Raises ValidationError, InvalidPayload, InvalidKey, UnsupportedAction."""
    foreign = sorted(task.model_fields_set - TAKEN)
    if foreign:
        raise ValidationError(
            f"{', '.join(foreign)}: this node sends actions to workflows and takes {', '.join(sorted(TAKEN))}; values are "
            "aggregated by NodeReducer"
        )
    if not task.data:
        raise ValidationError("data is empty; give a list of actions, for example "
                              '[{"workflow_type": "orders", "instance_id": "7", "kind": "place"}]')  # fmt: skip
    actions = [_action(record, n, task, issuer) for n, record in enumerate(task.data)]
    other = next((one for one in actions if one.workflow_key != actions[0].workflow_key), None)
    if other is not None:
        raise ValidationError(
            f"data holds actions of {actions[0].workflow_key} and of {other.workflow_key}; send one input for each instance"
        )
    return actions


def _action(record: JsonValue, n: int, task: ModelReducerInput, issuer: str) -> ModelAction:
    """A record is a ModelAction; its key may be given as ``workflow_type`` and ``instance_id``."""
    given = dict(record) if isinstance(record, dict) else {}
    if not given:
        raise InvalidPayload(f"record {n} is no action; give an object with workflow_type, instance_id and kind")
    key = {name: given.pop(name) for name in WorkflowKey._fields if name in given}
    try:
        action = ModelAction.model_validate({"workflow_key": key, **given} if key else given)
    except PydanticError as error:
        problems = [
            f"{visible('.'.join(map(str, one['loc'])))}: {one['msg']}" for one in error.errors(include_url=False)
        ]
        raise InvalidPayload(f"record {n} is no action: {'; '.join(problems[:3])}"[:500]) from None
    refusal = unsupported(action)
    if refusal is not None:
        raise refusal
    if action.action_id is None and task.operation_id is None:
        raise ValidationError(
            f"record {n} has no action_id, and its input no operation_id; give one of them, and the same again when an "
            "answer was lost: then it is applied once"
        )
    minted = None if task.operation_id is None else uuid5(task.operation_id, str(n))
    return action.model_copy(
        update={
            "workflow_key": WorkflowKey.of(*action.workflow_key),
            "action_id": action.action_id or minted,
            "correlation_id": action.correlation_id or task.correlation_id,
            "issuer": action.issuer or issuer,
        }
    )


def _shown(done: Committed) -> dict[str, JsonValue]:
    return {
        "version": done.version,
        "position": [done.position.shard, done.position.n],
        "status": done.status,
        "duplicate": done.duplicate,
    }
