"""What a change does to the users of a contract, the version bump that it needs (https://semver.org), and the form of a rule.

breaks        -> major    somebody who relied on the old contract fails with the new one
adds          -> minor    nobody fails; there is more, or the node behaves differently
words_differ  -> patch    only text differs
owes_nothing  -> none     nobody acts on it: held or unknown keys, the version itself
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel

from ..model.contract import ModelContractBase
from ..model.part import ModelContractVersion


class EnumBump(StrEnum):
    """Parts of a version, the largest first. ``lowered``: the version went down, which no change needs."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"
    NONE = "none"
    LOWERED = "lowered"

    @property
    def weight(self) -> int:
        return _WEIGHTS[self]


_WEIGHTS = {one: 3 - n for n, one in enumerate(EnumBump)}


class Impact(NamedTuple):
    bump: EnumBump
    reason: str


def breaks(reason: str) -> Impact:
    return Impact(EnumBump.MAJOR, reason)


def adds(reason: str) -> Impact:
    return Impact(EnumBump.MINOR, reason)


def words_differ(reason: str) -> Impact:
    return Impact(EnumBump.PATCH, reason)


def owes_nothing(reason: str) -> Impact:
    return Impact(EnumBump.NONE, reason)


def made_between(old: ModelContractVersion | None, new: ModelContractVersion | None) -> EnumBump | None:
    """The bump that was made; None when there was no version before."""
    if old is None:
        return None
    if new is None:
        return EnumBump.NONE
    before, after = (old.major, old.minor, old.patch), (new.major, new.minor, new.patch)
    if after < before:
        return EnumBump.LOWERED
    raised = (EnumBump.MAJOR, EnumBump.MINOR, EnumBump.PATCH)
    return next((bump for bump, a, b in zip(raised, before, after, strict=True) if a != b), EnumBump.NONE)


def owed_version(old: ModelContractVersion, owed: EnumBump) -> str:
    """The smallest version with the bump ``owed``."""
    if owed is EnumBump.MAJOR:
        return f"{old.major + 1}.0.0"
    if owed is EnumBump.MINOR:
        return f"{old.major}.{old.minor + 1}.0"
    return f"{old.major}.{old.minor}.{old.patch + 1}" if owed is EnumBump.PATCH else str(old)


class FieldPair(NamedTuple):
    """A value on both sides, None where it is missing. ``parents`` are the blocks that hold it.

    ``compared`` are the payload classes (by trigger or ``intents.<name>``) whose schemas are compared too.
    """

    name: str
    old: object
    new: object
    parents: tuple[BaseModel, BaseModel]
    contracts: tuple[ModelContractBase, ModelContractBase]
    compared: frozenset[str] = frozenset()


ImpactOf = Callable[[FieldPair], Impact]


@dataclass(frozen=True, slots=True)
class DiffRule:
    """``{name} {old} {new}`` in a reason are filled in. None: the rule of the value's shape applies."""

    changed: Impact | ImpactOf | None = None
    added: Impact | ImpactOf | None = None
    removed: Impact | ImpactOf | None = None

    @classmethod
    def always(cls, verdict: Impact | ImpactOf) -> DiffRule:
        return cls(verdict, verdict, verdict)
