"""States in all their spellings: words, mappings with a name, or a mapping by name; with flags and transitions inside."""

from __future__ import annotations

from typing import NamedTuple

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .actions import actions
from .draft import KeyTable, MapBuilder, Notes, made, text, text_of, texts
from .transitions import outward
from .version import version

STATE = KeyTable(
    names={
        "state_name": "name",
        "state": "name",
        "id": "name",
        "state_id": "name",
        "status": "name",
        "desc": "description",
        "type": "state_type",
        "kind": "state_type",
        "on_enter": "entry_actions",
        "on_entry": "entry_actions",
        "entry": "entry_actions",
        "enter_actions": "entry_actions",
        "entry_action": "entry_actions",
        "on_enter_actions": "entry_actions",
        "actions_on_entry": "entry_actions",
        "actions_on_enter": "entry_actions",
        "on_exit": "exit_actions",
        "exit": "exit_actions",
        "on_leave": "exit_actions",
        "exit_action": "exit_actions",
        "on_exit_actions": "exit_actions",
        "actions_on_exit": "exit_actions",
        "timeout": "timeout_ms",
        "timeout_seconds": "timeout_ms",
        "timeout_s": "timeout_ms",
        "timeout_trigger": "on_timeout",
        "timeout_event": "on_timeout",
        "terminal": "is_terminal",
        "final": "is_terminal",
        "is_final": "is_terminal",
        "final_state": "is_terminal",
        "terminal_state": "is_terminal",
        "initial": "is_initial",
        "initial_state": "is_initial",
        "is_start": "is_initial",
        "error_state": "is_error",
        "recoverable": "is_recoverable",
        "required_fields": "required_data",
        "optional_fields": "optional_data",
    },
    shapes={
        "name": text,
        "version": version,
        "entry_actions": actions,
        "exit_actions": actions,
        "required_data": texts,
        "optional_data": texts,
    },
    scale={"timeout_seconds": 1000, "timeout_s": 1000},
)
OUTWARD = ("transitions", "allowed_transitions", "next_states", "next", "on", "valid_transitions", "can_transition_to")
"""Keys of a state under which its own transitions stand."""
INITIAL = ("initial", "start")
TERMINAL = ("final", "terminal", "end")


class StatesRead(NamedTuple):
    """``initial`` and ``terminal`` are the names of states that say so of themselves."""

    rows: tuple[YamlMap, ...] = ()
    transitions: tuple[YamlMap, ...] = ()
    initial: tuple[YamlScalar, ...] = ()
    terminal: tuple[YamlScalar, ...] = ()


def states(entry: YamlEntry, notes: Notes) -> StatesRead:
    """Nothing is read of what is neither a list nor a mapping."""
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
    """``timeout: {ms, trigger}`` is two keys; a time without a trigger fires nothing, and is not called a timer."""
    entry = draft.entries.get("timeout_ms")
    if entry is not None and isinstance(entry.node, YamlMap):
        draft.entries.pop("timeout_ms")
        notes.wrapped(entry.key)
        for name, one in TIMER.applied(entry.node, notes).entries.items():
            draft.put(name, one)
    if "timeout_ms" in draft and "on_timeout" not in draft:
        draft.put("max_duration_ms", draft.take("timeout_ms"))


TIMER = KeyTable(
    names={
        "timeout": "timeout_ms",
        "duration_ms": "timeout_ms",
        "after_ms": "timeout_ms",
        "ms": "timeout_ms",
        "seconds": "timeout_ms",
        "duration_seconds": "timeout_ms",
        "trigger": "on_timeout",
        "event": "on_timeout",
    },
    scale={"seconds": 1000, "duration_seconds": 1000},
)
