"""The picture is drawn from the table that runs."""

from __future__ import annotations

from xml.etree import ElementTree

from onex.contracts.draw.machine_diagram import machine_svg, mermaid, state_graph
from onex.kernel.machine import Guard, Machine, Timeout, Transition


def test_every_transition_guard_timer_and_end_is_drawn_in_the_contract_s_order() -> None:
    machine = Machine(
        "new",
        (
            Transition("new", "in-work", "start", (Guard('a > 1; b: "x" #1', lambda state, payload: True),)),
            Transition("in-work", "done", "finish"),
            Transition("*", "gone", "cancel"),
        ),
        frozenset({"done", "gone"}),
        {"in-work": Timeout(90_000_000, "cancel")},
    )
    assert mermaid(machine).split("\n") == [
        "stateDiagram-v2",
        "    [*] --> new",
        '    state "in-work" as in_work',
        "    new --> in_work : start [a #gt; 1#59; b#58; #quot;x#quot; #35;1]",
        "    new --> gone : cancel",
        "    in_work --> done : finish",
        "    in_work --> gone : cancel",
        "    note right of in_work : cancel after 90 s",
        "    done --> [*]",
        "    gone --> [*]",
        "",
    ]


def test_a_transition_that_a_more_exact_one_shadows_is_not_drawn() -> None:
    small = Guard("a < 1", lambda state, payload: True)
    machine = Machine(
        "new",
        (
            Transition("new", "open", "begin"),
            Transition("*", "gone", "cancel"),
            Transition("open", "kept", "cancel", (small,)),  # "*" is tried behind it
            Transition("kept", "new", "cancel"),  # and never behind this one
            Transition("kept", "open", "cancel", (small,), priority=1),
            Transition("kept", "gone", "cancel", priority=-1),
        ),
        frozenset({"gone"}),
        {"kept": Timeout(1_000_000, "cancel")},
    )
    arrows = [line.strip() for line in mermaid(machine).splitlines() if " : " in line and "-->" in line]
    assert arrows == [
        "new --> open : begin",
        "new --> gone : cancel",
        "open --> kept : cancel [a #lt; 1]",
        "open --> gone : cancel",
        "kept --> open : cancel [a #lt; 1]",
        "kept --> new : cancel",
    ]
    assert [(edge.source, edge.target) for edge in state_graph(machine).edges[1:]] == [
        ("new", "open"), ("*", "gone"), ("open", "kept"), ("kept", "new"), ("kept", "open"),
    ]  # fmt: skip


def test_any_state_is_no_box_where_every_status_has_a_transition_of_its_own() -> None:
    machine = Machine(
        "new", (Transition("new", "done", "end"), Transition("*", "lost", "end")), frozenset({"done", "lost"})
    )
    assert "*" not in [node.id for node in state_graph(machine).nodes]
    assert "lost" in mermaid(machine).split()


def test_a_state_that_no_transition_touches_is_drawn() -> None:
    machine = Machine(
        "new", (Transition("new", "done", "end"),), frozenset({"done"}), states=("new", "island", "is-le")
    )
    assert mermaid(machine).split("\n")[1:-1] == [
        "    [*] --> new",
        "    island",
        '    state "is-le" as is_le',
        "    new --> done : end",
        "    done --> [*]",
    ]
    assert [node.label for node in state_graph(machine).nodes[1:]] == ["new", "done", "island", "is-le"]


def test_the_figure_has_a_start_every_state_and_one_box_for_any_state() -> None:
    machine = Machine(
        "new",
        (Transition("new", "open", "begin"), Transition("open", "late", "tick"), Transition("*", "gone", "cancel")),
        frozenset({"gone"}),
        {"open": Timeout(5_400_000_000, "tick"), "late": Timeout(86_400_000_000, "cancel")},
    )
    nodes, edges = state_graph(machine)
    assert [(node.label, node.kind) for node in nodes] == [
        ("", "start"),
        ("new", "state"),
        ("open", "state"),
        ("late", "state"),
        ("gone", "terminal"),
        ("any state", "any"),
    ]
    assert [(edge.source, edge.target, edge.label, edge.kind) for edge in edges[1:]] == [
        ("new", "open", "begin", ""),
        ("open", "late", "tick after 1.5 h", "timeout"),
        ("*", "gone", "cancel", ""),
        ("late", "gone", "cancel after 1 d", "timeout"),
    ]


def test_the_picture_says_its_name_and_what_a_screen_reader_should_tell() -> None:
    machine = Machine("new", (Transition("new", "done", "end"),), frozenset({"done"}))
    root = ElementTree.fromstring(machine_svg(machine, "parcels & more"))
    space = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{space}title") == "parcels & more"
    assert root.findtext(f"{space}desc") == "A state machine of 2 states and 1 transitions, from new to done."
