"""Any contract of any family becomes one of the four kinds, with every key accounted for. Nothing it holds can raise.

    text -> located tree -> references -> the one shape -> what no field has, apart -> typed -> checked -> all keys told

A value that does not fit its field is left out with a warning, as long as the contract stands without it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel
from pydantic import ValidationError as PydanticError
from pydantic_core import to_json

from ...kernel.finding import EnumSeverity, Finding, errors
from ..load import load_tree, translate
from ..model.contract import (
    EnumNodeKind,
    ModelContractBase,
    ModelContractCompute,
    ModelContractEffect,
    ModelContractOrchestrator,
    ModelContractReducer,
    ModelContractWorkflow,
)
from ..model.key_usage import inherit_usage, keys_of, keys_within, models_of, sort_keys
from ..text.include import REF, IncludeReader, ResolvedTree, resolve_includes
from ..text.yaml_tree import FINDINGS_MAX, YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar, plain, read_yaml
from .family import family_of
from .foreign_checks import check_foreign
from .key_report import keys_without_effect
from .normalise import NormalisedContract, normalise
from .normalise.identity import kind_of
from .read_result import EnumFamily, ReadResult

KINDS: Mapping[EnumNodeKind, type[ModelContractBase]] = {
    EnumNodeKind.EFFECT: ModelContractEffect,
    EnumNodeKind.COMPUTE: ModelContractCompute,
    EnumNodeKind.REDUCER: ModelContractReducer,
    EnumNodeKind.ORCHESTRATOR: ModelContractOrchestrator,
}
ESSENTIAL = ("name", "node_type")
ROUNDS_MAX = 12

Loc = tuple[str | int, ...]


def read_contract(text: str, path: str, fetch: IncludeReader | None = None) -> ReadResult:
    """``path`` names the text in findings, and the contract when it does not name itself; ``fetch`` reads what it includes."""
    source = read_yaml(text, path, references=True)
    if source.tree is None:
        return _nothing(path, source.findings)
    whole = resolve_includes(source.tree, path, fetch)
    found = (*source.findings, *whole.findings)
    if not isinstance(source.tree, YamlMap) or not isinstance(whole.tree, YamlMap):
        place = source.tree.place.spot(path)
        told = Finding(
            "not_a_mapping", EnumSeverity.ERROR, *place, "a contract is a mapping of keys", "begin with name:"
        )
        return _nothing(path, (*found, told))
    family = family_of(whole.tree)
    if family is EnumFamily.ONEX:
        return _own(source.tree, whole, path, found)
    return _foreign(source.tree, whole, path, family, found)


def _nothing(path: str, findings: tuple[Finding, ...]) -> ReadResult:
    return ReadResult(path, None, None, "", None, None, (), findings)


def _own(written: YamlMap, whole: ResolvedTree, path: str, found: tuple[Finding, ...]) -> ReadResult:
    """A contract of ours: the strict reader decides."""
    assert isinstance(whole.tree, YamlMap)
    loaded = load_tree(whole.tree, path, found)
    usages = sort_keys(ModelContractWorkflow, whole.tree).usages
    inherit_usage(written, usages, frozenset(), whole.followed)
    word = whole.tree.get("node_type")
    said = str(word.value) if isinstance(word, YamlScalar) else ""
    kind = str(kind_of(said) or "")
    keys = tuple(keys_of(written, usages))
    return ReadResult(path, loaded.contract, EnumFamily.ONEX, kind, written, whole.tree, keys, loaded.findings, said)


def _foreign(
    written: YamlMap, whole: ResolvedTree, path: str, family: EnumFamily, found: tuple[Finding, ...]
) -> ReadResult:
    assert isinstance(whole.tree, YamlMap)
    normal = normalise(whole.tree, path)
    model = KINDS[normal.kind] if normal.kind else ModelContractBase
    contract, shape, left, gone = _typed(model, normal, path)
    sorted_ = sort_keys(model, shape)
    inherit_usage(whole.tree, sorted_.usages, normal.notes.wrappers, normal.notes.absorbed)
    if written is not whole.tree:
        inherit_usage(written, sorted_.usages, normal.notes.wrappers, {**normal.notes.absorbed, **whole.followed})
    # what a broken scalar caused further on is not said twice
    broken = {(one.path, one.line, one.column) for one in errors(found)}
    left = [one for one in left if (one.path, one.line, one.column) not in broken]
    told = [*found, *normal.notes.findings, *left]
    if contract is not None:
        told += check_foreign(contract, shape, path)
    told += keys_without_effect(whole.tree, sorted_.usages, gone | _references(whole.tree), model, path)
    findings = _ordered(told, path)
    keys = tuple(keys_of(written, sorted_.usages))
    kind = str(normal.kind or "")
    made = None if errors(findings) else contract
    return ReadResult(path, made, family, kind, written, shape, keys, findings, normal.word)


def _ordered(told: list[Finding], path: str) -> tuple[Finding, ...]:
    """The asked file's first, by line; of what is more than anybody reads, the notes go first."""
    told.sort(key=lambda one: (one.path != path, one.path, one.line, one.column))
    if len(told) <= FINDINGS_MAX:
        return tuple(told)
    weight = {EnumSeverity.ERROR: 0, EnumSeverity.WARNING: 1, EnumSeverity.INFO: 2}
    kept = sorted(range(len(told)), key=lambda n: (weight[told[n].severity], n))[: FINDINGS_MAX - 1]
    more = Finding("too_many_findings", EnumSeverity.INFO, path, 0, 0, f"and {len(told) - len(kept)} more")
    return (*(told[n] for n in sorted(kept)), more)


