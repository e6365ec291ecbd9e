"""What ``onex replay`` says of a result, to people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ..ports import Env
from ..replay.verdict import EnumReplayVerdict, ReplayResult, Segment
from .console import counted, harmless, note, say, styled, table

COLOURS: Final = {EnumReplayVerdict.MISMATCH: "red", EnumReplayVerdict.EQUAL: "green"}
SHOWN: Final = 20


def refused(result: ReplayResult, *, strict: bool) -> bool:
    """A mismatch or other damage; nothing could be folded; or with ``strict`` any verdict but equal."""
    other = set(result.by_verdict) - {EnumReplayVerdict.EQUAL}
    return (
        result.mismatches > 0
        or result.damage != []
        or nothing_at_hand(result)
        or nothing_readable(result)
        or (strict and other != set())
    )


def nothing_at_hand(result: ReplayResult) -> bool:
    return set(result.by_verdict) == {EnumReplayVerdict.CODE_NOT_AT_HAND}


def nothing_readable(result: ReplayResult) -> bool:
    return set(result.by_verdict) == {EnumReplayVerdict.ENCRYPTED}


def show(result: ReplayResult, envs: Mapping[int, Env], here: Env, notes: Sequence[str], app: str) -> None:
    """Mismatches first, then other segments that are not equal, then counts by verdict."""
    bad = sorted(result.bad, key=lambda one: one.verdict is not EnumReplayVerdict.MISMATCH)
    for segment in bad[:SHOWN]:
        _show_segment(segment, envs, here)
    if len(bad) > SHOWN:
        note("there are more; --json shows a hundred")
    for one in result.damage[:SHOWN]:
        say(f"{styled('damage', 'red')}  {harmless(one)}")
    counts = sorted(result.by_verdict.items())
    if len(counts) > 1:
        rows = [(name, f"{count:,}", f"{result.actions_by_verdict[name]:,}") for name, count in counts]
        table(("verdict", "segments", "actions"), rows, right=(1, 2))
    else:
        for verdict, count in counts:
            say(f"{counted(count, 'segment')}: {styled(verdict, _colour(EnumReplayVerdict(verdict)))}")
    say(f"{counted(result.instances, 'instance')}, {counted(result.actions, 'action')}, {result.unverified} unverified")
    for one in notes:
        note(harmless(one))
    if nothing_readable(result):
        note("nothing was verified: every value is encrypted; name the master keys: ONEX_CODEC_KEYS")
    if nothing_at_hand(result):
        types = sorted({one.key.workflow_type for one in result.bad})
        note(
            f"nothing was verified: the log is of {harmless(', '.join(types))}, which {harmless(app)} does not have; "
            "give the folder that has it, or the folder above it"
        )


def _show_segment(segment: Segment, envs: Mapping[int, Env], here: Env) -> None:
    code = f"code {segment.code.contract_version}, {segment.code.digest.hex()[:12]}"
    verdict = styled(segment.verdict, _colour(segment.verdict))
    say(f"{verdict}  {harmless(str(segment.key))}  versions {segment.first} to {segment.last}  {code}")
    if segment.reason:
        say(f"  {harmless(segment.reason)}")
    if (more := _unknown(segment)) != "":
        say(f"  {more}")
    if segment.verdict is EnumReplayVerdict.MISMATCH:
        say(f"  {_env_difference(envs.get(segment.env_id), here)}")


def _unknown(segment: Segment) -> str:
    """What replay cannot know about the first difference."""
    if segment.verdict is EnumReplayVerdict.REDACTED:
        return "redacted: its hashes cover values that were replaced" + (
            ", and the difference may come from that alone"
            if segment.reason
            else "; statuses and intents fold the same"
        )
    if 0 < segment.since < segment.differs_at:
        return (
            f"statuses and intents before version {segment.differs_at} are the same; states in between are not stored, so the "
            f"state may differ from version {segment.since} on"
        )
    return ""


def _colour(verdict: EnumReplayVerdict) -> str:
    return COLOURS.get(verdict, "yellow")


def _env_difference(made: Env | None, here: Env) -> str:
    if made is None:
        return "environment not recorded"
    differs = [f"{name} {old or '?'} (here {new or '?'})" for name, old, new in _differences(made, here)]
    return (
        f"made with {', '.join(differs)}" if differs else "made in the same environment as here: impure code, or damage"
    )


def _differences(made: Env, here: Env) -> list[tuple[str, str, str]]:
    pairs = zip(Env._fields, made, here, strict=True)
    return [(name.replace("_", " "), old, new) for name, old, new in pairs if old != new]
