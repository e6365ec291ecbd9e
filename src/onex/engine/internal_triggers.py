"""Internal triggers: what an app brings about by itself, and no client may say in its place (promise 43).

A client that submits "charged" where nobody charged makes a false statement, which no machine can detect. So a trigger to which
an outcome, a timer or a message of the app leads is taken from the engine alone, unless its contract lists it under ``public``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..kernel.intent import RUN_BEGIN, START_SUFFIX, EnumIntentType, IntentTable


class Brought(NamedTuple):
    """``trigger`` of ``workflow_type`` is brought ``by`` something of the app, in words."""

    workflow_type: str
    trigger: str
    by: str


def internal_triggers(tables: Mapping[str, IntentTable]) -> dict[str, dict[str, str]]:
    """``found[workflow type][trigger] -> what brings it``, of an app whose workflows have these intents."""
    found: dict[str, dict[str, str]] = {workflow_type: {} for workflow_type in tables}
    for workflow_type, table in tables.items():
        for one in _brought(workflow_type, table):
            if one.workflow_type in found:
                found[one.workflow_type].setdefault(one.trigger, one.by)
    return found


def _brought(workflow_type: str, table: IntentTable) -> Iterator[Brought]:
    for spec in table.by_name.values():
        if spec.kind == EnumIntentType.TIMER:
            by = f"the timer of status {spec.name[1:]!r}" if spec.name[0] == "@" else f"timer {spec.name!r}"
            yield from _of_its_own(workflow_type, spec.name, spec.trigger, by)
        elif spec.kind == EnumIntentType.ACTION_SEND:
            yield Brought(spec.target, spec.trigger, f"message {spec.name!r} of {workflow_type}")
        elif spec.kind == RUN_BEGIN:
            yield Brought(workflow_type.removesuffix(START_SUFFIX), spec.name, f"its start policy, {workflow_type},")
        for outcome, trigger in spec.outcomes.items():
            yield from _of_its_own(workflow_type, spec.name, trigger, f"outcome {outcome} of intent {spec.name!r}")


def _of_its_own(workflow_type: str, intent: str, trigger: str, by: str) -> Iterator[Brought]:
    """Of a combined reducer too: without the name of its part, the trigger would reach the same handler."""
    yield Brought(workflow_type, trigger, by)
    part, dot, _ = intent.partition(".")
    if dot:
        yield Brought(workflow_type, trigger.removeprefix(f"{part}."), by)
