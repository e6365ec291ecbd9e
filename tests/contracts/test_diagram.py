"""The picture is drawn from the table that runs."""

from __future__ import annotations

from onex.contracts.diagram import mermaid
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
