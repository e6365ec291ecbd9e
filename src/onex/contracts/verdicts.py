"""What each change of a contract means to others: a table by class and field, with the reason as a sentence.

A field that is not listed has the rule of its shape: an entry or block that is gone breaks, one that is new adds, a value
that differs adds, prose tells. So a field that is added to a contract tomorrow is compared, and severely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel

from .bump import Verdict, adds, breaks, owes_nothing, tells
from .contract import ModelContractBase
from .part import Use
from .subcontract.fsm import ModelFSMSubcontract, ModelFSMTransition
from .subcontract.intent import ModelIntentRetry


class Pair(NamedTuple):
    """One value on both sides, None where it is not; ``parents`` are the blocks that hold it, ``contracts`` the wholes.

    ``told`` are payload classes (by trigger or ``intents.<name>``) whose shapes are compared by themselves.
    """

    name: str
    old: object
    new: object
    parents: tuple[BaseModel, BaseModel]
    contracts: tuple[ModelContractBase, ModelContractBase]
    told: frozenset[str] = frozenset()


Judge = Callable[[Pair], Verdict]


@dataclass(frozen=True, slots=True)
class Rule:
    """``{name} {old} {new}`` in a reason are filled in. None: as for any other field."""

    changed: Verdict | Judge | None = None
    added: Verdict | Judge | None = None
    removed: Verdict | Judge | None = None

    @classmethod
    def always(cls, verdict: Verdict | Judge) -> Rule:
        return cls(verdict, verdict, verdict)


def machines(pair: Pair) -> tuple[ModelFSMSubcontract | None, ModelFSMSubcontract | None]:
    return pair.contracts[0].state_machine, pair.contracts[1].state_machine


def mentioned(machine: ModelFSMSubcontract | None) -> tuple[str, ...]:
    """The states a machine has, declared or not, in its order."""
    if machine is None:
        return ()
    names = [state.name for state in machine.states or ()]
    names += [machine.initial_state]
    names += [name for one in machine.transitions for name in (one.from_state, one.to_state) if name != "*"]
    return tuple(dict.fromkeys([*names, *machine.terminal_states]))


# --- judged by more than the value itself -----------------------------------------------------------------------------


def _node_type(pair: Pair) -> Verdict:
    before, after = (contract.kind for contract in pair.contracts)
    if before is after:
        return tells("another word for the same kind, {new}")
    return breaks(f"it was {before} and is {after}: another kind of node")


def _became_terminal(pair: Pair) -> Verdict:
    if pair.name not in mentioned(machines(pair)[0]):
        return adds("a new end")
    return breaks("{name} became terminal: what it accepted is refused there")


def _no_more_terminal(pair: Pair) -> Verdict:
    if pair.name not in mentioned(machines(pair)[1]):
        return breaks("the end {name} is gone: whoever waits for it waits for ever")
    return breaks("{name} is terminal no more: whoever waits for the end there waits on")


def _transition_gone(pair: Pair) -> Verdict:
    gone, machine = pair.old, machines(pair)[1]
    assert isinstance(gone, ModelFSMTransition), "the rule stands at transitions"
    triggers = {one.trigger for one in machine.transitions} if machine else set()
    if gone.trigger not in triggers:
        return breaks(f"trigger {gone.trigger!r} is accepted nowhere any more")
    return breaks(f"{gone.trigger!r} no longer leads from {gone.from_state!r} to {gone.to_state!r}")


def _priority(pair: Pair) -> Verdict:
    one, machine = pair.parents[1], machines(pair)[1]
    assert isinstance(one, ModelFSMTransition), "the rule stands at transitions"
    rivals = [t for t in machine.transitions if t.trigger == one.trigger] if machine else []
    if len(rivals) > 1:
        return breaks("of the transitions of one trigger another may be tried first")
    return adds("it is tried at another rank")


def _order(pair: Pair) -> Verdict:
    first: list[dict[tuple[str, str, int], list[str]]] = []
    for machine in machines(pair):
        tried: dict[tuple[str, str, int], list[str]] = {}
        for one in machine.transitions if machine else ():
            tried.setdefault((one.trigger, one.from_state, one.priority), []).append(one.to_state)
        first.append(tried)
    if any(first[1].get(key) != states for key, states in first[0].items() if key in first[1]):
        return breaks("transitions of one state and trigger are tried in another order")
    return tells("the order differs; none that compete changed places")


def _payload(pair: Pair) -> Verdict:
    one = pair.parents[1]
    trigger = one.trigger if isinstance(one, ModelFSMTransition) else f"intents.{getattr(one, 'name', '')}"
    if trigger in pair.told:
        return tells("the class has another name; its fields are compared by themselves")
    if pair.old is None:
        return breaks("it must carry {new} now")
    if pair.new is None:
        return breaks("it carries nothing now: what was sent with it is refused")
    return breaks("it carries another class")


def _dependency_new(pair: Pair) -> Verdict:
    required = getattr(pair.new, "required", None)
    return adds("an optional dependency more") if required is False else breaks("{name} must be there now")


def _required(pair: Pair) -> Verdict:
    # a dependency that says nothing is required, as everywhere in ONEX
    return adds("it is optional now") if pair.new is False else breaks("it must be there now")


def _purity(pair: Pair) -> Verdict:
    if pair.old == "pure":
        return breaks("it claims to be pure no more: whoever repeats or caches it may not")
    return adds("another claim of purity")


def _idempotent(pair: Pair) -> Verdict:
    return breaks("it may not be repeated any more") if pair.new is not True else adds("it may be repeated now")


def _enabled(pair: Pair) -> Verdict:
    return breaks("it is switched off") if pair.new is False else adds("it is switched on")


def _state_schema(pair: Pair) -> Verdict:
    assert isinstance(pair.old, int) and isinstance(pair.new, int), "a number with a default"
    if pair.new < pair.old:
        return breaks("stored states are of a higher schema than this code knows, and are left alone")
    return adds("stored states are migrated")


_VERSION = Rule.always(tells("a version of a part; what changed in it is told by itself"))
_NAMED = Rule.always(tells("another name for the same"))
_HEARD = Rule(
    added=adds("it hears {name} too"), removed=breaks("it no longer hears {name}: its senders speak to nobody")
)
_SAID = Rule(added=adds("it says {name} too"), removed=breaks("it no longer says {name}: its hearers wait for ever"))
_ACTIONS = Rule(added=adds("{name} is done too"), removed=breaks("{name} is no longer emitted"))
_RUNS = Rule.always(adds("it is served otherwise"))
_SERVED = Rule.always(breaks("somebody else serves it"))
_RETRY = Rule(adds("it is tried again otherwise"))
_TYPE = Rule.always(breaks("it is another class"))

RULES: Mapping[str, Rule] = {
    "ModelContractBase.name": Rule(breaks("whoever names it finds nothing under the old name")),
    "ModelContractBase.node_type": Rule(_node_type),
    "ModelContractBase.contract_version": Rule.always(owes_nothing("this is the bump that was made")),
    "ModelContractBase.node_version": _VERSION,
    "ModelContractBase.input_model": Rule(added=tells("its class is named"), removed=breaks("its class is not named")),
    "ModelContractBase.input_model.name": _TYPE,
    "ModelContractBase.output_model": Rule(added=tells("its class is named"), removed=breaks("its class is not named")),
    "ModelContractBase.output_model.name": _TYPE,
    "ModelContractBase.published_events": _SAID,
    "ModelContractBase.consumed_events": _HEARD,
    "ModelContractBase.terminal_event": Rule.always(breaks("the event that says the end is another")),
    "ModelContractBase.dependencies": Rule(added=_dependency_new, removed=adds("it needs less")),
    "ModelDependency.required": Rule.always(_required),
    "ModelDependency.type": Rule.always(breaks("another sort of thing must be there")),
    "ModelDescriptor.purity": Rule.always(_purity),
    "ModelDescriptor.idempotent": Rule.always(_idempotent),
    "ModelEventBus.version": _VERSION,
    "ModelEventBus.enabled": Rule.always(_enabled),
    "ModelEventBus.publish_topics": _SAID,
    "ModelEventBus.subscribe_topics": _HEARD,
    "ModelTopic.event_type": Rule.always(breaks("another event travels on it")),
    "ModelTopic.schema_ref": Rule.always(breaks("messages on it have another shape")),
    "ModelTopic.external": Rule.always(tells("where its other end lies is told otherwise")),
    "ModelHandlerRouting.version": _VERSION,
    "ModelHandlerRouting.handlers": Rule(added=adds("{name} is taken too"), removed=breaks("nobody takes {name} now")),
    "ModelHandlerRouting.default_handler": Rule(removed=breaks("what no handler takes is refused now")),
    "ModelHandler.event_model.name": _TYPE,
    "ModelHandler.event_type": _TYPE,
    "ModelHandler.topic": Rule.always(breaks("it listens elsewhere")),
    "ModelHandler.output_events": _SAID,
    "ModelFSMSubcontract.initial_state": Rule(breaks("instances begin elsewhere")),
    "ModelFSMSubcontract.terminal_states": Rule(added=_became_terminal, removed=_no_more_terminal),
    "ModelFSMSubcontract.states": Rule(
        added=adds("state {name} is new"), removed=breaks("state {name} is gone: instances that stand in it are stuck")
    ),
    "ModelFSMSubcontract.transitions": Rule(_order, adds("more is accepted"), _transition_gone),
    "ModelFSMSubcontract.state_machine_name": _NAMED,
    "ModelFSMSubcontract.state_machine_version": _VERSION,
    "ModelFSMSubcontract.version": _VERSION,
    "ModelFSMSubcontract.error_states": Rule.always(adds("which states are errors is told otherwise")),
    "ModelFSMState.version": _VERSION,
    "ModelFSMState.timeout_ms": Rule(
        adds("its timer fires at another time"),
        adds("it is left by itself after a while"),
        breaks("its timer is gone: who waited for it waits for ever"),
    ),
    "ModelFSMState.on_timeout": Rule.always(breaks("its timer fires another trigger")),
    "ModelFSMState.entry_actions": _ACTIONS,
    "ModelFSMState.exit_actions": _ACTIONS,
    "ModelFSMState.required_data": Rule(
        added=breaks("{name} must be there now"), removed=adds("{name} may be missing")
    ),
    "ModelFSMTransition.to_state": Rule(breaks("it leads to {new} instead of {old}")),
    "ModelFSMTransition.payload": Rule.always(_payload),
    "ModelFSMTransition.priority": Rule(_priority),
    "ModelFSMTransition.conditions": Rule(
        added=breaks("a condition more: what was accepted may be refused"), removed=adds("a condition less")
    ),
    "ModelFSMTransition.actions": _ACTIONS,
    "ModelFSMTransition.transition_name": _NAMED,
    "ModelFSMTransition.version": _VERSION,
    "ModelFSMCondition.condition_name": _NAMED,
    "ModelFSMCondition.version": _VERSION,
    "ModelFSMAction.version": _VERSION,
    "ModelContractReducer.state_model": Rule(
        tells("the class has another name"), adds("its state has a class"), breaks("its state has no class any more")
    ),
    "ModelContractReducer.state_schema": Rule.always(_state_schema),
    "ModelContractReducer.unleased": Rule(
        added=adds("{name} needs no lease now"), removed=breaks("{name} needs a lease now")
    ),
    "ModelContractReducer.intents": Rule(
        added=adds("{name} may be emitted too"), removed=breaks("{name} is no longer emitted")
    ),
    "ModelIntentDeclaration.type": _SERVED,
    "ModelIntentDeclaration.target": _SERVED,
    "ModelIntentDeclaration.payload": Rule.always(_payload),
    "ModelIntentDeclaration.outcomes": Rule(
        added=adds("its outcomes become triggers"), removed=breaks("what became of it is no longer told")
    ),
    **{f"ModelIntentRetry.{field}": _RETRY for field in ModelIntentRetry.model_fields},
    "ModelIntentDeclaration.delivery": Rule.always(breaks("whether it may be done twice is another promise")),
    "ModelIntentDeclaration.timeout_ms": _RUNS,
    "ModelIntentDeclaration.concurrency": _RUNS,
    "ModelIntentDeclaration.priority": _RUNS,
    "ModelIntentDeclaration.trigger": Rule.always(breaks("it fires another trigger")),
    "ModelIntentOutcomes.succeeded": Rule(breaks("success becomes {new} instead of {old}")),
    "ModelIntentOutcomes.failed": Rule(breaks("failure becomes {new} instead of {old}")),
    "ModelIntentOutcomes.unknown": Rule(breaks("a doubtful end becomes {new} instead of {old}")),
}

# what is not listed
_PROSE = Rule.always(tells("the words differ"))
_VALUE = Rule(adds("it differs"), adds("it is said now"), adds("it is said no more"))
_ENTRY = Rule(tells("the order differs"), adds("{name} is new"), breaks("{name} is gone"))


def rule_of(classes: tuple[type[BaseModel], ...], role: str, field: str, use: Use, *, entries: bool) -> Rule:
    """The rule of a field: by the block's ``role`` in the block above it, else by its class, else by its shape."""
    listed = RULES.get(f"{role}.{field}")
    for one in classes:
        for above in one.__mro__:
            listed = listed or RULES.get(f"{above.__name__}.{field}")
    usual = _PROSE if use.by == ("docs",) else _ENTRY if entries else _VALUE
    if listed is None:
        return usual
    return Rule(listed.changed or usual.changed, listed.added or usual.added, listed.removed or usual.removed)


def verdict(judged: Verdict | Judge | None, pair: Pair) -> Verdict:
    assert judged is not None, "rule_of fills what a rule leaves open"
    found = judged if isinstance(judged, Verdict) else judged(pair)
    return found._replace(reason=found.reason.format(name=_word(pair.name), old=_word(pair.old), new=_word(pair.new)))


def _word(value: object) -> str:
    return repr(str(value)) if isinstance(value, str) else "nothing" if value is None else str(value)
