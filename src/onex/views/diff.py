"""Compared contracts as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from ..contracts.diff.contract_diff import ContractChange
from ..doctor.comparison import ContractComparison, ContractSide


def diff_json(found: Sequence[ContractComparison]) -> dict[str, object]:
    return {
        "breaking": any(one.is_breaking for one in found),
        "short": any(one.is_short for one in found),
        "contracts": [_contract_json(one) for one in found],
        "summary": {
            "contracts": len(found),
            "added": sum(one.old is None for one in found),
            "removed": sum(one.new is None for one in found),
            "changed": sum(bool(one.difference and one.difference.changes) for one in found),
            "moved": sum(one.has_moved for one in found),
            "not_compared": sum(bool(one.problem) for one in found),
        },
    }


def _contract_json(one: ContractComparison) -> dict[str, object]:
    made = one.difference
    return {
        "name": one.name,
        "kind": next((side.kind for side in (one.new, one.old) if side is not None), ""),
        "what": "added" if one.old is None else "removed" if one.new is None else "both",
        "old": _side_json(one.old),
        "new": _side_json(one.new),
        "breaking": one.is_breaking,
        "owed": None if made is None else str(made.owed),
        "made": None if made is None or made.made is None else str(made.made),
        "short": one.is_short,
        "problem": one.problem,
        "hints": list(one.hints),
        "changes": [] if made is None else [_change_json(change) for change in made.changes],
        "notes": [] if made is None else [_change_json(change) for change in made.notes],
    }


def _side_json(side: ContractSide | None) -> dict[str, str] | None:
    return None if side is None else {"path": side.path, "version": side.number}


def _change_json(change: ContractChange) -> dict[str, object]:
    return {
        "path": change.path,
        "what": str(change.what),
        "old": change.old,
        "new": change.new,
        "breaking": change.breaking,
        "bump": str(change.bump),
        "reason": change.reason,
        "line_old": change.old_place.line,
        "line_new": change.new_place.line,
    }
