"""What reading one contract file gives: the typed contract, the usage of every key, and the findings."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from ...kernel.finding import Finding
from ..model.contract import ModelContractBase
from ..model.key_usage import EnumKeyUsage, KeyUsage
from ..text.yaml_tree import YamlMap


class EnumFamily(StrEnum):
    """The families of contracts (docs/reference/contracts.md), and our own."""

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
    """``contract`` is None when a finding is an error.

    ``node_type`` is the kind that it was read as, '' when it has none; ``word`` is what the file says. ``tree`` is the text as
    written, ``shape`` the normalised tree: ``place_of(shape, loc)`` is the line of a typed field. ``keys`` are all keys of this
    file, in its order. Keys of files that it includes have findings of their own.
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
        """How many keys somebody acts on. ``honoured + reported`` is the number of all keys."""
        return sum(key.usage is EnumKeyUsage.HONOURED for key in self.keys)

    @property
    def reported(self) -> int:
        return len(self.keys) - self.honoured
