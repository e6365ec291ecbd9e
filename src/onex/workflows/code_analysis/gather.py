"""A gatherer's state stays small by handing on what it holds: references are packed by the dozen into one blob.

    arrive(tally, references) -> pack() -> packed(reference of the bundle) -> ... -> complete

A directory gathers its files, the tree gathers its directories; both are a ``Gathering``. What a bundle holds is
the lines of its parts one after the other, so a bundle of bundles is a bundle too and the report reads them as one
stream without a name in any state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from onex import Payload

from .tally import FileTally

WIDTH: Final = 64
"""References a gatherer holds before it packs them: with 130 bytes each, two sets of them are 17 KB."""

Reference = TypeVar("Reference")


class Gathering(Payload, Generic[Reference]):
    """What has come of ``expected`` parts. ``packing`` is on its way to be bundled; at most one set at a time is."""

    expected: int
    arrived: int = 0
    tally: FileTally = FileTally()
    loose: tuple[Reference, ...] = ()
    packing: tuple[Reference, ...] = ()
    bundles: tuple[Reference, ...] = ()

    def arrive(self, tally: FileTally, references: Iterable[Reference]) -> Gathering[Reference]:
        """One part is there. A part that failed before it was analysed arrives without references."""
        return self.model_copy(
            update={
                "arrived": self.arrived + 1,
                "tally": self.tally.merge(tally),
                "loose": (*self.loose, *references),
            }
        )

    @property
    def to_pack(self) -> bool:
        """True when a set is due and none is under way: enough is loose, or nothing more will come."""
        full = len(self.loose) >= WIDTH or (self.arrived >= self.expected and len(self.loose) > 0)
        return full and not self.packing

    def pack(self) -> Gathering[Reference]:
        """The oldest ``WIDTH`` loose references move to ``packing``; the caller has them bundled."""
        return self.model_copy(update={"packing": self.loose[:WIDTH], "loose": self.loose[WIDTH:]})

    def packed(self, bundle: Reference) -> Gathering[Reference]:
        """The bundle made of ``packing`` is there. Past ``WIDTH`` bundles they are loose again and become one."""
        bundles = (*self.bundles, bundle)
        if len(bundles) < WIDTH:
            return self.model_copy(update={"packing": (), "bundles": bundles})
        return self.model_copy(update={"packing": (), "bundles": (), "loose": (*bundles, *self.loose)})

    @property
    def complete(self) -> bool:
        """All parts have come and stand in ``bundles``."""
        return self.arrived >= self.expected and not self.loose and not self.packing
