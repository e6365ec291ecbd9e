"""The picture of a machine, drawn from the table that the engine runs by, so it is always up to date.

Transitions are tried in order, and the first one without guards ends the search. One that stands behind it is never taken
(``*`` behind a more exact transition, say), and is not drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...kernel.machine import Machine, Timeout, Transition, can_be_taken
from ...kernel.visible_text import visible
from .drawing import EnumFlow, GraphEdge, GraphNode
from .layout import layout
from .svg import svg

_START, _DOT = "\0start", 14.0
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class StateGraph(NamedTuple):
    """A machine as a graph: what ``layout`` takes."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


def machine_svg(machine: Machine, name: str) -> str:
    """An SVG file. ``*`` is one box of its own, and a transition that a state's timer fires is dashed."""
    states, transitions = len(machine.statuses), len(machine.transitions)
    ends = ", ".join(status for status in machine.statuses if status in machine.terminal) or "nowhere"
    description = f"A state machine of {states} states and {transitions} transitions, from {machine.initial} to {ends}."
    return svg(layout(*state_graph(machine), EnumFlow.DOWN), name, description)


def state_graph(machine: Machine) -> StateGraph:
    nodes = [GraphNode(_START, "", "start", _DOT, _DOT)]
    for status in machine.statuses:
        nodes.append(GraphNode(status, status, "terminal" if status in machine.terminal else "state"))
    taken = {id(one) for row in machine.table.values() for tried in row.values() for one in can_be_taken(tried)}
    drawn = [transition for transition in machine.transitions if id(transition) in taken]
    if any(transition.from_state == "*" for transition in drawn):
        nodes.append(GraphNode("*", "any state", "any", note="every state that is not terminal"))
    edges = [GraphEdge(_START, machine.initial)]
    for transition in drawn:
        timeout = machine.timeouts.get(transition.from_state)
        fired = timeout is not None and timeout.trigger == transition.trigger
        label = _label(transition, timeout if fired else None)
        edges.append(GraphEdge(transition.from_state, transition.to_state, label, "timeout" if fired else ""))
    for status, timeout in machine.timeouts.items():  # one whose trigger only "*" answers
        for transition in can_be_taken(machine.table[status].get(timeout.trigger, ())):
            if transition.from_state == "*":
                edges.append(GraphEdge(status, transition.to_state, _label(transition, timeout), "timeout"))
    return StateGraph(tuple(nodes), tuple(edges))


def _label(transition: Transition, timeout: Timeout | None) -> str:
    guards = " and ".join(" ".join(str(guard).split()) for guard in transition.guards)
    text = transition.trigger if timeout is None else f"{transition.trigger} after {_duration(timeout.after_us)}"
    return f"{text}\n[{guards}]" if guards else text


def _duration(after_us: int) -> str:
    """In the largest unit that leaves a short number: ``7 d``, ``1.5 h``, ``90 s``."""
    seconds = after_us / 1_000_000
    size, unit = next((one for one in _UNITS if seconds >= one[0] and seconds * 2 % one[0] == 0), (1, "s"))
    return f"{seconds / size:g} {unit}"


def mermaid(machine: Machine) -> str:
    """A ``stateDiagram-v2``, in the contract's order. ``*`` is drawn from every state in which it may be taken."""
    ids = _ids(machine.statuses)
    lines = ["stateDiagram-v2", f"    [*] --> {ids[machine.initial]}"]
    tied = {machine.initial, *machine.terminal, *(to for ends in _ends(machine) for to in ends)}
    for status in machine.statuses:
        if ids[status] != status:
            lines.append(f'    state "{entity(status)}" as {ids[status]}')
        elif status not in tied:
            lines.append(f"    {status}")
    for status in machine.statuses:
        for trigger, transitions in machine.table[status].items():
            for transition in can_be_taken(transitions):
                guards = " and ".join(str(guard) for guard in transition.guards)
                label = f"{entity(trigger)} [{entity(guards)}]" if guards else entity(trigger)
                lines.append(f"    {ids[status]} --> {ids[transition.to_state]} : {label}")
        if (timeout := machine.timeouts.get(status)) is not None:
            seconds = timeout.after_us / 1_000_000
            lines.append(f"    note right of {ids[status]} : {entity(timeout.trigger)} after {seconds:g} s")
    lines += [f"    {ids[status]} --> [*]" for status in machine.statuses if status in machine.terminal]
    return "\n".join(lines) + "\n"


def _ends(machine: Machine) -> Iterator[tuple[str, str]]:
    """Both ends of each arrow."""
    for status, row in machine.table.items():
        yield from ((status, one.to_state) for fitting in row.values() for one in can_be_taken(fitting))


def _ids(statuses: Sequence[str]) -> dict[str, str]:
    """Names for Mermaid: letters, digits and _, none of its reserved words, no two equal."""
    ids: dict[str, str] = {}
    taken: set[str] = set()
    for n, status in enumerate(statuses):
        plain = re.sub(r"\W", "_", status, flags=re.ASCII)
        if plain in taken or plain.lower() in _RESERVED or not plain[:1].isalpha():
            plain = f"state_{n}"
        ids[status] = plain
        taken.add(plain)
    return ids


_RESERVED = {"state", "note", "end", "direction", "class", "classdef", "style", "as", "default"}
# Mermaid ends a label at a semicolon or line break, and reads # as the start of an entity
_ENTITIES = str.maketrans({"#": "#35;", ";": "#59;", ":": "#58;", "<": "#lt;", ">": "#gt;", '"': "#quot;"})


def entity(words: str) -> str:
    """Foreign text, escaped for a label of Mermaid."""
    return visible(" ".join(words.split())).translate(_ENTITIES)
