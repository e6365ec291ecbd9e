"""A rule says what a change of one field means to others: a verdict, or a judge who looks at more than the value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel

from ..model.contract import ModelContractBase
from .version_bump import Impact


class FieldPair(NamedTuple):
    """One value on both sides, None where it is not; ``parents`` are the blocks that hold it, ``contracts`` the wholes.

    ``told`` are payload classes (by trigger or ``intents.<name>``) whose shapes are compared by themselves.
    """

    name: str
    old: object
    new: object
    parents: tuple[BaseModel, BaseModel]
    contracts: tuple[ModelContractBase, ModelContractBase]
    told: frozenset[str] = frozenset()


ImpactOf = Callable[[FieldPair], Impact]


@dataclass(frozen=True, slots=True)
class DiffRule:
    """``{name} {old} {new}`` in a reason are filled in. None: as for any other field."""

    changed: Impact | ImpactOf | None = None
    added: Impact | ImpactOf | None = None
    removed: Impact | ImpactOf | None = None

    @classmethod
    def always(cls, verdict: Impact | ImpactOf) -> DiffRule:
        return cls(verdict, verdict, verdict)
