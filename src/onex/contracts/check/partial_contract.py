"""A contract as far as it can be read: what the checks look at when parts of it are missing or of a wrong type."""

from __future__ import annotations

from typing import NamedTuple

from ...kernel.intent import EnumOutcome
from ..model.part import EXPRESSION_MAX, INTENTS_MAX, TRANSITIONS_MAX
from ..text.tree import Branch, Leaf, Node, Place, Row


class Word(NamedTuple):
    text: str
    place: Place


class Line(NamedTuple):
    """One transition as written; what is missing or not text is None."""

    place: Place
    start: Word | None
    end: Word | None
    trigger: Word | None
    payload: Word | None
    conditions: tuple[Leaf, ...]
    priority: int


class State(NamedTuple):
    name: Word
    timeout: Place | None
    on_timeout: Word | None


class Intent(NamedTuple):
    node: Branch
    name: Word | None
    kind: Word | None
    trigger: Word | None
    outcomes: tuple[tuple[str, Word], ...]

    def word(self, key: str) -> Word | None:
        return _word(self.node.get(key))


class Sketch:
    """What the names in a contract are, and where each stands. More than a contract may have is left out."""

    def __init__(self, tree: Branch) -> None:
        node = tree.get("state_machine")
        machine = node if isinstance(node, Branch) else Branch({}, tree.place)
        self.initial = _word(machine.get("initial_state"))
        self.terminal = _words(machine.get("terminal_states"))
        self.final = frozenset(word.text for word in self.terminal)
        self.lines = [_line(node) for node in _branches(machine.get("transitions"))[:TRANSITIONS_MAX]]
        self.states = [_state(node) for node in _branches(machine.get("states"))[:TRANSITIONS_MAX]]
        self.declared = [state.name for state in self.states if state.name.text]
        self.intents = [_intent(node) for node in _branches(tree.get("intents"))[:INTENTS_MAX]]
        self.unleased = _words(tree.get("unleased"))
        self.triggers = list(dict.fromkeys(line.trigger.text for line in self.lines if line.trigger))
        self.starts = {line.start.text for line in self.lines if line.start}
        self.ends = {line.end.text for line in self.lines if line.end}


def conditions(node: Node | None) -> tuple[Leaf, ...]:
    """The expression leaves of a transition's ``conditions``."""
    leaves = [branch.get("expression") for branch in _branches(node)]
    texts = (leaf for leaf in leaves if isinstance(leaf, Leaf) and isinstance(leaf.value, str))
    return tuple(leaf for leaf in texts if 0 < len(str(leaf.value)) <= EXPRESSION_MAX)


def _word(node: Node | None) -> Word | None:
    return Word(node.value, node.place) if isinstance(node, Leaf) and isinstance(node.value, str) else None


def _words(node: Node | None) -> list[Word]:
    items = node.items if isinstance(node, Row) else ()
    return [word for word in map(_word, items) if word]


def _branches(node: Node | None) -> list[Branch]:
    return [item for item in node.items if isinstance(item, Branch)] if isinstance(node, Row) else []


def number(node: Node | None, default: int) -> float:
    return node.value if isinstance(node, Leaf) and isinstance(node.value, int | float) else default


def _line(node: Branch) -> Line:
    return Line(
        node.place,
        _word(node.get("from_state")),
        _word(node.get("to_state")),
        _word(node.get("trigger")),
        _word(node.get("payload")),
        conditions(node.get("conditions")),
        int(number(node.get("priority"), 0)),
    )


def _state(node: Branch) -> State:
    timeout = node.get("timeout_ms")
    name = _word(node.get("name")) or Word("", node.place)
    return State(name, timeout.place if timeout else None, _word(node.get("on_timeout")))


def _intent(node: Branch) -> Intent:
    named = node.get("outcomes")
    outcomes = named.entries if isinstance(named, Branch) else {}
    words = [(str(outcome), _word(outcomes[outcome].node)) for outcome in EnumOutcome if outcome in outcomes]
    return Intent(
        node,
        _word(node.get("name")),
        _word(node.get("type")),
        _word(node.get("trigger")),
        tuple((outcome, word) for outcome, word in words if word),
    )
