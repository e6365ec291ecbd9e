"""The picture of a machine, drawn from the table that runs, so it cannot go stale."""

from __future__ import annotations

from ..kernel.machine import Machine


def mermaid(machine: Machine) -> str:
    """A ``stateDiagram-v2``, in the contract's order. ``*`` is drawn from every state that is not terminal."""
    lines = ["stateDiagram-v2", f"    [*] --> {_id(machine.initial)}"]
    for status in machine.statuses:
        if _id(status) != status:
            lines.append(f'    state "{status}" as {_id(status)}')
    for status in machine.statuses:
        for trigger, transitions in machine.table[status].items():
            for transition in transitions:
                guards = " and ".join(guard.text for guard in transition.guards)
                told = f"{trigger} [{_text(guards)}]" if guards else trigger
                lines.append(f"    {_id(status)} --> {_id(transition.to_state)} : {told}")
        if (timeout := machine.timeouts.get(status)) is not None:
            seconds = timeout.after_us / 1_000_000
            lines.append(f"    note right of {_id(status)} : {timeout.trigger} after {seconds:g} s")
    lines += [f"    {_id(status)} --> [*]" for status in machine.statuses if status in machine.terminal]
    return "\n".join(lines) + "\n"


def _id(status: str) -> str:
    return status.replace("-", "_")


# Mermaid ends a label at a semicolon or line break, and reads # as the start of an entity
_ENTITIES = str.maketrans({"#": "#35;", ";": "#59;", ":": "#58;", "<": "#lt;", ">": "#gt;", '"': "#quot;"})


def _text(guard: str) -> str:
    return " ".join(guard.split()).translate(_ENTITIES)
