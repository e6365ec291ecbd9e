"""The six types of an action on the wire: which are served here, and what to do in place of one that is not. Pure.

    start_workflow     begins an instance: the trigger is judged at version 0 only
    update_state       the machine judges the trigger
    delegate_task      the same, for work that another action hands over: it names its parent
    abort_workflow     the same, by a trigger that ends the workflow, and only by such a one
    rollback_state     an earlier state as a new version, by whoever leads the instance
    checkpoint_state   not served: each commit writes the whole state already

What is not served is refused, and recorded like any refusal: ignored, it would look granted (decision 14).
"""

from __future__ import annotations

from ..kernel.action import EnumActionType, ModelAction
from ..kernel.errors import UnsupportedAction
from .registry import ReducerRegistry

REDUCER = "reducer"
MESSAGE = "@message"  # that of one instance to another, through the inbox: ``messenger``
ROLLS_BACK = "rollback"


def unsupported(wire: ModelAction) -> UnsupportedAction | None:
    """What it asks for that is not done here: a type, a target, a field."""
    if wire.target_node != REDUCER:
        return UnsupportedAction(
            f"target node {wire.target_node[:80]!a} takes no actions: they go to {REDUCER!r}, and what an effect or a "
            "compute function is to do is an intent of a reducer, or a task of an orchestration"
        )
    if wire.issued_at is not None:
        return UnsupportedAction("issued_at is stamped by the engine; a sender's own time is a field of the payload")
    if wire.metadata and wire.kind != MESSAGE:
        return UnsupportedAction("metadata is kept nowhere; send it as a field of the payload")
    said = _of_type(wire)
    return None if said is None else UnsupportedAction(said)


def _of_type(wire: ModelAction) -> str | None:
    match wire.action_type:
        case EnumActionType.CHECKPOINT_STATE:
            return (
                "action type 'checkpoint_state' is not served; each commit writes the whole state, so nothing is saved by one, "
                "and the engine keeps a snapshot every 1,000 versions"
            )
        case EnumActionType.START_WORKFLOW if wire.expected_version:
            return "start_workflow begins an instance, so the version it expects is 0"
        case EnumActionType.DELEGATE_TASK if wire.parent_action_id is None:
            return "delegate_task hands over work of another action; name that as parent_action_id, and its instance as issuer"
        case EnumActionType.ROLLBACK_STATE if wire.kind != ROLLS_BACK:
            return f'rollback_state is no trigger; send kind {ROLLS_BACK!r} with the payload {{"to_version": N}}'
        case EnumActionType.ROLLBACK_STATE if wire.lease_id is None:
            return (
                "rollback_state is for whoever leads the instance: take its lease (engine.lease(key), or onex.connect), and name "
                "it as lease_id; in the process that runs it, engine.rollback(key, version)"
            )
        case EnumActionType.ABORT_WORKFLOW | EnumActionType.DELEGATE_TASK if wire.kind.startswith("@"):
            return f"{wire.action_type.value} names a trigger of the contract, not {wire.kind[:80]!a}"
    return None


def not_an_end(wire: ModelAction, registry: ReducerRegistry) -> UnsupportedAction | None:
    """Of an abort whose trigger may leave the workflow running. A type that is not known is refused elsewhere."""
    workflow = registry.find(wire.workflow_key.workflow_type)
    if wire.action_type is not EnumActionType.ABORT_WORKFLOW or workflow is None or wire.kind in workflow.ends:
        return None
    known = ", ".join(sorted(workflow.ends - registry.internal[wire.workflow_key.workflow_type].keys()))
    fix = f"name {known}" if known else "its contract has no trigger that ends it in every status; send update_state"
    return UnsupportedAction(
        f"abort_workflow is sent by a trigger that ends {wire.workflow_key.workflow_type}, which {wire.kind[:80]!a} is not; {fix}"
    )
