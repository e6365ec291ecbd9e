"""Every event that tells of one action or intent has its correlation id: it is read in the code, since some need a crash."""

from __future__ import annotations

import ast

from onex.engine.metrics import EVENTS
from tests.laws.tree import ROOT

OF_AN_INSTANCE = {"instance_held", "over_rate", "state_unreadable"}
"""Of an instance, and of no single action; the line of the action stands beside it."""


def calls() -> list[tuple[str, str, ast.Call]]:
    """``(file, event, call)`` of each place that tells an event."""
    found = []
    for path in sorted((ROOT / "src" / "onex" / "engine").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.args[0].value
                if name in EVENTS and isinstance(node.func, ast.Attribute | ast.Name):
                    found.append((path.name, str(name), node))
    return found


def test_each_event_with_a_key_has_the_correlation_id_too() -> None:
    found = calls()
    assert len({name for _, name, _ in found}) > 25
    lacking = [
        (file, name)
        for file, name, call in found
        if "key" in (given := {one.arg for one in call.keywords}) and "correlation" not in given
    ]
    assert {name for _, name in lacking} <= OF_AN_INSTANCE, lacking
