"""A what-if as JSON: one document per instance that is not the same, and one of the totals."""

from __future__ import annotations

from dataclasses import fields

from ..whatif.result import DifferenceClass, DifferenceGroup, InstanceResult, WhatIfSummary
from ..whatif.value_diff import Changes
from .stored_value import parse_json

Document = dict[str, object]


def instance_result_json(result: InstanceResult) -> Document:
    """``state`` is null where the recorded state is not known; lists hold the first 20, ``counts`` all."""
    first, opened = result.first, result.opened
    return {
        "key": str(result.key),
        "branch": result.branch.value,
        "actions": result.actions,
        "folded": result.folded,
        "first": None if first is None else first._asdict(),
        "recorded_status": result.recorded_status,
        "status": result.status,
        "state": None if result.state is None else _changes(result.state),
        "state_changes": None if result.state is None else result.state.total,
        "intents": [
            {
                "version": one.version,
                "how": one.how.value,
                "name": one.name,
                "recorded": _value(one.old),
                "now": _value(one.new),
                "changes": _changes(one.changes),
            }
            for one in result.intents
        ],
        "refused": [one._asdict() for one in result.refused],
        "open": None if opened is None else {"from": opened.version, "trigger": opened.trigger, "why": opened.why},
        "stranded": result.stranded or None,
        "counts": result.counts,
    }


def what_if_summary_json(tally: WhatIfSummary, fired: int, passed: list[str], words: Document) -> Document:
    """``words`` is what was asked; ``passed`` the budgets that did not hold."""
    return {
        "ok": not passed,
        **words,
        **{one.name.replace("opened", "open"): getattr(tally.totals, one.name) for one in fields(tally.totals)},
        "effects_fired": fired,
        "passed": passed,
        "groups": [_group(alike, group) for alike, group in tally.ranked()],
    }


def _group(alike: DifferenceClass, group: DifferenceGroup) -> Document:
    return {
        **alike._asdict(),
        "instances": group.instances,
        "open": group.opened,
        "stranded": group.stranded,
        "examples": [str(result.key) for result in group.examples],
    }


def _changes(changes: Changes) -> list[Document]:
    return [{"path": one.path, "recorded": _value(one.old), "now": _value(one.new)} for one in changes.first]


def _value(text: str) -> object:
    """JSON where it was not cut, else the text; null for what is not there."""
    return parse_json(text.encode()) if text else None
