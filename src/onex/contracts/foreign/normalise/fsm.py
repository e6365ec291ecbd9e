"""State machines in all spellings (docs/reference/contracts.md) become one: states, transitions, initial and terminal states.

Where the machine stands: a key of MACHINES, or its parts under keys of LOOSE. What it is: a mapping of parts, a list of
transitions, or a mapping of states.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .conditions import actions
from .draft import KeyTable, MapBuilder, Notes, aliases, made, scaled, text, text_of, texts, version
from .states import StatesRead, states
from .transitions import looks_like_transition, transitions

MACHINES = ("state_machine", "state_transitions", "fsm", "fsm_subcontract", "fsm_config", "fsm_definition")
"""Keys under which a machine stands, here or in ``subcontracts``. The first one present is used."""

LOOSE: Mapping[str, str] = {
    "fsm_states": "states",
    "fsm_transitions": "transitions",
    "fsm_initial_state": "initial_state",
    "fsm_terminal_states": "terminal_states",
    "states": "states",
    "transitions": "transitions",
    "initial_state": "initial_state",
    "terminal_states": "terminal_states",
    "final_states": "terminal_states",
}
"""Parts of a machine that stand in the contract itself."""

MACHINE = KeyTable(
    names=aliases(
        initial_state="initial start start_state initial_status default_state fsm_initial_state",
        terminal_states="final_states end_states terminal accepting_states terminal_state final_state",
        error_states="failure_states error_state",
        state_machine_name="name fsm_name machine_name",
        state_machine_version="machine_version fsm_version",
        states="fsm_states state_list state_definitions",
        transitions="fsm_transitions transition_rules state_transitions allowed_transitions transition_map edges",
    ),
    shapes={
        "initial_state": text,
        "terminal_states": texts,
        "error_states": texts,
        "state_machine_name": text,
        "state_machine_version": version,
        "version": version,
        "subcontract_version": version,
        "entry_actions": actions,
        "exit_actions": actions,
    },
)
_PARTS = {"states", "transitions", "initial_state", "terminal_states", "error_states", "state_machine_name", "version"}


def machine(draft: MapBuilder, notes: Notes) -> None:
    """Puts ``state_machine`` into ``draft``, when there is one."""
    entry = draft.take(*MACHINES)
    loose = {name: draft.entries[name] for name in LOOSE if name in draft.entries}
    if (entry is None and {LOOSE[name] for name in loose} & {"transitions"}) or "fsm_states" in loose:
        inside = dict(entry.node.entries) if entry is not None and isinstance(entry.node, YamlMap) else {}
        for name in loose:
            inside.setdefault(LOOSE[name], draft.entries.pop(name))
        place = next(iter(loose.values())).key.place
        entry = YamlEntry(entry.key if entry else YamlScalar("state_machine", place), YamlMap(inside, place))
    if entry is not None:
        draft.put("state_machine", entry._replace(node=_machine(entry.node, notes)))


def _machine(node: YamlNode, notes: Notes) -> YamlNode:
    if isinstance(node, YamlList):
        part = "transitions" if any(looks_like_transition(item) for item in node.items) else "states"
        node = YamlMap({part: made(part, node)}, node.place)
    if not isinstance(node, YamlMap) or "$ref" in node.entries or not node.entries:
        return node
    if not _PARTS & {MACHINE.names.get(name, name) for name in node.entries}:
        node = YamlMap({"states": made("states", node)}, node.place)
    draft = MapBuilder(MACHINE.applied(node, notes))
    listed = draft.take("states")
    read = states(listed, notes) if listed else StatesRead()
    if read.rows and listed:
        draft.put("states", listed._replace(node=YamlList(read.rows, listed.node.place)))
    elif listed:
        draft.put("states", listed)
    _transitions(draft, read, notes)
    _timeouts(draft, notes)
    _ends(draft, read, notes)
    return draft.branch()


def _transitions(draft: MapBuilder, read: StatesRead, notes: Notes) -> None:
    """Those of the machine, then those that stand inside the states."""
    known = frozenset(text_of(row.get("name")) for row in read.rows)
    entry = draft.take("transitions")
    rows = (*(transitions(entry.node, notes, known) if entry else ()), *read.transitions)
    if rows:
        key = entry.key if entry else YamlScalar("transitions", rows[0].place)
        draft.put("transitions", YamlEntry(key, YamlList(rows, entry.node.place if entry else key.place)))
    elif entry:
        draft.put("transitions", entry)


def _ends(draft: MapBuilder, read: StatesRead, notes: Notes) -> None:
    """Moves ``is_terminal`` and ``is_initial`` of states to the machine."""
    listed = draft.node("terminal_states")
    known = {text_of(item) for item in listed.items} if isinstance(listed, YamlList) else set()
    more = [leaf for leaf in read.terminal if leaf.value not in known]
    if more:
        draft.extend("terminal_states", YamlScalar("terminal_states", more[0].place), more)
    if "initial_state" not in draft and read.initial:
        draft.make("initial_state", read.initial[0])
    elif "initial_state" not in draft:
        first = _first(draft, read)
        if first is not None:
            message = f"the machine does not say where it begins; the first state, {first.value!r}, is taken"
            notes.warn(first.place, "initial_assumed", message, f"add initial_state: {first.value}")
            draft.make("initial_state", first)
    begin = draft.entries.get("initial_state")
    if begin is not None and isinstance(begin.node, YamlMap) and "name" in begin.node.entries:
        draft.entries["initial_state"] = begin._replace(node=begin.node.entries["name"].node)


def _first(draft: MapBuilder, read: StatesRead) -> YamlScalar | None:
    """The first state; without states, the one that the first transition leaves."""
    named = [row.get("name") for row in read.rows[:1]]
    rows = draft.node("transitions")
    if not named and isinstance(rows, YamlList):
        named = [row.get("from_state") for row in rows.items if isinstance(row, YamlMap)]
    return next((one for one in named if isinstance(one, YamlScalar) and text_of(one) not in ("", "*")), None)


def _timeouts(draft: MapBuilder, notes: Notes) -> None:
    """``timeouts: {STATE: ms | {timeout_ms, on_timeout}}`` belongs to the states."""
    entry, rows = draft.entries.get("timeouts"), draft.node("states")
    if entry is None or not isinstance(entry.node, YamlMap) or not isinstance(rows, YamlList):
        return
    by_name = dict(entry.node.entries)
    completed: list[YamlNode] = []
    for row in rows.items:
        name = text_of(row.get("name")) if isinstance(row, YamlMap) else ""
        if not isinstance(row, YamlMap) or name not in by_name:
            completed.append(row)
            continue
        timeout = by_name.pop(name)
        notes.wrapped(timeout.key)
        inside = TIMEOUT.applied(timeout.node, notes).entries if isinstance(timeout.node, YamlMap) else {}
        if isinstance(timeout.node, YamlScalar):
            inside = {"timeout_ms": YamlEntry(timeout.key, scaled(timeout.node, 1))}
        completed.append(YamlMap({**inside, **row.entries}, row.place))
    if len(by_name) < len(entry.node.entries):
        notes.wrapped(entry.key)
        draft.entries["states"] = draft.entries["states"]._replace(node=YamlList(tuple(completed), rows.place))
        draft.leave("timeouts", by_name)


TIMEOUT = KeyTable(
    names=aliases(timeout_ms="timeout duration_ms ms timeout_seconds seconds", on_timeout="trigger event"),
)
