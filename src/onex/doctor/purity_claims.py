"""Contracts that claim to be pure, compared with their code: from each handler to every line that it reaches.

An impure use that was found proves that the claim is wrong. That nothing was found proves nothing: calls that reading cannot follow
are reported as unproven, and so are calls into packages that are not in this repository.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from ..contracts.foreign.read_result import ReadResult
from ..contracts.model.contract import EnumNodeKind, ModelContractBase
from ..contracts.model.key_usage import keys_written
from ..contracts.text.yaml_tree import YamlList, YamlMap, YamlNode, YamlScalar
from ..kernel.finding import EnumSeverity, Finding
from ..proof.function_body import FunctionTraces
from ..proof.impure_calls import FIXES, EnumImpurity
from ..proof.reachability import CallSite, ReachedUse, ReachResult, entry_units, reach
from ..proof.symbols import Symbol
from .code_references import CodeReference, ReferenceResolver
from .doctor_finding import DoctorFinding, EnumArea, FilePosition, located


class EnumClaimVerdict(StrEnum):
    """``holds``: nothing was found, and every call could be followed. ``unproven``: nothing was found, but not every call could
    be.
    """

    BROKEN = "broken"
    UNPROVEN = "unproven"
    HOLDS = "holds"
    NO_CODE = "no code here"


class PurityClaim(NamedTuple):
    """``written_as`` is the key and its value. Not ``explicit``: only the kind of the node implies it."""

    place: FilePosition
    written_as: str
    explicit: bool


class ExaminedClaim(NamedTuple):
    """A claim with its verdict. ``outside`` are packages that the code calls into and that are not in this repository."""

    contract: str
    node: str
    claim: PurityClaim
    verdict: EnumClaimVerdict
    functions: int
    outside: tuple[str, ...]
    encounters: tuple[ReachedUse, ...]


_CLAIMS: Final[dict[str, tuple[object, ...]]] = {
    "purity": ("pure",),
    "pure": (True,),
    "is_pure": (True,),
    "deterministic": (True,),
    "is_deterministic": (True,),
    "deterministic_execution": (True,),
    "determinism": ("deterministic", "pure", "strict", True),
    "determinism_class": ("deterministic", "pure"),
    "side_effects": (False, "none", "no"),
    "has_side_effects": (False,),
    "no_side_effects": (True,),
}
"""Key -> the values by which a contract claims that the same input always gives the same output."""
_DENIES: Final = frozenset({"impure", "side_effecting", "side-effecting", "effectful", "mixed"})
_DEEP: Final = 3
_WORDS: Final = {
    EnumImpurity.CLOCK: "reads or waits for a clock",
    EnumImpurity.CHANCE: "gives another value each time",
    EnumImpurity.ENVIRONMENT: "depends on the machine it runs on",
    EnumImpurity.FILE: "touches files",
    EnumImpurity.NETWORK: "uses the network",
    EnumImpurity.DATABASE: "uses a database or broker",
    EnumImpurity.PROCESS: "starts, ends or waits for other work",
    EnumImpurity.STATE: "outlives the call",
    EnumImpurity.ORDER: "differs between processes where there is text in it",
    EnumImpurity.NOTE: "writes to the outside",
    EnumImpurity.UNPROVEN: "cannot be followed by reading",
}
_UNDECIDED: Final = (EnumImpurity.ORDER, EnumImpurity.UNPROVEN)
_HARMLESS: Final = (EnumImpurity.NOTE, *_UNDECIDED)


def claim_of(reading: ReadResult, contract: ModelContractBase) -> PurityClaim | None:
    """The first explicit claim, else that of a compute node or reducer by its kind; None when the contract denies purity."""
    if contract.descriptor is not None and contract.descriptor.purity in _DENIES:
        return None
    if reading.tree is not None and contract.kind is not EnumNodeKind.EFFECT:
        for loc, key in keys_written(reading.tree):
            values = _CLAIMS.get(str(loc[-1]))
            if values is None or len(loc) > _DEEP or any(isinstance(step, int) for step in loc):
                continue
            value = _value(reading.tree, loc)
            if value in values:
                place = FilePosition(reading.path, key.place.line, key.place.column)
                shown = str(value).lower() if isinstance(value, bool) else value
                return PurityClaim(place, f"{'.'.join(map(str, loc))}: {shown}", explicit=True)
    if contract.kind in (EnumNodeKind.COMPUTE, EnumNodeKind.REDUCER):
        return PurityClaim(located(reading, "node_type"), f"node_type: {reading.node_type}", explicit=False)
    return None


def _value(tree: YamlNode, loc: Sequence[str | int]) -> object:
    for step in loc:
        if isinstance(tree, YamlMap):
            tree = tree.entries[str(step)].node
        elif isinstance(tree, YamlList) and isinstance(step, int):
            tree = tree.items[step]
    return tree.value if isinstance(tree, YamlScalar) else tree


def examine_claim(
    bodies: FunctionTraces,
    reading: ReadResult,
    contract: ModelContractBase,
    claim: PurityClaim,
    handlers: Sequence[tuple[CodeReference, Symbol]],
) -> ExaminedClaim:
    roots = [
        unit
        for target, symbol in handlers
        for unit in entry_units(bodies, symbol, [target.operation] if target.operation else [])
    ]
    if not roots:
        return ExaminedClaim(reading.path, contract.name, claim, EnumClaimVerdict.NO_CODE, 0, (), ())
    found = reach(bodies, roots)
    return ExaminedClaim(
        reading.path, contract.name, claim, _verdict(found), found.functions, tuple(sorted(found.outside)),
        tuple(found.encounters),
    )  # fmt: skip


def _verdict(found: ReachResult) -> EnumClaimVerdict:
    kinds = {one.touch.kind for one in found.encounters}
    if kinds - set(_HARMLESS):
        return EnumClaimVerdict.BROKEN
    unproven = kinds & set(_UNDECIDED) or found.outside or not found.whole
    return EnumClaimVerdict.UNPROVEN if unproven else EnumClaimVerdict.HOLDS


def claim_findings(all_examined: Sequence[ExaminedClaim], targets: ReferenceResolver) -> Iterator[DoctorFinding]:
    """One for each place in the code, however many contracts reach it: broken claims first."""
    places: dict[tuple[str, int, int, str], list[tuple[ExaminedClaim, ReachedUse]]] = {}
    for one in all_examined:
        for met in one.encounters:
            key = (met.path, met.touch.line, met.touch.column, met.touch.name)
            places.setdefault(key, []).append((one, met))
    made = [_finding(met, targets) for met in places.values()]
    order = {EnumSeverity.ERROR: 0, EnumSeverity.WARNING: 1, EnumSeverity.INFO: 2}
    yield from sorted(made, key=lambda one: (order[one.finding.severity], -len(one.contracts)))


def _finding(met: list[tuple[ExaminedClaim, ReachedUse]], targets: ReferenceResolver) -> DoctorFinding:
    met = sorted(met, key=lambda pair: (pair[1].failing, not pair[0].claim.explicit, len(pair[1].chain)))
    one, encounter = met[0]
    touch = encounter.touch
    claimants = list(dict.fromkeys(pair[0].node for pair in met))
    others = f" and {len(claimants) - 1} more" if len(claimants) > 1 else ""
    claims = "claim" if others else "claims"
    failing = ", only where an error is raised" if encounter.failing else ""
    message = (
        f"{touch.name} {_WORDS[touch.kind]}{failing}; {one.node}{others} {claims} purity "
        f"({one.claim.written_as}, {one.claim.place})"
    )
    proven = one.claim.explicit and not encounter.failing
    severity = EnumSeverity.ERROR if proven else EnumSeverity.WARNING
    if touch.kind in _HARMLESS:
        severity = EnumSeverity.INFO
    code = "purity_unproven" if touch.kind is EnumImpurity.UNPROVEN else f"impure_{touch.kind.replace(' ', '_')}"
    path = targets.shown(encounter.path)
    chain = (*(CallSite(link.name, targets.shown(link.path), link.line) for link in encounter.chain),
             CallSite(touch.name, path, touch.line))  # fmt: skip
    finding = Finding(code, severity, path, touch.line, touch.column, message, FIXES[touch.kind])
    contracts = tuple(dict.fromkeys(pair[0].contract for pair in met))
    return DoctorFinding(EnumArea.CLAIMS, finding, contracts, chain)
