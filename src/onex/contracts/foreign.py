"""What can be wrong with a contract of others beyond its shape: its machine, its guards, its graph, its weights.

Oddities are warnings: the contract is not ours to refuse. A guard that cannot be compiled is an error (SEMANTICS 13).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..kernel.finding import EnumSeverity, Finding
from .check import check
from .contract import ModelContractBase
from .source import Branch, place_of

WEIGHTS_NEAR = 0.001


def check_foreign(contract: ModelContractBase, shape: Branch, path: str) -> Iterator[Finding]:
    yield from _machine(shape, path)
    yield from _weights(contract, shape, path)


def _machine(shape: Branch, path: str) -> Iterator[Finding]:
    entry = shape.entries.get("state_machine")
    if entry is None:
        return
    for finding in check(Branch({"state_machine": entry}, shape.place), path):
        if finding.severity is EnumSeverity.ERROR and not finding.code.startswith("guard_"):
            yield finding._replace(severity=EnumSeverity.WARNING)
        else:
            yield finding


def _weights(contract: ModelContractBase, shape: Branch, path: str) -> Iterator[Finding]:
    algorithm = contract.algorithm
    weights = [one.weight for one in algorithm.factors.values() if one.weight is not None] if algorithm else []
    if weights and abs(sum(weights) - 1) > WEIGHTS_NEAR:
        place = place_of(shape, ("algorithm", "factors")).spot(path)
        message = f"the weights of the factors come to {sum(weights):g}, not to 1"
        yield Finding("weights_sum", EnumSeverity.WARNING, *place, message, "make them come to 1.0")
