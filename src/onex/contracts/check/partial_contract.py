"""A contract as far as it can be read: parts that are missing or of a wrong type are None."""

from __future__ import annotations

from typing import NamedTuple

from ...kernel.intent import EnumOutcome
from ..model.part import EXPRESSION_MAX, INTENTS_MAX, TRANSITIONS_MAX
from ..text.yaml_tree import YamlList, YamlMap, YamlNode, YamlPlace, YamlScalar


class LocatedWord(NamedTuple):
    text: str
    place: YamlPlace


class WrittenCondition(NamedTuple):
    """``leaf`` is the expression; ``after`` says that it is judged on the state after the handler."""

    leaf: YamlScalar
    after: bool

    @property
    def text(self) -> str:
        return str(self.leaf.value)


class PartialTransition(NamedTuple):
    """One transition as written; what is missing or not text is None."""

    place: YamlPlace
    start: LocatedWord | None
    end: LocatedWord | None
    trigger: LocatedWord | None
    payload: LocatedWord | None
    conditions: tuple[WrittenCondition, ...]
    priority: int


class PartialState(NamedTuple):
    name: LocatedWord
    timeout: YamlPlace | None
    on_timeout: LocatedWord | None


class PartialIntent(NamedTuple):
    node: YamlMap
    name: LocatedWord | None
    kind: LocatedWord | None
    trigger: LocatedWord | None
    outcomes: tuple[tuple[str, LocatedWord], ...]


class PartialContract:
    """The names in a contract, each with its place. Transitions and intents beyond the allowed number are left out."""

    def __init__(self, tree: YamlMap) -> None:
        node = tree.get("state_machine")
        machine = node if isinstance(node, YamlMap) else YamlMap({}, tree.place)
        self.initial = _word(machine.get("initial_state"))
        self.terminal = _words(machine.get("terminal_states"))
        self.final = frozenset(word.text for word in self.terminal)
        self.lines = [_line(node) for node in _branches(machine.get("transitions"))[:TRANSITIONS_MAX]]
        self.states = [_state(node) for node in _branches(machine.get("states"))[:TRANSITIONS_MAX]]
        self.declared = [state.name for state in self.states if state.name.text]
        self.intents = [_intent(node) for node in _branches(tree.get("intents"))[:INTENTS_MAX]]
        self.unleased = _words(tree.get("unleased"))
        self.public = _words(tree.get("public"))
        self.triggers = list(dict.fromkeys(line.trigger.text for line in self.lines if line.trigger))
        self.starts = {line.start.text for line in self.lines if line.start}
        self.ends = {line.end.text for line in self.lines if line.end}


def conditions(node: YamlNode | None) -> tuple[WrittenCondition, ...]:
    """A transition's ``conditions``, as far as their expression is text."""
    found: list[WrittenCondition] = []
    for branch in _branches(node):
        leaf, after = branch.get("expression"), branch.get("after")
        if isinstance(leaf, YamlScalar) and isinstance(leaf.value, str) and 0 < len(leaf.value) <= EXPRESSION_MAX:
            found.append(WrittenCondition(leaf, isinstance(after, YamlScalar) and after.value is True))
    return tuple(found)


def _word(node: YamlNode | None) -> LocatedWord | None:
    return LocatedWord(node.value, node.place) if isinstance(node, YamlScalar) and isinstance(node.value, str) else None


def _words(node: YamlNode | None) -> list[LocatedWord]:
    items = node.items if isinstance(node, YamlList) else ()
    return [word for word in map(_word, items) if word]


def _branches(node: YamlNode | None) -> list[YamlMap]:
    return [item for item in node.items if isinstance(item, YamlMap)] if isinstance(node, YamlList) else []


def number(node: YamlNode | None, default: int) -> float:
    return node.value if isinstance(node, YamlScalar) and isinstance(node.value, int | float) else default


def _line(node: YamlMap) -> PartialTransition:
    return PartialTransition(
        node.place,
        _word(node.get("from_state")),
        _word(node.get("to_state")),
        _word(node.get("trigger")),
        _word(node.get("payload")),
        conditions(node.get("conditions")),
        int(number(node.get("priority"), 0)),
    )


def _state(node: YamlMap) -> PartialState:
    timeout = node.get("timeout_ms")
    name = _word(node.get("name")) or LocatedWord("", node.place)
    return PartialState(name, timeout.place if timeout else None, _word(node.get("on_timeout")))


def _intent(node: YamlMap) -> PartialIntent:
    named = node.get("outcomes")
    outcomes = named.entries if isinstance(named, YamlMap) else {}
    words = [(str(outcome), _word(outcomes[outcome].node)) for outcome in EnumOutcome if outcome in outcomes]
    return PartialIntent(
        node,
        _word(node.get("name")),
        _word(node.get("type")),
        _word(node.get("trigger")),
        tuple((outcome, word) for outcome, word in words if word),
    )
