"""What each change of a contract means to others: a table by class and field, with the reason as a sentence.

A field that is not listed has the rule of its shape: an entry or block that is gone breaks, one that is new adds, a value
that differs adds, prose tells. So a field that is added to a contract tomorrow is compared, and severely.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from ..model.fsm import ModelFSMSubcontract, ModelFSMTransition
from ..model.intent import ModelIntentRetry
from ..model.part import ModelContractVersion, Use
from .diff_rules_node import NODE_RULES
from .rule import DiffRule, FieldPair, ImpactOf
from .version_bump import Impact, adds, breaks, tells


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


# --- judged by more than the value itself -----------------------------------------------------------------------------


def _became_terminal(pair: FieldPair) -> Impact:
    if pair.name not in mentioned(machines(pair)[0]):
        return adds("a new end")
    return breaks("{name} became terminal: what it accepted is refused there")


def _no_more_terminal(pair: FieldPair) -> Impact:
    if pair.name not in mentioned(machines(pair)[1]):
        return breaks("the end {name} is gone: whoever waits for it waits for ever")
    return breaks("{name} is terminal no more: whoever waits for the end there waits on")


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
    return adds("it is tried at another rank")


def _order(pair: FieldPair) -> Impact:
    first: list[dict[tuple[str, str, int], list[str]]] = []
    for machine in machines(pair):
        tried: dict[tuple[str, str, int], list[str]] = {}
        for one in machine.transitions if machine else ():
            tried.setdefault((one.trigger, one.from_state, one.priority), []).append(one.to_state)
        first.append(tried)
    if any(first[1].get(key) != states for key, states in first[0].items() if key in first[1]):
        return breaks("transitions of one state and trigger are tried in another order")
    return tells("the order differs; none that compete changed places")


def _payload(pair: FieldPair) -> Impact:
    one = pair.parents[1]
    trigger = one.trigger if isinstance(one, ModelFSMTransition) else f"intents.{getattr(one, 'name', '')}"
    if trigger in pair.told:
        return tells("the class has another name; its fields are compared by themselves")
    if pair.old is None:
        return breaks("it must carry {new} now")
    if pair.new is None:
        return breaks("it carries nothing now: what was sent with it is refused")
    return breaks("it carries another class")


def _state_schema(pair: FieldPair) -> Impact:
    assert isinstance(pair.old, int) and isinstance(pair.new, int), "a number with a default"
    if pair.new < pair.old:
        return breaks("stored states are of a higher schema than this code knows, and are left alone")
    return adds("stored states are migrated")


_VERSION = DiffRule.always(tells("a version of a part; what changed in it is told by itself"))
_NAMED = DiffRule.always(tells("another name for the same"))
_ACTIONS = DiffRule(added=adds("{name} is done too"), removed=breaks("{name} is no longer emitted"))
_RUNS = DiffRule.always(adds("it is served otherwise"))
_SERVED = DiffRule.always(breaks("somebody else serves it"))
_RETRY = DiffRule(adds("it is tried again otherwise"))

RULES: Mapping[str, DiffRule] = {
    **NODE_RULES,
    "ModelFSMSubcontract.initial_state": DiffRule(breaks("instances begin elsewhere")),
    "ModelFSMSubcontract.terminal_states": DiffRule(added=_became_terminal, removed=_no_more_terminal),
    "ModelFSMSubcontract.states": DiffRule(
        added=adds("state {name} is new"), removed=breaks("state {name} is gone: instances that stand in it are stuck")
    ),
    "ModelFSMSubcontract.transitions": DiffRule(_order, adds("more is accepted"), _transition_gone),
    "ModelFSMSubcontract.state_machine_name": _NAMED,
    "ModelFSMSubcontract.error_states": DiffRule.always(adds("which states are errors is told otherwise")),
    "ModelFSMState.timeout_ms": DiffRule(
        adds("its timer fires at another time"),
        adds("it is left by itself after a while"),
        breaks("its timer is gone: who waited for it waits for ever"),
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
        added=breaks("a condition more: what was accepted may be refused"), removed=adds("a condition less")
    ),
    "ModelFSMTransition.actions": _ACTIONS,
    "ModelFSMTransition.transition_name": _NAMED,
    "ModelFSMCondition.condition_name": _NAMED,
    "ModelContractReducer.state_model": DiffRule(
        tells("the class has another name"), adds("its state has a class"), breaks("its state has no class any more")
    ),
    "ModelContractReducer.state_schema": DiffRule.always(_state_schema),
    "ModelContractReducer.unleased": DiffRule(
        added=adds("{name} needs no lease now"), removed=breaks("{name} needs a lease now")
    ),
    "ModelContractReducer.intents": DiffRule(
        added=adds("{name} may be emitted too"), removed=breaks("{name} is no longer emitted")
    ),
    "ModelIntentDeclaration.type": _SERVED,
    "ModelIntentDeclaration.target": _SERVED,
    "ModelIntentDeclaration.payload": DiffRule.always(_payload),
    "ModelIntentDeclaration.outcomes": DiffRule(
        added=adds("its outcomes become triggers"), removed=breaks("what became of it is no longer told")
    ),
    **{f"ModelIntentRetry.{field}": _RETRY for field in ModelIntentRetry.model_fields},
    "ModelIntentDeclaration.delivery": DiffRule.always(breaks("whether it may be done twice is another promise")),
    "ModelIntentDeclaration.timeout_ms": _RUNS,
    "ModelIntentDeclaration.concurrency": _RUNS,
    "ModelIntentDeclaration.priority": _RUNS,
    "ModelIntentDeclaration.trigger": DiffRule.always(breaks("it fires another trigger")),
    "ModelIntentOutcomes.succeeded": DiffRule(breaks("success becomes {new} instead of {old}")),
    "ModelIntentOutcomes.failed": DiffRule(breaks("failure becomes {new} instead of {old}")),
    "ModelIntentOutcomes.unknown": DiffRule(breaks("a doubtful end becomes {new} instead of {old}")),
}

# what is not listed
_PROSE = DiffRule.always(tells("the words differ"))
_VALUE = DiffRule(adds("it differs"), adds("it is said now"), adds("it is said no more"))
_BLOCK = DiffRule(adds("it differs"), adds("it is said now"), breaks("it is gone"))
ENTRY = DiffRule(tells("the order differs"), adds("{name} is new"), breaks("{name} is gone"))


def rule_of(classes: tuple[type[BaseModel], ...], role: str, field: str, use: Use, value: object) -> DiffRule:
    """The rule of a field: by the block's ``role`` in the block above it, else by its class, else by its ``value``'s shape."""
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
