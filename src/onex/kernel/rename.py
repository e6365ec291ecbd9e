"""Renames: names that a contract changed while stored instances still have the old ones. Pure data. See docs/decisions/0015.

A name is stored in many places: a status in the state and in its timer's name, a trigger in the log and in held
outcomes, an intent in the outbox and in its id. A rename is declared once, and all code that reads a stored name applies it.
What was made from a name, such as the id of an intent or its idempotency key, stays as it was.

Names are asked by schema. ``NameChanges.steps[n]`` holds what was renamed from schema n to n + 1. A name may come back later
with another meaning, so ``at`` needs to know in which schema a name was written. A stored timer does not say that. So an app
in which one timer name would mean two things is refused when it loads (``RenameTables.ambiguous``).

    renames(1, statuses={"asked": "waiting"}, triggers={"remind": "nudge"}, intents={"reminder": "nudging"})
    renames(1, fields={"total_cents": "total"})                     # of the state
    renames(1, intent="charge", fields={"cents": "amount"})         # of what an intent, or with payload= a trigger, carries
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .errors import ContractError
from .machine import state_timer

RENAMES = "__onex_renames__"
"""The module attribute that collects its renames: so a call whose result is not assigned counts too."""


class ValueKind(NamedTuple):
    """Which kind of value: the payload of a trigger, the payload of an intent, or, with neither, the state."""

    payload: str = ""
    intent: str = ""

    def __str__(self) -> str:
        if self.payload:
            return f"the payload of {self.payload!r}"
        return f"the payload of intent {self.intent!r}" if self.intent else "the state"


STATE = ValueKind()


@dataclass(frozen=True, slots=True)
class Renames:
    """From schema ``of`` to ``of + 1``: each mapping is old name -> new name. ``fields`` are those of ``what``."""

    of: int
    statuses: Mapping[str, str] = field(default_factory=dict)
    triggers: Mapping[str, str] = field(default_factory=dict)
    intents: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    what: ValueKind = STATE
    path: str = ""
    line: int = 0


def renames(
    of: int,
    *,
    statuses: Mapping[str, str] | None = None,
    triggers: Mapping[str, str] | None = None,
    intents: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    payload: str = "",
    intent: str = "",
) -> Renames:
    """Declare in ``migrations.py`` which names of schema ``of`` have a new name from ``of + 1`` on: ``{"old": "new"}``.

    ``fields`` are those of the state, or of one payload or intent. Migrations of the same step run first and see the old
    names. Raises ContractError for a schema below 1, for names that are not text, and for a call without names.
    """
    maps = {"statuses": statuses, "triggers": triggers, "intents": intents, "fields": fields}
    frame = sys._getframe(1)  # the calling module: its globals collect the rename
    made = checked_renames(of, maps, ValueKind(payload, intent), frame.f_code.co_filename, frame.f_lineno)
    frame.f_globals.setdefault(RENAMES, []).append(made)
    return made


def checked_renames(
    of: int, names: Mapping[str, Mapping[str, str] | None], what: ValueKind, path: str, line: int
) -> Renames:
    """``names`` are ``statuses``, ``triggers``, ``intents`` and ``fields``; ``path`` and ``line`` are for error messages.

    Raises what ``renames`` raises.
    """
    payload, intent = what
    if of < 1:
        raise ContractError("renames(n, ...) is a step from schema n, 1 or more")
    maps = {kind: _names(kind, (given or {}).items()) for kind, given in names.items()}
    if not any(maps.values()):
        raise ContractError('renames(n, ...) names nothing: write statuses={"old": "new"}, triggers, intents or fields')
    if (payload or intent) and (not maps["fields"] or sum(map(bool, maps.values())) > 1 or (payload and intent)):
        raise ContractError(
            "renames(n, payload=...) or (n, intent=...) is for the fields of that one; say the rest in a call of its own"
        )
    if "status" in (*maps["fields"], *maps["fields"].values()) and not (payload or intent):
        raise ContractError("the field 'status' is the engine's and keeps its name")
    return Renames(of, **maps, what=what, path=path, line=line)


def _names(what: str, given: Iterable[tuple[object, object]]) -> dict[str, str]:
    names: dict[str, str] = {}
    for old, new in given:
        if not (isinstance(old, str) and isinstance(new, str) and old and new):
            raise ContractError(f"renames: {what} names {old!r} and {new!r}; names are text")
        if old.startswith("@") or new.startswith("@"):
            raise ContractError(
                f"renames: {old!r} is the engine's own name; the timer of a status goes with its status: statuses={{...}}"
            )
        if old == new:
            raise ContractError(f"renames: {what} has {old!r} become {new!r}, which is the same name")
        names[old] = new
    return names


class NameChanges:
    """The renames of one kind of name: ``steps[n][old] -> new`` from schema n to n + 1."""

    __slots__ = ("_last", "steps")

    def __init__(self, changes: Iterable[tuple[int, Mapping[str, str]]]) -> None:
        self.steps: dict[int, dict[str, str]] = {}
        for of, names in changes:
            self.steps.setdefault(of, {}).update(names)
        self._last = max(self.steps, default=0)

    def __bool__(self) -> bool:
        return bool(self.steps)

    def at(self, name: str, of: int, to: int) -> str:
        """The name in schema ``to`` of what schema ``of`` calls ``name``."""
        for n in range(of, min(to, self._last + 1)):
            found = self.steps.get(n)
            if found is not None:
                name = found.get(name, name)
        return name

    def now(self, name: str, of: int) -> str:
        return self.at(name, of, self._last + 1)

    def former(self, name: str, to: int) -> list[str]:
        """All earlier names of what schema ``to`` calls ``name``, newest first."""
        found: list[str] = []
        for n in sorted((n for n in self.steps if n < to), reverse=True):
            found += [old for old in self.steps[n] if old not in (name, *found) and self.at(old, n, to) == name]
        return found

    def ends_of(self, name: str) -> list[int]:
        """For each range of schemas in which ``name`` meant something, its last schema: where it is renamed, or the newest one.

        After it was renamed, a name means nothing, until another rename brings it back or today's contract has it.
        """
        ends: list[int] = []
        gone = False
        for n in sorted(self.steps):
            if name in self.steps[n] and not gone:
                ends.append(n)
                gone = True
            if name in self.steps[n].values():
                gone = False
        return ends if gone else [*ends, self._last + 1]

    def olds(self) -> Iterator[str]:
        """All names that were renamed, each once, oldest first."""
        seen: set[str] = set()
        for n in sorted(self.steps):
            for old in self.steps[n]:
                if old not in seen:
                    seen.add(old)
                    yield old


class RenameTables:
    """All renames of one workflow, by kind of name. ``intents`` includes the timers of renamed statuses.

    ``timers[stored name] -> today's name``, for those that differ. A stored timer does not say in which schema it was set, so
    an app in which one stored name could mean two timers is refused when it loads.
    """

    __slots__ = ("fields", "intents", "statuses", "timers", "triggers")

    def __init__(self, declared: Iterable[Renames] = ()) -> None:
        every = tuple(declared)
        self.statuses = NameChanges((one.of, one.statuses) for one in every if one.statuses)
        self.triggers = NameChanges((one.of, one.triggers) for one in every if one.triggers)
        own = [(one.of, one.intents) for one in every if one.intents]
        states = [
            (one.of, {state_timer(old): state_timer(new) for old, new in one.statuses.items()})
            for one in every
            if one.statuses
        ]
        self.intents = NameChanges([*own, *states])
        self.fields: dict[tuple[int, ValueKind], dict[str, str]] = {}
        for one in every:
            if one.fields:
                self.fields.setdefault((one.of, one.what), {}).update(one.fields)
        now = {old: self.intents.now(old, self.intents.ends_of(old)[0]) for old in self.intents.olds()}
        self.timers: Mapping[str, str] = {old: new for old, new in now.items() if old != new}

    def ambiguous(self, name: str, *, today: bool) -> list[str]:
        """Today's names that the stored timer ``name`` may have; more than one is an error. ``today``: the contract has it."""
        found = {self.intents.now(name, of) for of in self.intents.ends_of(name)}
        return sorted(found | {name} if today else found)
