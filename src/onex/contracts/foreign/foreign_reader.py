"""Any contract of any family becomes one of the four kinds, and every key is honoured or reported. Never raises.

    text -> located tree -> references resolved -> normalised -> keys without a field removed -> typed -> checked -> keys reported

Theory of operation. A contract of our own family goes to the strict reader (``load``). Any other takes these steps (``_foreign``):

1. ``normalise`` brings all keys under the names of our fields. It refuses nothing but a missing kind or name.
2. ``_typed`` makes the typed contract. A value that does not fit its field must not lose the contract, so pydantic's errors say
   what to leave out: ``cut_at`` finds the innermost part that the rest stands without (a row, or an optional field), and
   ``without`` removes it, with a warning. Then the rest is tried again, since one error can hide another. Each round removes at
   least one part, and after ROUNDS_MAX rounds the contract is refused. It is refused at once when nothing can be left out: the
   name, the kind. A guard that does not fit stays an error; without it the machine would accept more.
3. ``check_foreign`` checks names, guards, graphs and weights.
4. Keys: ``sort_keys`` and ``inherit_usage`` say what became of each (``model.key_usage``). With references there are two trees,
   the file as written and the resolved one. Both are walked, because a ``$ref`` key exists in the first only and keys of
   included files in the second only.
5. ``keys_without_effect`` reports the keys that are held or unknown, once per outermost key. Keys that were left out in step 2 or
   belong to an unresolved reference had a finding already and get no second one (``gone``).

Errors of the first steps are kept, and a later finding at the same place is dropped: it has the same cause.
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
from ..model.reducer_pattern import NODE_CLASS, ModelContractReducerPattern
from ..text.include import REF, IncludeReader, ResolvedTree, resolve_includes
from ..text.yaml_tree import (
    FINDINGS_MAX,
    Loc,
    YamlEntry,
    YamlList,
    YamlMap,
    YamlNode,
    YamlScalar,
    node_at,
    plain,
    read_yaml,
)
from .family import family_of, is_bare
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


def read_contract(text: str, path: str, fetch: IncludeReader | None = None) -> ReadResult:
    """``path`` names the text in findings, and the contract when it has no name; ``fetch`` reads the files that it includes."""
    source = read_yaml(text, path, references=True)
    if source.tree is None:
        return _nothing(path, source.findings)
    whole = resolve_includes(source.tree, path, fetch)
    found = (*source.findings, *whole.findings)
    if not isinstance(source.tree, YamlMap) or not isinstance(whole.tree, YamlMap):
        place = source.tree.place.spot(path)
        not_mapping = Finding(
            "not_a_mapping", EnumSeverity.ERROR, *place, "a contract is a mapping of keys", "begin with name:"
        )
        return _nothing(path, (*found, not_mapping))
    family = family_of(whole.tree)
    if family is EnumFamily.ONEX or (is_bare(whole.tree) and not errors(load_tree(whole.tree, path, found).findings)):
        return _own(source.tree, whole, path, found)
    return _foreign(source.tree, whole, path, family, found)


def read_own_tree(tree: YamlMap, path: str) -> ReadResult:
    """A contract of our own family that was not read from YAML."""
    return _own(tree, ResolvedTree(tree, (), {}, ()), path, ())


def _nothing(path: str, findings: tuple[Finding, ...]) -> ReadResult:
    return ReadResult(path, None, None, "", None, None, (), findings)


def _own(written: YamlMap, whole: ResolvedTree, path: str, found: tuple[Finding, ...]) -> ReadResult:
    """A contract of our own family, by the strict reader."""
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
    model = _model(normal)
    contract, shape, left, gone = _typed(model, normal, path)
    sorted_ = sort_keys(model, shape)
    inherit_usage(whole.tree, sorted_.usages, normal.notes.wrappers, normal.notes.absorbed)
    if written is not whole.tree:
        inherit_usage(written, sorted_.usages, normal.notes.wrappers, {**normal.notes.absorbed, **whole.followed})
    # a broken scalar causes a second finding at its place; only the first is reported
    broken = {(one.path, one.line, one.column) for one in errors(found)}
    left = [one for one in left if (one.path, one.line, one.column) not in broken]
    collected = [*found, *normal.notes.findings, *left]
    if contract is not None:
        collected += check_foreign(contract, shape, path)
    collected += keys_without_effect(whole.tree, sorted_.usages, gone | _references(whole.tree), model, path)
    findings = _ordered(collected, path)
    keys = tuple(keys_of(written, sorted_.usages))
    kind = str(normal.kind or "")
    made = None if errors(findings) else contract
    return ReadResult(path, made, family, kind, written, shape, keys, findings, normal.word)


def _model(normal: NormalisedContract) -> type[ModelContractBase]:
    if normal.kind is None:
        return ModelContractBase
    named = node_at(normal.shape, ("node_class", "name"))
    is_engine = normal.kind is EnumNodeKind.REDUCER and isinstance(named, YamlScalar) and named.value == NODE_CLASS
    return ModelContractReducerPattern if is_engine else KINDS[normal.kind]


def _ordered(collected: list[Finding], path: str) -> tuple[Finding, ...]:
    """Those of the file that was asked for first, then by line. Beyond FINDINGS_MAX the least severe are dropped."""
    collected.sort(key=lambda one: (one.path != path, one.path, one.line, one.column))
    if len(collected) <= FINDINGS_MAX:
        return tuple(collected)
    weight = {EnumSeverity.ERROR: 0, EnumSeverity.WARNING: 1, EnumSeverity.INFO: 2}
    kept = sorted(range(len(collected)), key=lambda n: (weight[collected[n].severity], n))[: FINDINGS_MAX - 1]
    more = Finding("too_many_findings", EnumSeverity.INFO, path, 0, 0, f"and {len(collected) - len(kept)} more")
    return (*(collected[n] for n in sorted(kept)), more)


def _typed(
    model: type[ModelContractBase], normal: NormalisedContract, path: str
) -> tuple[ModelContractBase | None, YamlMap, list[Finding], set[int]]:
    """``(contract, tree without what was left out, findings, ids of the keys that were left out)``. See step 2 above."""
    shape = sort_keys(model, normal.shape).tree
    collected: list[Finding] = []
    gone: set[int] = set()
    if normal.kind is None:
        return None, shape, collected, gone
    for turn in range(ROUNDS_MAX):
        try:
            # through JSON: pydantic's strict mode takes lists as tuples and words as enums there, and converts nothing else
            return model.model_validate_json(to_json(plain(shape))), shape, collected, gone
        except PydanticError as error:
            details = error.errors(include_url=False)
        cuts: dict[Loc, None] = {}
        for detail in details:
            cut = cut_at(model, shape, detail["loc"])
            if not cut or (cut[0] in ESSENTIAL and len(cut) == 1):
                return None, shape, [*collected, translate(shape, path, detail)], gone
            if cut in cuts:
                continue
            cuts[cut] = None
            # the first round's positions are those of the normalised tree, which still has the keys without a field
            gone |= _keys_at(shape if turn else normal.shape, cut)
            # an unresolved reference has its finding already
            if not _refers(normal.shape, cut) and len(collected) < FINDINGS_MAX:
                finding = translate(shape, path, detail)
                # without one of its guards a machine would accept more
                guard = cut[:2] == ("state_machine", "transitions") and "conditions" in cut
                collected.append(finding if guard else _left_out(finding, detail["loc"], whole=cut != detail["loc"]))
        shape = without(shape, tuple(cuts))
    place = shape.place.spot(path)
    collected.append(
        Finding("unreadable", EnumSeverity.ERROR, *place, "too much in it does not fit", "fix what is left out")
    )
    return None, shape, collected, gone


def _left_out(finding: Finding, loc: Loc, *, whole: bool) -> Finding:
    if finding.code == "missing_key" and len(loc) > 1:
        finding = finding._replace(fix=f"add {loc[-1]}: ...")  # examples are those of our own contracts
    what = "its block is left out" if whole else "it is left out"
    return finding._replace(severity=EnumSeverity.WARNING, code="left_out", message=f"{finding.message}; {what}")


def cut_at(model: type[BaseModel], shape: YamlMap, loc: Loc) -> Loc:
    """The innermost part of ``loc`` that the rest is valid without: a row, or the value of a field that is not required.

    ``()`` when there is none. ``loc`` may end in what is not in the text: the name of a missing key, a member of a union.
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
    """The keys of references that were not followed. Each has a finding already."""
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
