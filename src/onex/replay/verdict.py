"""Verdict: what a replay says of a segment, and the sums over all of them. Plain values; ``replay.py`` fills them in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

import orjson
from pydantic import JsonValue

from ..kernel.action import WorkflowKey
from ..ports import Code

BAD_KEPT = 100
FIELDS_SHOWN = 5


class EnumReplayVerdict(StrEnum):
    """In the words of promise 31. A redacted history is neither equal nor a mismatch: its hashes cover bytes that are gone. Nor is
    one whose values cannot be read here, or by anybody any more; its order is checked all the same.

    Same decisions: statuses, intents and the values of states are equal, and the bytes are not. So it is where a field with
    a default was added.
    """

    EQUAL = "equal"
    MISMATCH = "MISMATCH"
    OTHER_CODE_EQUAL = "other code, equal"
    OTHER_CODE_SAME_DECISIONS = "other code, same decisions"
    OTHER_CODE_DIFFERS = "other code, differs"
    CODE_NOT_AT_HAND = "code not at hand"
    REDACTED = "unverified (redacted)"
    ENCRYPTED = "unverified (encrypted)"
    ERASED = "unverified (erased)"


@dataclass(frozen=True, slots=True)
class Segment:
    """Versions ``first ... last`` of one instance under one code. ``reason`` says what differed first, and where.

    ``differs_at`` is the first version that is known to differ, 0 for none. Few states are stored, so the difference may
    have begun earlier: at ``since`` at the earliest, the version behind the last state that was found equal.
    """

    key: WorkflowKey
    first: int
    last: int
    code: Code
    env_id: int
    verdict: EnumReplayVerdict
    reason: str = ""
    differs_at: int = 0
    since: int = 0


@dataclass(slots=True)
class ReplayResult:
    """The sums. ``unverified`` counts log rows not checked under their own code, ``intents`` those folded.

    ``by_verdict`` counts segments, ``actions_by_verdict`` the log rows in them. ``bad`` holds the first hundred segments
    that are not equal. ``damage`` is what the store says against itself and no segment shows.
    """

    instances: int = 0
    segments: int = 0
    actions: int = 0
    intents: int = 0
    mismatches: int = 0
    unverified: int = 0
    by_verdict: dict[str, int] = field(default_factory=dict)
    actions_by_verdict: dict[str, int] = field(default_factory=dict)
    bad: list[Segment] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)

    def add(self, segment: Segment) -> None:
        rows, verdict = segment.last - segment.first + 1, segment.verdict
        self.segments += 1
        self.by_verdict[verdict] = self.by_verdict.get(verdict, 0) + 1
        self.actions_by_verdict[verdict] = self.actions_by_verdict.get(verdict, 0) + rows
        if verdict is EnumReplayVerdict.EQUAL:
            return
        if verdict is EnumReplayVerdict.MISMATCH:
            self.mismatches += 1
        else:
            self.unverified += rows
        if len(self.bad) < BAD_KEPT:
            self.bad.append(segment)

    def join(self, other: ReplayResult) -> None:
        """Adds the result of another process, over other instances. ``bad`` is in key order again."""
        for name in ("instances", "segments", "actions", "intents", "mismatches", "unverified"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in (
            (self.by_verdict, other.by_verdict),
            (self.actions_by_verdict, other.actions_by_verdict),
        ):
            for verdict, count in theirs.items():
                mine[verdict] = mine.get(verdict, 0) + count
        self.damage += other.damage
        self.bad = sorted((*self.bad, *other.bad), key=lambda one: (one.key, one.first))[:BAD_KEPT]


def state_difference(folded: bytes, stored: bytes) -> str:
    """The fields that differ, as ``path: folded X, stored Y``. At most five; where no field differs, both texts."""
    try:
        found = list(islice(_differing(orjson.loads(folded), orjson.loads(stored), ""), FIELDS_SHOWN + 1))
    except orjson.JSONDecodeError:
        found = []
    if not found:  # the same value in other bytes, or no JSON at all
        return f"folded {cut(folded)}, stored {cut(stored)}"
    return "; ".join(found[:FIELDS_SHOWN]) + ("; and more" if len(found) > FIELDS_SHOWN else "")


def only_adds(folded: bytes, stored: bytes) -> bool:
    """Whether the folded JSON is the stored one with more fields, at most: no stored value is missing or another."""
    try:
        return _holds(orjson.loads(folded), orjson.loads(stored))
    except orjson.JSONDecodeError:
        return False


def _holds(folded: JsonValue, stored: JsonValue) -> bool:
    if isinstance(folded, dict) and isinstance(stored, dict):
        return all(name in folded and _holds(folded[name], one) for name, one in stored.items())
    if isinstance(folded, list) and isinstance(stored, list):
        return len(folded) == len(stored) and all(map(_holds, folded, stored))
    return type(folded) is type(stored) and folded == stored


def _differing(folded: JsonValue, stored: JsonValue, path: str) -> list[str]:
    if isinstance(folded, dict) and isinstance(stored, dict):
        below: list[str] = []
        for name in dict.fromkeys((*folded, *stored)):
            inner = f"{path}.{name}" if path else name
            if name not in stored:
                below.append(f"{inner}: folded {_shown(folded[name])}, stored nothing")
            elif name not in folded:
                below.append(f"{inner}: folded nothing, stored {_shown(stored[name])}")
            else:
                below += _differing(folded[name], stored[name], inner)
        return below
    if type(folded) is type(stored) and folded == stored:
        return []
    return [f"{path or 'state'}: folded {_shown(folded)}, stored {_shown(stored)}"]


def _shown(value: JsonValue) -> str:
    return cut(orjson.dumps(value), 80)


def cut(data: bytes, most: int = 400) -> str:
    """Bytes as text for a sentence, cut at ``most`` characters."""
    text = data.decode(errors="replace")
    return text if len(text) <= most else f"{text[:most]}... ({len(data)} bytes)"
