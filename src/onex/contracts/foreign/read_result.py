"""Any contract, of any family, becomes one of the four kinds; every key of it is honoured or reported.

    text -> located tree -> whole tree (references resolved) -> the one shape (normalised) -> typed contract
                 |                                                                             |
                 +---- every key as written ------- accounted for by ---------------------------+

Nothing is imported, nothing is run, no exception leaves for what a text holds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from ...kernel.finding import Finding
from ..model.contract import ModelContractBase
from ..model.key_usage import EnumKeyUsage, KeyUsage
from ..text.yaml_tree import YamlMap


class EnumFamily(StrEnum):
    """The families of contracts that exist (FACTS 1.1), and our own."""

    ONEX = "onex"
    SEED = "A"
    BRIDGE = "B"
    GENERIC = "C"
    SKILL = "D"
    MARKET = "E"
    TYPED = "F"
    EXAMPLE = "G"
    OTHER = "H"


class ReadResult(NamedTuple):
    """What one file came to.

    ``contract`` is None when a finding is an error. ``node_type`` is the kind it was read as, '' when it has none, ``word``
    what the file says. ``tree`` is the text as written, ``shape`` the same in the one shape:
    ``place_of(shape, loc)`` finds the line of a typed field. ``keys`` are all keys of this file, in its order, each with its
    usage; those of files it includes are reported by findings of their own.
    """

    path: str
    contract: ModelContractBase | None
    family: EnumFamily | None
    node_type: str
    tree: YamlMap | None
    shape: YamlMap | None
    keys: tuple[KeyUsage, ...]
    findings: tuple[Finding, ...]
    word: str = ""

    @property
    def ok(self) -> bool:
        return self.contract is not None

    @property
    def honoured(self) -> int:
        """How many keys somebody acts on; with ``reported`` all of the file's."""
        return sum(key.usage is EnumKeyUsage.HONOURED for key in self.keys)

    @property
    def reported(self) -> int:
        return len(self.keys) - self.honoured
