"""States in all their spellings: words, mappings with a name, or a mapping by name; with flags and transitions inside."""

from __future__ import annotations

from typing import NamedTuple

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .conditions import actions
from .draft import KeyTable, MapBuilder, Notes, aliases, made, text, text_of, texts, version
from .transitions import outward

STATE = KeyTable(
    names=aliases(
        name="state_name state id state_id status",
        description="desc",
        state_type="type kind",
        entry_actions="on_enter on_entry entry enter_actions entry_action on_enter_actions actions_on_entry "
        "actions_on_enter",
        exit_actions="on_exit exit on_leave exit_action on_exit_actions actions_on_exit",
        timeout_ms="timeout timeout_seconds timeout_s",
        on_timeout="timeout_trigger timeout_event",
        is_terminal="terminal final is_final final_state terminal_state",
        is_initial="initial initial_state is_start",
        is_error="error_state",
        is_recoverable="recoverable",
        required_data="required_fields",
        optional_data="optional_fields",
    ),
    shapes={
        "name": text,
        "version": version,
        "entry_actions": actions,
        "exit_actions": actions,
        "required_data": texts,
        "optional_data": texts,
    },
)
OUTWARD = ("transitions", "allowed_transitions", "next_states", "next", "on", "valid_transitions", "can_transition_to")
"""Keys of a state that hold its transitions."""
INITIAL = ("initial", "start")
TERMINAL = ("final", "terminal", "end")


class StatesRead(NamedTuple):
    """``initial`` and ``terminal`` are the names of states with such a flag or type."""

    rows: tuple[YamlMap, ...] = ()
    transitions: tuple[YamlMap, ...] = ()
    initial: tuple[YamlScalar, ...] = ()
    terminal: tuple[YamlScalar, ...] = ()


def states(entry: YamlEntry, notes: Notes) -> StatesRead:
    """Empty for what is neither a list nor a mapping."""
    node = entry.node
    if isinstance(node, YamlMap):
        items: tuple[YamlNode, ...] = tuple(_by_name(one) for one in node.entries.values())
    elif isinstance(node, YamlList):
        items = node.items
    else:
        return StatesRead()
    read = _Reader(notes)
    for item in items:
        read.state(item)
    return StatesRead(tuple(read.rows), tuple(read.transitions), tuple(read.initial), tuple(read.terminal))


def _by_name(entry: YamlEntry) -> YamlMap:
    """``NAME: {...}``, ``NAME: [next, ..]``, ``NAME: description`` or ``NAME:`` alone."""
    name = YamlEntry(entry.key, YamlScalar(entry.key.value, entry.key.place, entry.key.text_at))
    if isinstance(entry.node, YamlMap):
        return YamlMap(
            {"name": name, **{k: one for k, one in entry.node.entries.items() if k != "name"}}, entry.key.place
        )
    if isinstance(entry.node, YamlList):
        return YamlMap({"name": name, "transitions": made("transitions", entry.node)}, entry.key.place)
    if text_of(entry.node):
        return YamlMap({"name": name, "description": made("description", entry.node)}, entry.key.place)
    return YamlMap({"name": name}, entry.key.place)


class _Reader:
    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.rows: list[YamlMap] = []
        self.transitions: list[YamlMap] = []
        self.initial: list[YamlScalar] = []
        self.terminal: list[YamlScalar] = []

    def state(self, item: YamlNode) -> None:
        if isinstance(item, YamlScalar):
            item = YamlMap({"name": made("name", item)}, item.place)
        if not isinstance(item, YamlMap):
            self.notes.warn(
                item.place, "left_out", "a list stands where a state is meant; it is left out", "write - name: STATE"
            )
            return
        own = MapBuilder(item)
        leaving = next((own.take(name) for name in OUTWARD if isinstance(own.node(name), YamlList | YamlMap)), None)
        draft = MapBuilder(STATE.applied(own.branch(), self.notes))
        _timer(draft, self.notes)
        name = draft.node("name")
        if leaving is not None and isinstance(name, YamlScalar):
            self.transitions += outward(name, leaving, self.notes)
        elif leaving is not None:
            draft.put(str(leaving.key.value), leaving)
        if isinstance(name, YamlScalar) and isinstance(name.value, str):
            self._flags(draft, name)
        self.rows.append(draft.branch())

    def _flags(self, draft: MapBuilder, name: YamlScalar) -> None:
        kind = draft.node("state_type")
        if flag := _said(draft.node("is_initial")) or _kind(kind, INITIAL):
            self.initial.append(YamlScalar(name.value, flag.place))
        if flag := _said(draft.node("is_terminal")) or _kind(kind, TERMINAL):
            self.terminal.append(YamlScalar(name.value, flag.place))


def _said(node: YamlNode | None) -> YamlScalar | None:
    return node if isinstance(node, YamlScalar) and node.value is True else None


def _kind(node: YamlNode | None, known: tuple[str, ...]) -> YamlScalar | None:
    return node if isinstance(node, YamlScalar) and text_of(node).lower() in known else None


def _timer(draft: MapBuilder, notes: Notes) -> None:
    """``timeout: {ms, trigger}`` becomes two keys. A time without a trigger fires nothing, so it is ``max_duration_ms``."""
    entry = draft.entries.get("timeout_ms")
    if entry is not None and isinstance(entry.node, YamlMap):
        draft.entries.pop("timeout_ms")
        notes.wrapped(entry.key)
        for name, one in TIMER.applied(entry.node, notes).entries.items():
            draft.put(name, one)
    if "timeout_ms" in draft and "on_timeout" not in draft:
        draft.put("max_duration_ms", draft.take("timeout_ms"))


TIMER = KeyTable(
    names=aliases(timeout_ms="timeout duration_ms after_ms ms seconds duration_seconds", on_timeout="trigger event"),
)
