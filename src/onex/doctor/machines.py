"""What is wrong with the machines of the contracts: the findings of `contracts/check/machine_faults.py`, each with its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..contracts.check.machine_faults import MachineGraph, undecided, written_guard
from ..contracts.foreign.read_result import ReadResult
from ..contracts.model.fsm import ModelFSMSubcontract
from ..kernel.finding import EnumSeverity
from ..kernel.machine import Machine, Transition
from .doctor_finding import DoctorFinding, EnumArea, FilePosition, doctor_finding, located


def machine_findings(reading: ReadResult) -> Iterator[DoctorFinding]:
    typed = reading.contract.state_machine if reading.contract is not None else None
    if typed is None or reading.contract is None:
        return
    graph = MachineGraph(_machine(typed))
    name = reading.contract.name
    for code, state, message, fix in (*_unreached(graph), *_ends(graph)):
        yield _one(reading, code, _state(reading, typed, state), f"{name}: {message}", fix)
    for code, n, message, fix in _triggers(graph):
        place = located(reading, "state_machine", "transitions", n, "trigger")
        yield _one(reading, code, place, f"{name}: {message}", fix)
    yield from _choices(reading, graph, name)


def _machine(typed: ModelFSMSubcontract) -> Machine:
    transitions = (
        Transition(
            one.from_state,
            one.to_state,
            one.trigger,
            tuple(written_guard(" ".join(line.expression.split()), line.after) for line in one.conditions),
            one.priority,
        )
        for one in typed.transitions
    )
    states = tuple(state.name for state in typed.states or ())
    return Machine(typed.initial_state, tuple(transitions), frozenset(typed.terminal_states), states=states)


def _unreached(graph: MachineGraph) -> Iterator[tuple[str, str, str, str]]:
    for state in graph.unreachable():
        message = f"state {state!r} cannot be reached from {graph.machine.initial!r}"
        yield "state_unreachable", state, message, "add a transition into it, or remove it"


def _ends(graph: MachineGraph) -> Iterator[tuple[str, str, str, str]]:
    dead = graph.dead_ends()
    if dead and not graph.machine.terminal:
        fix = f"say terminal_states: [{', '.join(dead)}], or add transitions out of them"
        yield "no_terminal_state", dead[0], f"no state is terminal, and nothing leaves {_list(dead)}", fix
        return
    for state in dead:
        message = f"nothing leaves state {state!r}, and it is not terminal"
        yield "dead_end", state, message, "add it to terminal_states, or add a transition out of it"
    if endless := graph.endless():
        message = f"no terminal state can be reached from {_list(endless)}"
        fix = "add a transition that leads to an end, or say that there is none by having no terminal state"
        yield "no_way_to_an_end", endless[0], message, fix


def _triggers(graph: MachineGraph) -> Iterator[tuple[str, int, str, str]]:
    for trigger, n, starts in graph.never_enabled():
        ended = sorted(starts & graph.machine.terminal & graph.reached)
        few = ended or sorted(starts)
        why = f"{_list(few)} {'is' if len(few) == 1 else 'are'} {'terminal' if ended else 'never entered'}"
        fix = (
            "take the state out of terminal_states, or remove the transition" if ended else "repair the way to it first"
        )
        yield "trigger_never_enabled", n, f"trigger {trigger!r} is never enabled: {why}", fix


def _choices(reading: ReadResult, graph: MachineGraph, name: str) -> Iterator[DoctorFinding]:
    transitions = graph.machine.transitions
    for n, first in undecided(transitions):
        one = transitions[n]
        place, other = (located(reading, "state_machine", "transitions", number) for number in (n, first))
        same = transitions[first].to_state == one.to_state
        guarded = "under the same conditions" if one.guards else "and neither has a condition"
        message = (
            f"{name}: in {one.from_state!r} on {one.trigger!r} this transition and the one on line {other.line} both "
            f"apply, {guarded}"
        )
        fix = "remove one of them" if same else "give one a condition or a priority: without one, their order decides"
        yield _one(reading, "transition_twice" if same else "nondeterministic", place, message, fix)


# --- places -----------------------------------------------------------------------------------------------------------


def _state(reading: ReadResult, machine: ModelFSMSubcontract, state: str) -> FilePosition:
    """Where the state is declared, else where it is first named."""
    for n, one in enumerate(machine.states or ()):
        if one.name == state:
            return located(reading, "state_machine", "states", n, "name")
    for n, transition in enumerate(machine.transitions):
        for field in ("from_state", "to_state"):
            if getattr(transition, field) == state:
                return located(reading, "state_machine", "transitions", n, field)
    return located(reading, "state_machine", "terminal_states" if state in machine.terminal_states else "initial_state")


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _one(reading: ReadResult, code: str, place: FilePosition, message: str, fix: str) -> DoctorFinding:
    return doctor_finding(EnumArea.MACHINES, code, place, message, fix, (reading.path,), EnumSeverity.WARNING)
