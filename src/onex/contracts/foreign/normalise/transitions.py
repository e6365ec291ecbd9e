"""Transitions in all their spellings become rows of ``{from_state, to_state, trigger, ...}``, one per start and trigger."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, product

from ...model.part import TRANSITIONS_MAX
from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .conditions import actions, conditions
from .draft import KeyTable, MapBuilder, Notes, aliases, made, text, text_of, texts, version

TRANSITION = KeyTable(
    names=aliases(
        from_state="from from_states source sources source_state src",
        to_state="to dest dst destination target target_state next_state",
        trigger="event on on_event trigger_event triggers",
        transition_name="name id transition_id label",
        description="desc",
        conditions="guard guards condition guard_condition guard_conditions guard_expression preconditions when if",
        actions="action on_transition transition_actions effects",
        is_atomic="atomic",
    ),
    shapes={"conditions": conditions, "actions": actions, "version": version, "transition_name": text},
)
ANYWHERE = ("*", "any", "ANY", "all", "ALL")
"""Words that mean every state that is not terminal, unless a state has that name."""
_ARROW = re.compile(r"(?P<start>[^\s:>]+)\s*(?:->|=>|→)\s*(?P<end>[^\s:>]+)(?:\s*:\s*(?P<trigger>\S+))?")
_ENDS = ("from_state", "to_state", "trigger")


def looks_like_transition(item: YamlNode) -> bool:
    if isinstance(item, YamlMap):
        return "to_state" in {TRANSITION.names.get(name, name) for name in item.entries}
    return _ARROW.fullmatch(text_of(item)) is not None


def transitions(node: YamlNode, notes: Notes, known: frozenset[str]) -> tuple[YamlMap, ...]:
    """``known`` are the names of the states. Empty for what is neither a list nor a mapping."""
    if isinstance(node, YamlList):
        return tuple(one for item in node.items for one in _row(item, notes, known))
    if isinstance(node, YamlMap):
        return tuple(one for entry in node.entries.values() for one in _named(entry, notes, known))
    return ()


def outward(start: YamlScalar, leaving: YamlEntry, notes: Notes) -> Iterator[YamlMap]:
    """The transitions inside a state; ``leaving`` is the entry that holds them."""
    notes.wrapped(leaving.key)
    begin = made("from_state", start)
    if isinstance(leaving.node, YamlList):
        for item in leaving.node.items:
            if isinstance(item, YamlMap):
                yield from _several(MapBuilder(TRANSITION.applied(item, notes)), begin, notes, frozenset())
            elif isinstance(item, YamlScalar):
                yield _lone(begin, YamlEntry(leaving.key, item), None, notes)
    elif isinstance(leaving.node, YamlMap):
        yield from _by_trigger(begin, leaving.node, notes)


def _by_trigger(begin: YamlEntry, node: YamlMap, notes: Notes) -> Iterator[YamlMap]:
    """``{TRIGGER: STATE}`` or ``{TRIGGER: {to: STATE, guard: ..}}``."""
    for entry in node.entries.values():
        trigger = YamlEntry(entry.key, YamlScalar(entry.key.value, entry.key.place))
        for item in entry.node.items if isinstance(entry.node, YamlList) else (entry.node,):
            if isinstance(item, YamlMap):
                draft = MapBuilder(TRANSITION.applied(item, notes))
                draft.put("trigger", trigger)
                yield from _several(draft, begin, notes, frozenset())
            else:
                yield _lone(begin, made("to_state", item), trigger, notes)


def _row(item: YamlNode, notes: Notes, known: frozenset[str]) -> Iterator[YamlMap]:
    if isinstance(item, YamlMap):
        yield from _several(MapBuilder(TRANSITION.applied(item, notes)), None, notes, known)
        return
    found = _ARROW.fullmatch(text_of(item))
    if found is None:
        fix = "write {from_state: A, to_state: B, trigger: T}"
        notes.warn(item.place, "left_out", "this is no transition; it is left out", fix)
        return
    start, end = (
        made(name, YamlScalar(found[part], item.place)) for name, part in (("from_state", "start"), ("to_state", "end"))
    )
    trigger = made("trigger", YamlScalar(found["trigger"], item.place)) if found["trigger"] else None
    yield _lone(start, end, trigger, notes)


def _named(entry: YamlEntry, notes: Notes, known: frozenset[str]) -> Iterator[YamlMap]:
    """``NAME: {from, to, ..}``, ``STATE: [next, ..]``, ``STATE: {TRIGGER: next}`` or ``STATE: next``."""
    own = YamlEntry(entry.key, YamlScalar(entry.key.value, entry.key.place, entry.key.text_at))
    if isinstance(entry.node, YamlMap) and looks_like_transition(entry.node):
        draft = MapBuilder(TRANSITION.applied(entry.node, notes))
        draft.put("transition_name", own)
        yield from _several(draft, None, notes, known)
    elif isinstance(entry.node, YamlMap):
        yield from _by_trigger(own, entry.node, notes)
    else:
        for item in entry.node.items if isinstance(entry.node, YamlList) else (entry.node,):
            if isinstance(item, YamlMap):
                yield from _several(MapBuilder(TRANSITION.applied(item, notes)), own, notes, known)
            elif isinstance(item, YamlScalar) and item.value is not None:
                yield _lone(own, made("to_state", item), None, notes)


def _lone(start: YamlEntry, end: YamlEntry, trigger: YamlEntry | None, notes: Notes) -> YamlMap:
    draft = MapBuilder(YamlMap({"from_state": start, "to_state": end}, end.node.place))
    draft.put("trigger", trigger or made("trigger", YamlScalar(f"to_{text_of(end.node)}", end.node.place)))
    return draft.branch()


def _several(draft: MapBuilder, start: YamlEntry | None, notes: Notes, known: frozenset[str]) -> Iterator[YamlMap]:
    """One row for each combination of start, end and trigger. The other keys are in each row."""
    if start is not None:
        draft.put("from_state", start)
    if "trigger" not in draft:
        draft.make("trigger", _trigger(draft))
    rest = {name: entry for name, entry in draft.entries.items() if name not in _ENDS}
    choices = [_choices(name, draft.entries[name], known, notes) for name in _ENDS if name in draft.entries]
    rows = product(*choices)
    for chosen in islice(rows, TRANSITIONS_MAX):
        yield YamlMap({**dict(chosen), **rest}, draft.place)
    if next(rows, None) is not None:
        many = " x ".join(str(len(choice)) for choice in choices)
        message = f"starts, ends and triggers of this transition come to {many} transitions"
        notes.error(
            draft.place, "too_many_transitions", message, f"name fewer; a machine has at most {TRANSITIONS_MAX}"
        )


def _choices(name: str, entry: YamlEntry, known: frozenset[str], notes: Notes) -> list[tuple[str, YamlEntry]]:
    listed = texts(entry.node, notes)
    nodes = listed.items if isinstance(listed, YamlList) else (listed,)
    return [(name, entry._replace(node=_anywhere(one, known) if name == _ENDS[0] else one)) for one in nodes]


def _trigger(draft: MapBuilder) -> YamlScalar:
    """A transition without a trigger is fired by its own name."""
    named = draft.node("transition_name")
    if isinstance(named, YamlScalar) and text_of(named):
        return named
    ends = draft.node("to_state")
    first = ends.items[0] if isinstance(ends, YamlList) and ends.items else ends
    return YamlScalar(f"to_{text_of(first)}", first.place if first else draft.place)


def _anywhere(node: YamlNode, known: frozenset[str]) -> YamlNode:
    if isinstance(node, YamlScalar) and node.value in ANYWHERE and node.value not in known:
        return YamlScalar("*", node.place, node.text_at)
    return node
