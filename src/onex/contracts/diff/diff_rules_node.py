"""What changes of a node mean to others: its names and models, what it hears and says, what it needs and does."""

from __future__ import annotations

from collections.abc import Mapping

from .rule import DiffRule, FieldPair
from .version_bump import Impact, adds, breaks, owes_nothing, tells


def _node_type(pair: FieldPair) -> Impact:
    before, after = (contract.kind for contract in pair.contracts)
    if before is after:
        return tells("another word for the same kind, {new}")
    return breaks(f"it was {before} and is {after}: another kind of node")


def _dependency_new(pair: FieldPair) -> Impact:
    required = getattr(pair.new, "required", None)
    return adds("an optional dependency more") if required is False else breaks("{name} must be there now")


def _required(pair: FieldPair) -> Impact:
    # a dependency that says nothing is required, as everywhere in ONEX
    return adds("it is optional now") if pair.new is False else breaks("it must be there now")


def _purity(pair: FieldPair) -> Impact:
    if pair.old == "pure":
        return breaks("it claims to be pure no more: whoever repeats or caches it may not")
    return adds("another claim of purity")


def _idempotent(pair: FieldPair) -> Impact:
    return breaks("it may not be repeated any more") if pair.new is not True else adds("it may be repeated now")


def _enabled(pair: FieldPair) -> Impact:
    return breaks("it is switched off") if pair.new is False else adds("it is switched on")


def _field_new(pair: FieldPair) -> Impact:
    required = getattr(pair.new, "required", None)
    return breaks("{name} must be given now") if required is True else adds("{name} is taken too")


_HEARD = DiffRule(
    added=adds("it hears {name} too"), removed=breaks("it no longer hears {name}: its senders speak to nobody")
)
_SAID = DiffRule(
    added=adds("it says {name} too"), removed=breaks("it no longer says {name}: its hearers wait for ever")
)
_TYPE = DiffRule.always(breaks("it is another class"))
_RENAMED = DiffRule.always(breaks("whoever names it finds nothing under the old name"))
_DONE = DiffRule(added=adds("{name} is offered too"), removed=breaks("{name} is no longer offered"))
_FIELD_IN = DiffRule(added=_field_new, removed=breaks("{name} is no longer taken"))
_FIELD_OUT = DiffRule(added=adds("{name} is given too"), removed=breaks("{name} is no longer given"))
_SHAPE = DiffRule.always(breaks("messages have another shape"))
_ADDRESS = DiffRule.always(breaks("it calls somewhere else"))

_ELSEWHERE = DiffRule.always(tells("its code lives elsewhere"))

NODE_RULES: Mapping[str, DiffRule] = {
    "ModelContractBase.name": DiffRule(breaks("whoever names it finds nothing under the old name")),
    "ModelContractBase.node_type": DiffRule(_node_type),
    "ModelContractBase.contract_version": DiffRule.always(owes_nothing("this is the bump that was made")),
    "ModelContractBase.input_model": DiffRule(
        added=tells("its class is named"), removed=breaks("its class is not named")
    ),
    "ModelContractBase.input_model.name": _TYPE,
    "ModelContractBase.output_model": DiffRule(
        added=tells("its class is named"), removed=breaks("its class is not named")
    ),
    "ModelContractBase.output_model.name": _TYPE,
    "ModelContractBase.published_events": _SAID,
    "ModelContractBase.consumed_events": _HEARD,
    "ModelContractBase.terminal_event": DiffRule.always(breaks("the event that says the end is another")),
    "ModelContractBase.dependencies": DiffRule(added=_dependency_new, removed=adds("it needs less")),
    "ModelDependency.required": DiffRule.always(_required),
    "ModelReference.module": _ELSEWHERE,
    "ModelDependency.module": _ELSEWHERE,
    "ModelDependency.class_name": _ELSEWHERE,
    "ModelDependency.type": DiffRule.always(breaks("another sort of thing must be there")),
    "ModelDescriptor.purity": DiffRule.always(_purity),
    "ModelDescriptor.idempotent": DiffRule.always(_idempotent),
    "ModelEventBus.enabled": DiffRule.always(_enabled),
    "ModelEventBus.publish_topics": _SAID,
    "ModelEventBus.subscribe_topics": _HEARD,
    "ModelTopic.event_type": DiffRule.always(breaks("another event travels on it")),
    "ModelTopic.schema_ref": DiffRule.always(breaks("messages on it have another shape")),
    "ModelTopic.external": DiffRule.always(tells("where its other end lies is told otherwise")),
    "ModelHandlerRouting.handlers": DiffRule(
        added=adds("{name} is taken too"), removed=breaks("nobody takes {name} now")
    ),
    "ModelHandlerRouting.default_handler": DiffRule(removed=breaks("what no handler takes is refused now")),
    "ModelHandler.event_model.name": _TYPE,
    "ModelHandler.event_type": _TYPE,
    "ModelHandler.topic": DiffRule.always(breaks("it listens elsewhere")),
    "ModelHandler.output_events": _SAID,
    "ModelContractBase.node_name": _RENAMED,
    "ModelContractBase.contract_name": _RENAMED,
    "ModelContractBase.node_id": _RENAMED,
    "ModelContractBase.tool_name": _RENAMED,
    "ModelContractBase.fingerprint": DiffRule.always(owes_nothing("it is computed from the rest")),
    "ModelContractBase.io_operations": _DONE,
    "ModelContractBase.operations": _DONE,
    "ModelContractBase.actions": _DONE,
    "ModelContractBase.capabilities": _DONE,
    "ModelOperation.input_fields": _FIELD_IN,
    "ModelOperation.output_fields": _FIELD_OUT,
    "ModelOperation.input_model.name": _TYPE,
    "ModelOperation.output_model.name": _TYPE,
    "ModelOperation.output_topic": DiffRule.always(breaks("what it says goes elsewhere")),
    "ModelOperation.operation_type": DiffRule.always(breaks("it is another sort of operation")),
    "ModelOperation.idempotent": DiffRule.always(_idempotent),
    "ModelOperationField.required": DiffRule.always(_required),
    "ModelOperationField.type": DiffRule.always(breaks("it is of another type")),
    "ModelEffectSubcontract.operations": _DONE,
    "ModelEffectOperation.idempotent": DiffRule.always(_idempotent),
    "ModelIoConfig.handler_type": _ADDRESS,
    "ModelIoConfig.url_template": _ADDRESS,
    "ModelIoConfig.method": _ADDRESS,
    "ModelIoConfig.topic": _ADDRESS,
    "ModelComputeSubcontract.input_schema_ref": _SHAPE,
    "ModelComputeSubcontract.output_schema_ref": _SHAPE,
    "ModelComputeSubcontract.pipeline": DiffRule(
        added=adds("step {name} is new"), removed=breaks("step {name} is gone")
    ),
    "ModelWorkflowCoordination.steps": DiffRule(
        added=adds("step {name} is new"), removed=breaks("step {name} is gone")
    ),
    "ModelWorkflowCoordination.edges": DiffRule(
        added=adds("a step waits for one more"), removed=breaks("a step no longer waits for {name}")
    ),
    "ModelWorkflowStep.depends_on": DiffRule(
        added=adds("it waits for {name} too"), removed=breaks("it no longer waits for {name}")
    ),
    "ModelWorkflowStep.node": DiffRule.always(breaks("another node does it")),
    "ModelWorkflowStep.required": DiffRule.always(adds("whether it may fail is another")),
    "ModelKafkaConfig.intent_topic": DiffRule.always(breaks("intents go elsewhere")),
    "ModelKafkaConfig.envelope_format": _SHAPE,
}
