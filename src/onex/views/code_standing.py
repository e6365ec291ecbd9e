"""Which code instances stand on, as JSON: one document per code."""

from __future__ import annotations

from ..replay.code_standing import CodeStanding
from .stored_value import iso


def code_standing_json(one: CodeStanding) -> dict[str, object]:
    """``code`` is the digest; ``last_used`` is null where no instance stands on it."""
    return {
        "workflow_type": one.code.workflow_type,
        "code": one.code.digest.hex(),
        "contract_version": one.code.contract_version,
        "state_schema": one.code.state_schema,
        "revisions": list(one.revisions),
        "current": one.current,
        "in_flight": one.in_flight,
        "held": one.held,
        "ended": one.ended,
        "last_used": iso(one.last_us) if one.last_us else None,
        "holds": [
            {
                "status": each.status,
                "held": each.held,
                "instances": each.instances,
                "oldest": str(each.oldest),
                "since": iso(each.since_us),
                "waits_for": list(each.waits_for),
            }
            for each in one.holds
        ],
    }
