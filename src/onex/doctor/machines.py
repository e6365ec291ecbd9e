"""A machine walked on paper: states nobody gets to, states nobody gets out of, triggers that can never fire, and choices left open.

What is told is what the contract says, before any engine reads it: guards are taken as true or false at will.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..contracts.foreign.read_result import Reading
from ..contracts.model.fsm import ModelFSMSubcontract, ModelFSMTransition
from ..kernel.finding import EnumSeverity
from ..proof.symptom import EnumArea, Place, Symptom, located, symptom

ANY = "*"


class Walk:
    """``exits[state] -> states``, ``*`` spread over all that are not terminal; ``reached`` from the initial one."""

    def __init__(self, machine: ModelFSMSubcontract) -> None:
        self.machine = machine
        self.terminal = frozenset(machine.terminal_states)
        named = [machine.initial_state]
        named += [state.name for state in machine.states or ()]
        for transition in machine.transitions:
            named += [transition.from_state, transition.to_state]
        self.states = tuple(dict.fromkeys(name for name in (*named, *machine.terminal_states) if name != ANY))
        self.exits: dict[str, list[str]] = {state: [] for state in self.states}
        for transition in machine.transitions:
            for state in self.starts(transition):
                self.exits[state].append(transition.to_state)
        self.reached = _closure([machine.initial_state], self.exits)

    def starts(self, transition: ModelFSMTransition) -> Iterable[str]:
        if transition.from_state == ANY:
            return [state for state in self.states if state not in self.terminal]
        return [transition.from_state]


def machine_symptoms(reading: Reading) -> Iterator[Symptom]:
    machine = reading.contract.state_machine if reading.contract is not None else None
    if machine is None or reading.contract is None:
        return
    walk = Walk(machine)
    told = f"{reading.contract.name}: "
    yield from _unreached(reading, walk, told)
    yield from _ends(reading, walk, told)
    yield from _triggers(reading, walk, told)
    yield from _choices(reading, walk, told)


def _unreached(reading: Reading, walk: Walk, told: str) -> Iterator[Symptom]:
    for state in walk.states:
        if state not in walk.reached:
            message = f"{told}state {state!r} cannot be reached from {walk.machine.initial_state!r}"
            fix = "add a transition into it, or remove it"
            yield _one(reading, "state_unreachable", _state(reading, walk, state), message, fix)


def _ends(reading: Reading, walk: Walk, told: str) -> Iterator[Symptom]:
    dead = [state for state in walk.states if state in walk.reached - walk.terminal and not walk.exits[state]]
    if dead and not walk.terminal:
        message = f"{told}no state is terminal, and nothing leaves {_list(dead)}"
        fix = f"say terminal_states: [{', '.join(dead)}], or add transitions out of them"
        yield _one(reading, "no_terminal_state", _state(reading, walk, dead[0]), message, fix)
        return
    for state in dead:
        message = f"{told}nothing leaves state {state!r}, and it is not terminal"
        yield _one(
            reading, "dead_end", _state(reading, walk, state), message, "add it to terminal_states, or a way out"
        )
    if not walk.terminal:
        return
    backwards: dict[str, list[str]] = {state: [] for state in walk.states}
    for state, targets in walk.exits.items():
        for target in targets:
            backwards[target].append(state)
    ending = _closure(sorted(walk.terminal), backwards)
    astray = [s for s in walk.states if s in walk.reached and s not in ending and s not in dead]
    if astray and not (dead and set(astray) <= _closure(dead, backwards)):
        message = f"{told}no terminal state can be reached from {_list(astray)}"
        fix = "add a transition that leads to an end, or say that there is none by having no terminal state"
        yield _one(reading, "no_way_to_an_end", _state(reading, walk, astray[0]), message, fix)


def _triggers(reading: Reading, walk: Walk, told: str) -> Iterator[Symptom]:
    enabled: dict[str, bool] = {}
    first: dict[str, int] = {}
    for n, transition in enumerate(walk.machine.transitions):
        first.setdefault(transition.trigger, n)
        alive = any(state in walk.reached and state not in walk.terminal for state in walk.starts(transition))
        enabled[transition.trigger] = enabled.get(transition.trigger, False) or alive
    for trigger, is_enabled in enabled.items():
        if not is_enabled:
            place = located(reading, "state_machine", "transitions", first[trigger], "trigger")
            starts = {s for t in walk.machine.transitions if t.trigger == trigger for s in walk.starts(t)}
            ended = sorted(starts & walk.terminal & walk.reached)
            few = ended or sorted(starts)
            why = f"{_list(few)} {'is' if len(few) == 1 else 'are'} {'terminal' if ended else 'never entered'}"
            message = f"{told}trigger {trigger!r} is never enabled: {why}"
            fix = (
                "take the state out of terminal_states, or remove the transition"
                if ended
                else "mend the way to it first"
            )
            yield _one(reading, "trigger_never_enabled", place, message, fix)


def _choices(reading: Reading, walk: Walk, told: str) -> Iterator[Symptom]:
    """Two transitions from one state by one trigger with nothing to choose between them."""
    alike: dict[tuple[str, str, int, frozenset[str]], int] = {}
    for n, transition in enumerate(walk.machine.transitions):
        guards = frozenset(" ".join(one.expression.split()) for one in transition.conditions)
        key = (transition.from_state, transition.trigger, transition.priority, guards)
        before = alike.setdefault(key, n)
        if before == n:
            continue
        place, other = (located(reading, "state_machine", "transitions", one) for one in (n, before))
        same = walk.machine.transitions[before].to_state == transition.to_state
        guarded = "under the same conditions" if guards else "and neither has a condition"
        message = (
            f"{told}in {transition.from_state!r} on {transition.trigger!r} this transition and the one on line "
            f"{other.line} both apply, {guarded}"
        )
        fix = "remove one of them" if same else "give one a condition or a priority: which one is taken is chance else"
        yield _one(reading, "transition_twice" if same else "nondeterministic", place, message, fix)


# --- places -----------------------------------------------------------------------------------------------------------


def _state(reading: Reading, walk: Walk, state: str) -> Place:
    """Where the state is declared, else where it is first named."""
    for n, one in enumerate(walk.machine.states or ()):
        if one.name == state:
            return located(reading, "state_machine", "states", n, "name")
    for n, transition in enumerate(walk.machine.transitions):
        for field in ("from_state", "to_state"):
            if getattr(transition, field) == state:
                return located(reading, "state_machine", "transitions", n, field)
    return located(reading, "state_machine", "terminal_states" if state in walk.terminal else "initial_state")


def _closure(starts: Iterable[str], steps: Mapping[str, list[str]]) -> frozenset[str]:
    seen = set(starts)
    waiting = list(seen)
    while waiting:
        for state in steps.get(waiting.pop(), ()):
            if state not in seen:
                seen.add(state)
                waiting.append(state)
    return frozenset(seen)


def _list(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _one(reading: Reading, code: str, place: Place, message: str, fix: str) -> Symptom:
    return symptom(EnumArea.MACHINES, code, place, message, fix, (reading.path,), EnumSeverity.WARNING)
