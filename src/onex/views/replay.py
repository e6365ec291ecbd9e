"""The result of a replay, of a verification, and of a trial of migrations, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ports import Env
from ..replay.migration_check import MigrationCheckResult, MigrationProblem
from ..replay.verdict import EnumReplayVerdict, ReplayResult
from ..replay.verify import VerifyResult, fix_of


def replay_json(
    result: ReplayResult, envs: Mapping[int, Env], here: Env, notes: Sequence[str], *, ok: bool
) -> dict[str, object]:
    """``bad`` holds the first hundred segments that are not equal."""
    return {
        "ok": ok,
        "instances": result.instances,
        "segments": result.segments,
        "actions": result.actions,
        "intents": result.intents,
        "mismatches": result.mismatches,
        "damage": list(result.damage),
        "unverified": result.unverified,
        "by_verdict": _by_name(result.by_verdict),
        "actions_by_verdict": _by_name(result.actions_by_verdict),
        "here": here._asdict(),
        "notes": list(notes),
        "bad": [
            {
                "key": str(segment.key),
                "first": segment.first,
                "last": segment.last,
                "verdict": segment.verdict.value,
                "code": {"version": segment.code.contract_version, "digest": segment.code.digest.hex()},
                "env": envs[segment.env_id]._asdict() if segment.env_id in envs else None,
                "reason": segment.reason,
                "differs_at": segment.differs_at or None,
                "since": segment.since or None,
            }
            for segment in result.bad
        ],
    }


def _by_name(counts: Mapping[str, int]) -> dict[str, int]:
    return {EnumReplayVerdict(verdict).value: count for verdict, count in sorted(counts.items())}


def migration_check_json(
    result: MigrationCheckResult, kept: Sequence[MigrationProblem], gaps: Sequence[str]
) -> dict[str, object]:
    """``gaps``: why an engine would not start. ``kept``: the first problems, row by row; ``names`` tells all by name."""
    return {
        "ok": not result.names and not gaps,
        "missing": list(gaps),
        "instances": result.instances,
        "migrated": result.migrated,
        "intents": result.intents,
        "foreign": result.foreign,
        "troubles": result.troubles,
        "names": [{**one._asdict(), "what": str(one.what)} for one in result.names.values()],
        "found": [{**one._asdict(), "key": str(one.key), "what": str(one.what)} for one in kept],
    }


def verify_json(result: VerifyResult) -> dict[str, object]:
    """``found`` holds the first thousand findings."""
    return {
        "ok": not result.findings,
        "instances": result.instances,
        "actions": result.actions,
        "checked": result.checked,
        "without_checksum": result.without,
        "findings": result.findings,
        "found": [
            {"key": None if one.key is None else str(one.key), "what": one.what, "fix": fix_of(one)}
            for one in result.found
        ],
    }
