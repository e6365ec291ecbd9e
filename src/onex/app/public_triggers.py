"""``public`` of the contracts of one app: each entry must open a trigger that would be closed without it."""

from __future__ import annotations

from collections.abc import Iterable

from ..contracts.compile import LocatedContract
from ..contracts.text.yaml_tree import place_of
from ..engine.internal_triggers import internal_triggers
from ..kernel.finding import EnumSeverity, Finding
from ..kernel.machine import MachineReducer
from ..kernel.step import State


def public_findings(
    contracts: Iterable[LocatedContract], reducers: Iterable[MachineReducer[State] | None]
) -> list[Finding]:
    """Warnings. What is internal is known of all workflows together: a message of one may bring a trigger of another."""
    internal = internal_triggers({one.workflow_type: one.intents for one in reducers if one is not None})
    return [
        Finding(
            "public_already",
            EnumSeverity.WARNING,
            *place_of(located.tree, ("public", n)).spot(located.path),
            f"public lists {trigger!r}, which no outcome, timer or message of this app brings: clients may send it anyway",
            "remove it from public",
        )
        for located in contracts
        for n, trigger in enumerate(located.contract.public)
        if trigger not in internal[located.contract.name]
    ]