def _typed(
    model: type[ModelContractBase], normal: NormalisedContract, path: str
) -> tuple[ModelContractBase | None, YamlMap, list[Finding], set[int]]:
    """The contract, the shape without what had to be left out, and the ids of the keys in that. Each round leaves something out."""
    shape = sort_keys(model, normal.shape).tree
    told: list[Finding] = []
    gone: set[int] = set()
    if normal.kind is None:
        return None, shape, told, gone
    for turn in range(ROUNDS_MAX):
        try:
            # by way of JSON, because strict reading of JSON takes lists as tuples and words as enums, and nothing else
            return model.model_validate_json(to_json(plain(shape))), shape, told, gone
        except PydanticError as error:
            details = error.errors(include_url=False)
        cuts: dict[Loc, None] = {}
        for detail in details:
            cut = cut_at(model, shape, detail["loc"])
            if not cut or (cut[0] in ESSENTIAL and len(cut) == 1):
                return None, shape, [*told, translate(shape, path, detail)], gone
            if cut in cuts:
                continue
            cuts[cut] = None
            # in the first round rows still stand where they stood, with the keys in them that no field has
            gone |= _keys_at(shape if turn else normal.shape, cut)
            # what came of a reference was told at it; more than FINDINGS_MAX nobody reads
            if not _refers(normal.shape, cut) and len(told) < FINDINGS_MAX:
                finding = translate(shape, path, detail)
                # a machine without one of its guards is another machine
                guard = cut[:2] == ("state_machine", "transitions") and "conditions" in cut
                told.append(finding if guard else _left_out(finding, detail["loc"], whole=cut != detail["loc"]))
        shape = without(shape, tuple(cuts))
    place = shape.place.spot(path)
    told.append(
        Finding("unreadable", EnumSeverity.ERROR, *place, "too much in it does not fit", "mend what is left out")
    )
    return None, shape, told, gone


def _left_out(finding: Finding, loc: Loc, *, whole: bool) -> Finding:
    if finding.code == "missing_key" and len(loc) > 1:
        finding = finding._replace(fix=f"add {loc[-1]}: ...")  # examples are those of our own contracts
    what = "its block is left out" if whole else "it is left out"
    return finding._replace(severity=EnumSeverity.WARNING, code="left_out", message=f"{finding.message}; {what}")


def cut_at(model: type[BaseModel], shape: YamlMap, loc: Loc) -> Loc:
    """The innermost part of ``loc`` that the rest stands without: a row, or the value of a field that is not required.

    ``()`` when there is none. ``loc`` may end in what is no part of the text: the name of a missing key, a union's member.
    """
    best: Loc = ()
    current: type[BaseModel] | None = model
    node: YamlNode | None = shape
    for n, step in enumerate(loc):
        if isinstance(node, YamlList) and isinstance(step, int):
            if step >= len(node.items):
                break
            node, best = node.items[step], loc[: n + 1]
        elif isinstance(node, YamlMap) and isinstance(step, str) and step in node.entries:
            field = current.model_fields.get(step) if current else None
            node = node.entries[step].node
            if field is None or not field.is_required():
                best = loc[: n + 1]
            if field is not None:
                current = next(models_of(field.annotation), None)
        else:
            break
    return best


def _references(tree: YamlNode) -> set[int]:
    """The keys of references to files that were not followed: what came of them was told at them."""
    return {id(leaf) for leaf in keys_within(tree) if leaf.value == REF}


def _refers(shape: YamlMap, loc: Loc) -> bool:
    node: YamlNode | None = shape
    for step in loc:
        node = node.get(str(step)) if isinstance(node, YamlMap) else None
    return isinstance(node, YamlMap) and REF in node.entries


def _keys_at(shape: YamlMap, loc: Loc) -> set[int]:
    node: YamlNode = shape
    keys: set[int] = set()
    for step in loc:
        if isinstance(node, YamlMap) and isinstance(step, str):
            keys = {id(node.entries[step].key)}
            node = node.entries[step].node
        elif isinstance(node, YamlList) and isinstance(step, int):
            keys, node = set(), node.items[step]
    return keys | {id(leaf) for leaf in keys_within(node)}


def without(node: YamlMap, cuts: tuple[Loc, ...]) -> YamlMap:
    cut = _without(node, cuts)
    return cut if isinstance(cut, YamlMap) else node


def _without(node: YamlNode, cuts: tuple[Loc, ...]) -> YamlNode:
    here = {cut[0]: None for cut in cuts if len(cut) == 1}
    below: dict[str | int, list[Loc]] = {}
    for cut in cuts:
        if len(cut) > 1:
            below.setdefault(cut[0], []).append(cut[1:])
    if isinstance(node, YamlMap):
        entries: dict[str, YamlEntry] = {}
        for name, entry in node.entries.items():
            if name not in here:
                inner = _without(entry.node, tuple(below[name])) if name in below else entry.node
                entries[name] = entry._replace(node=inner)
        return YamlMap(entries, node.place)
    if isinstance(node, YamlList):
        items = [
            _without(item, tuple(below[n])) if n in below else item
            for n, item in enumerate(node.items)
            if n not in here
        ]
        return YamlList(tuple(items), node.place)
    return node
