"""A script: everything that was drawn in one run, as data. Played again it gives the same run; with less in it, a shorter one.

What is not in the script follows from the app, the seed and the script alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from pydantic import JsonValue

StoreKind = Literal["sqlite", "memory"]
Manner = Literal["", "twice at once", "again", "impatient", "inbox", "hostile"]
MANNERS: Final[tuple[Manner, ...]] = ("twice at once", "again", "impatient", "inbox")
"""How a client may send: twice at once under one id, again after the answer, without waiting for it, by the inbox.

``hostile`` is drawn separately: it sends what no client of this app would.
"""


@dataclass(frozen=True, slots=True)
class Act:
    """What a client does: not before ``at_us`` of the run, and after its previous act is answered. ``n`` makes the action id."""

    client: int
    n: int
    at_us: int
    key: str
    trigger: str
    payload: JsonValue = None
    manner: Manner = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A fault: at the ``skip``-th call of ``point`` in the microsecond ``at_us``, or at the first call after that.

    ``share`` is its strength, from 0 to 1.
    """

    point: str
    at_us: int
    skip: int = 0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Script:
    """``peace_us``: faults go on at least until then. ``plain``: effects answer with the simplest value of their class."""

    seed: int
    store: StoreKind
    acts: tuple[Act, ...] = ()
    hits: tuple[Hit, ...] = ()
    peace_us: int = 0
    plain: bool = False

    @property
    def size(self) -> int:
        return len(self.acts) + len(self.hits)

    def only(self, kept: list[Act | Hit]) -> Script:
        """The same script with only these of its acts and faults."""
        acts = tuple(one for one in kept if isinstance(one, Act))
        return replace(self, acts=acts, hits=tuple(one for one in kept if isinstance(one, Hit)))
