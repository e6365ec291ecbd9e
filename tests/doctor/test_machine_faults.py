"""Faults of machines: each once, and a sound machine without any."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doctor.planted import examined, reported

HEAD = """\
name: till
node_type: REDUCER_GENERIC
contract_version: {major: 1, minor: 0, patch: 0}
state_machine:
  initial_state: closed
"""
SOUND = """\
  terminal_states: [gone]
  transitions:
    - {from_state: closed, to_state: open, trigger: open}
    - {from_state: open, to_state: closed, trigger: close}
    - {from_state: closed, to_state: gone, trigger: sell}
"""
FAULTS = {
    "unreachable": (SOUND + "    - {from_state: lost, to_state: gone, trigger: sell}\n", ["state_unreachable 11"]),
    "dead end": (SOUND + "    - {from_state: open, to_state: stuck, trigger: jam}\n", ["dead_end 11"]),
    "no terminal at all": (
        "  transitions:\n    - {from_state: closed, to_state: open, trigger: open}\n",
        ["no_terminal_state 7"],
    ),
    "a circle without an end": (
        SOUND
        + "    - {from_state: open, to_state: broken, trigger: drop}\n"
        + "    - {from_state: broken, to_state: mending, trigger: mend}\n"
        + "    - {from_state: mending, to_state: broken, trigger: drop}\n",
        ["no_way_to_an_end 11"],
    ),
    "a trigger from where nobody gets": (
        SOUND + "    - {from_state: lost, to_state: gone, trigger: find}\n",
        ["state_unreachable 11", "trigger_never_enabled 11"],
    ),
    "a trigger from an end": (
        SOUND + "    - {from_state: gone, to_state: closed, trigger: reopen}\n",
        ["trigger_never_enabled 11"],
    ),
    "a state behind an end": (
        SOUND + "    - {from_state: gone, to_state: closed, trigger: reopen}\n"
        "    - {from_state: gone, to_state: back, trigger: reopen}\n    - {from_state: back, to_state: gone, trigger: sell}\n",
        ["state_unreachable 12", "trigger_never_enabled 11", "nondeterministic 12"],
    ),
    "two ways by one trigger": (
        SOUND + "    - {from_state: closed, to_state: closed, trigger: open}\n",
        ["nondeterministic 11"],
    ),
    "one way twice": (SOUND + "    - {from_state: closed, to_state: open, trigger: open}\n", ["transition_twice 11"]),
}
FINE = {
    "sound": SOUND,
    "a condition chooses": SOUND.replace("trigger: open}", "trigger: open, conditions: [{expression: cash > 0}]}")
    + "    - {from_state: closed, to_state: closed, trigger: open}\n",
    "a priority chooses": SOUND + "    - {from_state: closed, to_state: gone, trigger: open, priority: -1}\n",
    "any state": SOUND + "    - {from_state: '*', to_state: gone, trigger: burn}\n",
    "it never ends, and says so": "  transitions:\n    - {from_state: closed, to_state: open, trigger: open}\n"
    "    - {from_state: open, to_state: closed, trigger: close}\n",
}


@pytest.mark.parametrize(("machine", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_reported_at_its_line(machine: str, expected: list[str], tmp_path: Path) -> None:
    found = reported(examined(tmp_path, {"till.yaml": HEAD + machine}), tmp_path)
    assert [one.replace("till.yaml:", "") for one in found] == expected


def test_why_a_trigger_is_never_enabled_names_every_state_it_starts_from(tmp_path: Path) -> None:
    lost = "    - {from_state: lost, to_state: gone, trigger: find}\n"
    for more, why in (
        (lost, "'lost' is never entered"),
        (lost + lost.replace("lost", "left"), "'left', 'lost' are never entered"),
    ):
        found = [one.finding for one in examined(tmp_path, {"till.yaml": HEAD + SOUND + more}).findings]
        assert [one.message for one in found if one.code == "trigger_never_enabled"] == [
            f"till: trigger 'find' is never enabled: {why}"
        ]


@pytest.mark.parametrize("machine", FINE.values(), ids=FINE)
def test_a_sound_machine_is_left_alone(machine: str, tmp_path: Path) -> None:
    assert reported(examined(tmp_path, {"till.yaml": HEAD + machine}), tmp_path) == []
