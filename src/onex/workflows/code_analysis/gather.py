"""Collects the results of many parts in a small state: references are packed, 64 at a time, into one blob.

    arrive(tally, references) -> pack() -> packed(reference of the bundle) -> ... -> complete

A directory collects its files, the tree collects its directories; both use a ``Gathering``. A bundle is the lines of its parts
one after the other, so a bundle of bundles is a bundle too, and the report reads them as one stream. No state holds the name of
a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from onex import Payload

from .tally import FileTally

WIDTH: Final = 64
"""How many references are held before they are packed. With 130 bytes each, two sets of them are 17 KB."""

Reference = TypeVar("Reference")


class Gathering(Payload, Generic[Reference]):
    """What has arrived of ``expected`` parts. ``packing`` is the set that is being bundled, at most one at a time."""

    expected: int
    arrived: int = 0
    tally: FileTally = FileTally()
    loose: tuple[Reference, ...] = ()
    packing: tuple[Reference, ...] = ()
    bundles: tuple[Reference, ...] = ()

    def arrive(self, tally: FileTally, references: Iterable[Reference]) -> Gathering[Reference]:
        """One part arrived. A part that failed before it was analysed has no references."""
        return self.model_copy(
            update={
                "arrived": self.arrived + 1,
                "tally": self.tally.merge(tally),
                "loose": (*self.loose, *references),
            }
        )

    @property
    def to_pack(self) -> bool:
        """Whether a set should be packed now: none is being packed, and enough is loose or all parts have arrived."""
        full = len(self.loose) >= WIDTH or (self.arrived >= self.expected and len(self.loose) > 0)
        return full and not self.packing

    def pack(self) -> Gathering[Reference]:
        """The oldest ``WIDTH`` loose references move to ``packing``; the caller has them bundled."""
        return self.model_copy(update={"packing": self.loose[:WIDTH], "loose": self.loose[WIDTH:]})

    def packed(self, bundle: Reference) -> Gathering[Reference]:
        """The bundle of ``packing`` arrived. At ``WIDTH`` bundles they become loose references again, and are packed into one."""
        bundles = (*self.bundles, bundle)
        if len(bundles) < WIDTH:
            return self.model_copy(update={"packing": (), "bundles": bundles})
        return self.model_copy(update={"packing": (), "bundles": (), "loose": (*bundles, *self.loose)})

    @property
    def complete(self) -> bool:
        """All parts have arrived and are in ``bundles``."""
        return self.arrived >= self.expected and not self.loose and not self.packing
