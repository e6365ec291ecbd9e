"""The check from outside: what clients were answered and what the outside saw, compared with the log. It shares no engine code.

Everything here is a value, so that evidence with a planted error can be checked as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID, uuid5

from tests.chaos.far_side import Call

TIMERS = frozenset({"alarm", "@waiting"})
OUTSIDE: Mapping[str, str] = {"charge": "charged", "pack": "packed"}
"""The effects that the far side sees, and what the log calls their success."""
SHOWN = 12


class Acknowledged(NamedTuple):
    """A client was told that its action is applied. ``ticket`` is its place in the inbox; ``again``: it was sent before.

    ``begun_s`` and ``told_s``: when its client began to send it, and had the answer, by the machine's clock.
    """

    key: str
    action_id: str
    version: int
    status: str
    sender: str
    ticket: int
    again: bool
    begun_s: float = 0.0
    told_s: float = 0.0


class Refused(NamedTuple):
    """A client was told that its action was refused for good."""

    key: str
    action_id: str
    code: str


class Row(NamedTuple):
    """A row of the log. ``intents`` are ``(name, n)``, without timers that it cancels; ``told`` is what it says of a failure."""

    key: str
    version: int
    action_id: str
    kind: str
    status: str
    intents: tuple[tuple[str, int], ...] = ()
    cause: str = ""


class Left(NamedTuple):
    """An intent that stands in the outbox still. ``state`` is waiting, held or dead."""

    key: str
    version: int
    name: str
    state: str


@dataclass(slots=True)
class Evidence:
    """All there is to check by, after everything has drained."""

    told: list[Acknowledged] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    log: list[Row] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    rejected: set[tuple[str, str]] = field(default_factory=set)
    """``(key, action id)`` of the rejections the store keeps."""


class Verdict(NamedTuple):
    """Findings by kind; nothing is wrong when there are none. ``numbers`` is what was counted on the way."""

    found: Mapping[str, Sequence[str]]
    numbers: Mapping[str, int]


def check(evidence: Evidence) -> Verdict:
    found: dict[str, list[str]] = {}
    for kind, told in (
        ("lost", lost(evidence)),
        ("twice", twice(evidence)),
        ("gaps", gaps(evidence)),
        ("order", disorder(evidence)),
        ("refused and applied", refused_and_applied(evidence)),
        ("keys and bodies", several_keys_or_bodies(evidence)),
        ("calls of nothing", phantoms(evidence)),
        ("told done, never seen", acknowledged_not_seen(evidence)),
        ("without an end", without_outcome(evidence)),
    ):
        lines = list(told)
        if lines:
            found[kind] = lines
    intents = {call.intent for call in evidence.calls}
    numbers = {
        "acknowledged": len(evidence.told),
        "refused": len(evidence.refused),
        "rows of the log": len(evidence.log),
        "instances": len({row.key for row in evidence.log}),
        "effects seen": len(intents),
        "effects retried": len(evidence.calls) - len(intents),
        "left dead or held": sum(one.state != "waiting" for one in evidence.left),
    }
    return Verdict(found, numbers)


def lost(evidence: Evidence) -> Iterator[str]:
    """Acknowledged, and not in the log under that version and status."""
    rows = {(row.key, row.action_id): row for row in evidence.log}
    for told in evidence.told:
        row = rows.get((told.key, told.action_id))
        if row is None:
            yield f"{told.key} action {told.action_id} was told as version {told.version} and is not in the log"
        elif (row.version, row.status) != (told.version, told.status):
            yield (
                f"{told.key} action {told.action_id} was told as version {told.version} {told.status!r}; "
                f"the log has version {row.version} {row.status!r}"
            )


def twice(evidence: Evidence) -> Iterator[str]:
    for (key, action_id), times in Counter((row.key, row.action_id) for row in evidence.log).items():
        if times > 1:
            yield f"{key} action {action_id} was applied {times} times"


def gaps(evidence: Evidence) -> Iterator[str]:
    """Versions in the order of the log are 1, 2, 3 ..."""
    for key, rows in _by_key(evidence.log).items():
        versions = [row.version for row in rows]
        if versions != list(range(1, len(versions) + 1)):
            wrong = next(n for n, version in enumerate(versions, 1) if version != n)
            yield f"{key} has version {versions[wrong - 1]} where version {wrong} belongs"


def disorder(evidence: Evidence) -> Iterator[str]:
    """What one client sent once, one after the other, is applied in that order."""
    sent: dict[tuple[str, str], list[Acknowledged]] = defaultdict(list)
    for told in evidence.told:
        if not told.again:
            sent[told.sender, told.key].append(told)
    for (_, key), all_told in sent.items():
        in_turn = sorted(all_told, key=lambda one: one.ticket)
        for before, after in pairwise(in_turn):
            if before.version >= after.version:
                yield f"{key}: ticket {before.ticket} became version {before.version}, {after.ticket} {after.version}"


def refused_and_applied(evidence: Evidence) -> Iterator[str]:
    applied = {(row.key, row.action_id): row.version for row in evidence.log}
    for one in evidence.refused:
        version = applied.get((one.key, one.action_id))
        if version is not None:
            yield f"{one.key} action {one.action_id} was refused ({one.code}) and is version {version}"


def several_keys_or_bodies(evidence: Evidence) -> Iterator[str]:
    """One intent shows the outside one key and one body; one key is of one intent."""
    faces: dict[tuple[str, int, str, int], set[tuple[str, str]]] = defaultdict(set)
    owners: dict[str, set[tuple[str, int, str, int]]] = defaultdict(set)
    for call in evidence.calls:
        faces[call.intent].add((call.key, call.body))
        owners[call.key].add(call.intent)
    for intent, seen in faces.items():
        if len(seen) > 1:
            yield f"{_named(intent)} was seen as {sorted(seen)}"
    for key, intents in owners.items():
        if len(intents) > 1:
            yield f"key {key} came from {', '.join(map(_named, sorted(intents)))}"


def phantoms(evidence: Evidence) -> Iterator[str]:
    """An effect that ran for something which is not in the log: its commit was lost, or never was."""
    emitted = {(row.key, row.version, name, n) for row in evidence.log for name, n in row.intents}
    for intent in sorted({call.intent for call in evidence.calls} - emitted):
        yield f"{_named(intent)} was run, and no row of the log asks for it"


def acknowledged_not_seen(evidence: Evidence) -> Iterator[str]:
    """The log says that an effect succeeded, and the far side never heard of it."""
    seen = {call.intent for call in evidence.calls}
    applied = {(row.key, row.action_id): row for row in evidence.log}
    for row, name, n in _emitted(evidence.log):
        success = OUTSIDE.get(name)
        outcome = applied.get((row.key, _end_of(row, name, n)))
        if success and outcome is not None and outcome.kind == success and (row.key, row.version, name, n) not in seen:
            yield f"{_named((row.key, row.version, name, n))} is told as done, and nobody did it"


def without_outcome(evidence: Evidence) -> Iterator[str]:
    """An intent with neither an outcome, nor an arrival, nor a refusal, nor a row that shows it; or one that still waits."""
    applied = {row.action_id for row in evidence.log} | {action_id for _, action_id in evidence.rejected}
    left = {(one.key, one.version, one.name) for one in evidence.left}
    for row, name, n in _emitted(evidence.log):
        if name not in TIMERS and _end_of(row, name, n) not in applied and (row.key, row.version, name) not in left:
            yield f"{_named((row.key, row.version, name, n))} has no end and no row"
    for one in evidence.left:
        if one.state == "waiting":
            yield f"{one.key} version {one.version} {one.name} waits, and all has drained"


def _emitted(log: Iterable[Row]) -> Iterator[tuple[Row, str, int]]:
    for row in log:
        for name, n in row.intents:
            yield row, name, n


def _end_of(row: Row, name: str, n: int) -> str:
    """The id of the action that ends it (promise 19, 22, 28), worked out here once more."""
    intent = uuid5(UUID(hex=row.action_id), f"{row.key}/{name}/{n}")
    return uuid5(intent, "sent" if name == "tell" else "outcome").hex


def _by_key(log: Iterable[Row]) -> Mapping[str, list[Row]]:
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in log:
        rows[row.key].append(row)
    return rows


def _named(intent: tuple[str, int, str, int]) -> str:
    key, version, name, n = intent
    return f"{key} version {version} {name}/{n}"
