"""What each change of a contract means to its users: a table by class and field, with the reason as a sentence.

A field that is not listed has the rule of its shape: an entry or block that is gone breaks, one that is new adds, a value that
differs adds, prose is a patch. So a field that is added to a contract later is compared too, and strictly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from ..model.contract import ModelResourceLimits
from ..model.fsm import ModelFSMSubcontract, ModelFSMTransition, ModelIntentRetry
from ..model.part import ModelContractVersion, Use
from ..model.schedule import ModelSchedule
from ..model.start import ModelStartBatch, ModelStartRate
from .impact import DiffRule, FieldPair, Impact, ImpactOf, adds, breaks, owes_nothing, words_differ


def _node_type(pair: FieldPair) -> Impact:
    before, after = (contract.kind for contract in pair.contracts)
    if before is after:
        return words_differ("another word for the same kind, {new}")
    return breaks(f"it was {before} and is {after}: another kind of node")


def _dependency_new(pair: FieldPair) -> Impact:
    required = getattr(pair.new, "required", None)
    return adds("it has one more optional dependency") if required is False else breaks("{name} must be there now")


def _required(pair: FieldPair) -> Impact:
    # a dependency that says nothing is required, as everywhere in ONEX
    return adds("it is optional now") if pair.new is False else breaks("it must be there now")


def _purity(pair: FieldPair) -> Impact:
    if pair.old == "pure":
        return breaks("it no longer claims to be pure, so its results may not be cached or repeated")
    return adds("its purity differs")


def _idempotent(pair: FieldPair) -> Impact:
    return breaks("it may not be repeated any more") if pair.new is not True else adds("it may be repeated now")


def _enabled(pair: FieldPair) -> Impact:
    return breaks("it is switched off") if pair.new is False else adds("it is switched on")


def _becomes(pair: FieldPair) -> Impact:
    """Of a topic of ours it is the trigger that a message becomes; others write in words when they publish."""
    if any(isinstance(one, str) and " " in one.strip() for one in (pair.old, pair.new)):
        return words_differ("only the text differs")
    return breaks("a message on it becomes another action")


def _quota(pair: FieldPair) -> Impact:
    """None is no quota."""
    old, new = (float("inf") if one is None else float(str(one)) for one in (pair.old, pair.new))
    return breaks("an instance may take less now") if new < old else adds("an instance may take more now")


def _field_new(pair: FieldPair) -> Impact:
    required = getattr(pair.new, "required", None)
    return breaks("{name} must be given now") if required is True else adds("{name} is accepted too")


_HEARD = DiffRule(
    added=adds("it also subscribes to {name}"),
    removed=breaks("it no longer subscribes to {name}: what is sent there is not handled"),
)
_SAID = DiffRule(
    added=adds("it also publishes {name}"),
    removed=breaks("it no longer publishes {name}: its subscribers wait for ever"),
)
_TYPE = DiffRule.always(breaks("it is another class"))
_RENAMED = DiffRule.always(breaks("references to the old name no longer resolve"))
_DONE = DiffRule(added=adds("{name} is offered too"), removed=breaks("{name} is no longer offered"))
_FIELD_IN = DiffRule(added=_field_new, removed=breaks("{name} is no longer accepted"))
_FIELD_OUT = DiffRule(added=adds("{name} is returned too"), removed=breaks("{name} is no longer returned"))
_SHAPE = DiffRule.always(breaks("messages have another shape"))
_ADDRESS = DiffRule.always(breaks("it calls another address"))

_ELSEWHERE = DiffRule.always(words_differ("its code is elsewhere"))

NODE_RULES: Mapping[str, DiffRule] = {
    "ModelContractBase.name": DiffRule(breaks("references to the old name no longer resolve")),
    "ModelContractBase.node_type": DiffRule(_node_type),
    "ModelContractBase.contract_version": DiffRule.always(owes_nothing("this is the bump that was made")),
    "ModelContractBase.input_model": DiffRule(
        added=words_differ("its class is named"), removed=breaks("its class is not named")
    ),
    "ModelContractBase.input_model.name": _TYPE,
    "ModelContractBase.output_model": DiffRule(
        added=words_differ("its class is named"), removed=breaks("its class is not named")
    ),
    "ModelContractBase.output_model.name": _TYPE,
    "ModelContractBase.published_events": _SAID,
    "ModelContractBase.consumed_events": _HEARD,
    "ModelContractBase.terminal_event": DiffRule.always(breaks("another event reports the end")),
    "ModelContractBase.dependencies": DiffRule(added=_dependency_new, removed=adds("it has one dependency less")),
    "ModelDependency.required": DiffRule.always(_required),
    "ModelReference.module": _ELSEWHERE,
    "ModelDependency.module": _ELSEWHERE,
    "ModelDependency.class_name": _ELSEWHERE,
    "ModelDependency.type": DiffRule.always(breaks("the dependency must be of another type")),
    "ModelDescriptor.purity": DiffRule.always(_purity),
    "ModelDescriptor.idempotent": DiffRule.always(_idempotent),
    "ModelEventBus.enabled": DiffRule.always(_enabled),
    "ModelEventBus.publish_topics": _SAID,
    "ModelEventBus.subscribe_topics": _HEARD,
    "ModelTopic.event_type": DiffRule.always(breaks("it carries another event")),
    "ModelTopic.schema_ref": DiffRule.always(breaks("messages on it have another shape")),
    "ModelTopic.trigger": DiffRule.always(_becomes),
    "ModelTopic.partition_key": DiffRule.always(breaks("another key: another instance gets it, or in another order")),
    "ModelTopic.payload_fields": DiffRule(changed=breaks("messages on it have another shape")),
    "ModelTopic.external": DiffRule.always(words_differ("its other end is described differently")),
    "ModelHandlerRouting.handlers": DiffRule(
        added=adds("{name} is accepted too"), removed=breaks("no handler takes {name} now")
    ),
    "ModelHandlerRouting.default_handler": DiffRule(removed=breaks("what no other handler takes is refused now")),
    "ModelHandler.event_model.name": _TYPE,
    "ModelHandler.event_type": _TYPE,
    "ModelHandler.topic": DiffRule.always(breaks("it subscribes to another topic")),
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
    "ModelOperation.output_topic": DiffRule.always(breaks("its output goes to another topic")),
    "ModelOperation.operation_type": DiffRule.always(breaks("it is another type of operation")),
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
    "ModelWorkflowStep.required": DiffRule.always(adds("whether it may fail differs")),
    "ModelKafkaConfig.intent_topic": DiffRule.always(breaks("intents go to another topic")),
    "ModelKafkaConfig.envelope_format": _SHAPE,
}


def machines(pair: FieldPair) -> tuple[ModelFSMSubcontract | None, ModelFSMSubcontract | None]:
    return pair.contracts[0].state_machine, pair.contracts[1].state_machine


def mentioned(machine: ModelFSMSubcontract | None) -> tuple[str, ...]:
    """The states a machine has, declared or not, in its order."""
    if machine is None:
        return ()
    names = [state.name for state in machine.states or ()]
    names += [machine.initial_state]
    names += [name for one in machine.transitions for name in (one.from_state, one.to_state) if name != "*"]
    return tuple(dict.fromkeys([*names, *machine.terminal_states]))


# --- rules that need more than the value -------------------------------------------------------------------------------


def _became_terminal(pair: FieldPair) -> Impact:
    if pair.name not in mentioned(machines(pair)[0]):
        return adds("a new terminal state")
    return breaks("{name} became terminal: what it accepted is refused there")


def _no_more_terminal(pair: FieldPair) -> Impact:
    if pair.name not in mentioned(machines(pair)[1]):
        return breaks("the terminal state {name} is gone: who waits for it waits for ever")
    return breaks("{name} is no longer terminal: who waits for the end there goes on waiting")


def _transition_gone(pair: FieldPair) -> Impact:
    gone, machine = pair.old, machines(pair)[1]
    assert isinstance(gone, ModelFSMTransition), "the rule stands at transitions"
    triggers = {one.trigger for one in machine.transitions} if machine else set()
    if gone.trigger not in triggers:
        return breaks(f"trigger {gone.trigger!r} is accepted nowhere any more")
    return breaks(f"{gone.trigger!r} no longer leads from {gone.from_state!r} to {gone.to_state!r}")


def _priority(pair: FieldPair) -> Impact:
    one, machine = pair.parents[1], machines(pair)[1]
    assert isinstance(one, ModelFSMTransition), "the rule stands at transitions"
    rivals = [t for t in machine.transitions if t.trigger == one.trigger] if machine else []
    if len(rivals) > 1:
        return breaks("of the transitions of one trigger another may be tried first")
    return adds("it has another priority")


def _order(pair: FieldPair) -> Impact:
    first: list[dict[tuple[str, str, int], list[str]]] = []
    for machine in machines(pair):
        tried: dict[tuple[str, str, int], list[str]] = {}
        for one in machine.transitions if machine else ():
            tried.setdefault((one.trigger, one.from_state, one.priority), []).append(one.to_state)
        first.append(tried)
    if any(_reordered(states, first[1].get(key, [])) for key, states in first[0].items()):
        return breaks("transitions of one state and trigger are tried in another order")
    return words_differ("the order differs, but not among transitions that compete")


def _reordered(old: Sequence[str], new: Sequence[str]) -> bool:
    """Whether what is in both comes in another order; what is only in one is a change of its own."""
    kept_old, kept_new = [one for one in old if one in new], [one for one in new if one in old]
    return kept_old != kept_new and sorted(kept_old) == sorted(kept_new)


def _payload(pair: FieldPair) -> Impact:
    one = pair.parents[1]
    trigger = one.trigger if isinstance(one, ModelFSMTransition) else f"intents.{getattr(one, 'name', '')}"
    if trigger in pair.compared:
        return words_differ("the class has another name; its fields are compared by themselves")
    if pair.old is None:
        return breaks("it must carry {new} now")
    if pair.new is None:
        return breaks("it carries nothing now: what was sent with it is refused")
    return breaks("it carries another class")


def _state_schema(pair: FieldPair) -> Impact:
    assert isinstance(pair.old, int) and isinstance(pair.new, int), "a number with a default"
    if pair.new < pair.old:
        return breaks("stored states have a higher schema than this code knows, so they are not loaded")
    return adds("stored states are migrated")


_VERSION = DiffRule.always(words_differ("the version of a part; its changes are listed by themselves"))
_NAMED = DiffRule.always(words_differ("another name for the same"))
_ACTIONS = DiffRule(added=adds("{name} is done too"), removed=breaks("{name} is no longer emitted"))
_RUNS = DiffRule.always(adds("it runs differently"))
_STARTS = DiffRule.always(adds("runs begin otherwise"))
_SCHEDULED = DiffRule.always(adds("it fires otherwise"))
_SERVED = DiffRule.always(breaks("another handler runs it"))
_RETRY = DiffRule(adds("its retries differ"))
_PLACE = DiffRule.always(words_differ("the value stands elsewhere"))

RULES: Mapping[str, DiffRule] = {
    **NODE_RULES,
    "ModelFSMSubcontract.initial_state": DiffRule(breaks("instances begin in another state")),
    "ModelFSMSubcontract.terminal_states": DiffRule(added=_became_terminal, removed=_no_more_terminal),
    "ModelFSMSubcontract.states": DiffRule(
        added=adds("state {name} is new"), removed=breaks("state {name} is gone: instances that stand in it are stuck")
    ),
    "ModelFSMSubcontract.transitions": DiffRule(_order, adds("more is accepted"), _transition_gone),
    "ModelFSMSubcontract.state_machine_name": _NAMED,
    "ModelFSMSubcontract.error_states": DiffRule.always(adds("other states count as errors")),
    "ModelFSMState.timeout_ms": DiffRule(
        adds("its timer fires at another time"),
        adds("a timer now leaves it"),
        breaks("its timer is gone: who waits for it waits for ever"),
    ),
    "ModelFSMState.on_timeout": DiffRule.always(breaks("its timer fires another trigger")),
    "ModelFSMState.entry_actions": _ACTIONS,
    "ModelFSMState.exit_actions": _ACTIONS,
    "ModelFSMState.required_data": DiffRule(
        added=breaks("{name} must be there now"), removed=adds("{name} may be missing")
    ),
    "ModelFSMTransition.to_state": DiffRule(breaks("it leads to {new} instead of {old}")),
    "ModelFSMTransition.payload": DiffRule.always(_payload),
    "ModelFSMTransition.priority": DiffRule(_priority),
    "ModelFSMTransition.conditions": DiffRule(
        added=breaks("one more condition: what was accepted may be refused"), removed=adds("one condition less")
    ),
    "ModelFSMTransition.actions": _ACTIONS,
    "ModelFSMTransition.transition_name": _NAMED,
    "ModelFSMCondition.after": DiffRule(breaks("it judges the state on the other side of the handler")),
    "ModelFSMCondition.condition_name": _NAMED,
    "ModelContractReducer.state_model": DiffRule(
        words_differ("the class has another name"),
        adds("its state has a class"),
        breaks("its state has no class any more"),
    ),
    "ModelContractReducer.state_schema": DiffRule.always(_state_schema),
    "ModelContractReducer.unleased": DiffRule(
        added=adds("{name} needs no lease now"), removed=breaks("{name} needs a lease now")
    ),
    "ModelContractReducer.public": DiffRule(
        added=adds("clients may send {name} now"), removed=breaks("clients may not send {name} now")
    ),
    "ModelContractReducer.search": DiffRule(
        added=adds("instances are found by {name} now"), removed=breaks("instances are no longer found by {name}")
    ),
    "ModelContractReducer.resource_limits": DiffRule(
        added=breaks("an instance may take less now"), removed=adds("an instance may take more now")
    ),
    "ModelContractWorkflow.schedules": DiffRule(
        added=adds("schedule {name} fires, too"), removed=breaks("schedule {name} fires no more")
    ),
    "ModelContractWorkflow.start": DiffRule(
        added=breaks("clients ask its queue to begin a run now"), removed=breaks("clients begin a run themselves now")
    ),
    "ModelStart.trigger": DiffRule.always(breaks("runs begin by another trigger")),
    "ModelStart.per": DiffRule.always(breaks("clients ask other queues")),
    "ModelStart.reuse": DiffRule.always(breaks("an id that is taken is treated otherwise")),
    **{f"ModelStart.{field}": _STARTS for field in ("delay_ms", "debounce_ms", "concurrency", "rate", "waiting")},
    "ModelStart.batch": DiffRule.always(breaks("what an ask carries differs")),
    **{f"ModelStartBatch.{field}": _STARTS for field in ModelStartBatch.model_fields},
    **{f"ModelStartRate.{field}": _STARTS for field in ModelStartRate.model_fields},
    **{f"ModelSchedule.{field}": _SCHEDULED for field in ModelSchedule.model_fields if field != "description"},
    "ModelContractReducer.version_policy": DiffRule(adds("instances change to new code otherwise now")),
    **{f"ModelResourceLimits.{field}": DiffRule.always(_quota) for field in ModelResourceLimits.model_fields},
    "ModelContractReducer.intents": DiffRule(
        added=adds("{name} may be emitted too"), removed=breaks("{name} is no longer emitted")
    ),
    "ModelIntentDeclaration.type": _SERVED,
    "ModelIntentDeclaration.target": _SERVED,
    "ModelIntentDeclaration.payload": DiffRule.always(_payload),
    "ModelIntentDeclaration.outcomes": DiffRule(
        added=adds("its outcomes become triggers"), removed=breaks("its outcomes are no longer triggers")
    ),
    **{f"ModelIntentRetry.{field}": _RETRY for field in ModelIntentRetry.model_fields},
    "ModelIntentDeclaration.delivery": DiffRule.always(breaks("whether it may run twice differs")),
    "ModelIntentDeclaration.timeout_ms": _RUNS,
    "ModelIntentDeclaration.heartbeat_ms": _RUNS,
    "ModelIntentDeclaration.concurrency": _RUNS,
    "ModelIntentDeclaration.priority": _RUNS,
    "ModelIntentDeclaration.on_exit": DiffRule.always(breaks("whether leaving its status cancels it differs")),
    "ModelIntentDeclaration.detached": DiffRule.always(breaks("whether the end of its instance cancels it differs")),
    "ModelIntentDeclaration.trigger": DiffRule.always(breaks("it fires another trigger")),
    "ModelHttpTarget.idempotency_header": DiffRule(
        breaks("the far side gets the key under another name"),
        adds("the far side gets a key now"),
        breaks("the far side gets no key any more: a second try may be done twice"),
    ),
    "ModelSetting.text": _PLACE,
    "ModelSetting.env": _PLACE,
    "ModelSetting.file": _PLACE,
    "ModelSetting.secret": _PLACE,
    "ModelIntentOutcomes.succeeded": DiffRule(breaks("success becomes {new} instead of {old}")),
    "ModelIntentOutcomes.failed": DiffRule(breaks("failure becomes {new} instead of {old}")),
    "ModelIntentOutcomes.unknown": DiffRule(breaks("an unknown outcome becomes {new} instead of {old}")),
}

# the rules of fields that are not listed
_PROSE = DiffRule.always(words_differ("only the text differs"))
_VALUE = DiffRule(adds("it differs"), adds("it is new"), adds("it is gone"))
_BLOCK = DiffRule(adds("it differs"), adds("it is new"), breaks("it is gone"))
ENTRY = DiffRule(words_differ("the order differs"), adds("{name} is new"), breaks("{name} is gone"))


def rule_of(classes: tuple[type[BaseModel], ...], role: str, field: str, use: Use, value: object) -> DiffRule:
    """The rule of a field: by the ``role`` of its block, else by its class, else by the shape of its ``value``."""
    listed = RULES.get(f"{role}.{field}")
    for one in classes:
        for above in one.__mro__:
            listed = listed or RULES.get(f"{above.__name__}.{field}")
    if use.by == ("docs",):
        usual = _PROSE
    elif isinstance(value, ModelContractVersion):
        usual = _VERSION
    else:
        usual = ENTRY if isinstance(value, tuple) else _BLOCK if isinstance(value, BaseModel) else _VALUE
    if listed is None:
        return usual
    return DiffRule(listed.changed or usual.changed, listed.added or usual.added, listed.removed or usual.removed)


def impact_of(judged: Impact | ImpactOf | None, pair: FieldPair) -> Impact:
    assert judged is not None, "rule_of fills what a rule leaves open"
    found = judged if isinstance(judged, Impact) else judged(pair)
    return found._replace(reason=found.reason.format(name=_word(pair.name), old=_word(pair.old), new=_word(pair.new)))


def _word(value: object) -> str:
    return repr(str(value)) if isinstance(value, str) else "nothing" if value is None else str(value)
