"""Real contracts of two public repositories: read, typed, and every key of every file accounted for."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from onex.contracts.foreign.foreign_reader import read_contract
from onex.contracts.foreign.read_result import ReadResult
from onex.contracts.model.key_usage import EnumKeyUsage
from onex.contracts.text.yaml_tree import YamlList, YamlMap, YamlNode, YamlScalar, plain, read_yaml
from tests.laws.tree import ROOT

CORPUS = ROOT.parent / "shared" / "corpus" / "contracts"
AT_LEAST_OK = 0.95
CONVERTED = {"node_type", "optional", "operator"}
"""Keys whose value is held as another: a kind for a word, ``required: false`` for ``optional: true``, ``==`` for ``eq``."""

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"SKIPPED LOUDLY: the corpus is not at {CORPUS}")


@cache
def readings() -> tuple[ReadResult, ...]:
    paths = sorted(CORPUS.rglob("*.yaml"))
    return tuple(read_contract(path.read_text(), str(path.relative_to(CORPUS))) for path in paths)


def test_the_corpus_is_all_there() -> None:
    assert len(readings()) >= 212


def test_nearly_all_become_one_of_four_kinds() -> None:
    accepted = [one for one in readings() if one.ok]
    assert len(accepted) / len(readings()) >= AT_LEAST_OK
    assert {one.node_type for one in accepted} == {"effect", "compute", "reducer", "orchestrator"}


def test_what_is_refused_says_where_and_what_to_write() -> None:
    for one in readings():
        if not one.ok:
            errors = [finding for finding in one.findings if finding.severity == "error"]
            assert errors, one.path
            assert all(finding.line > 0 and finding.column > 0 and finding.fix for finding in errors), one.path


def test_refused_are_only_guards_that_name_functions() -> None:
    codes = Counter(finding.code for one in readings() for finding in one.findings if finding.severity == "error")
    assert set(codes) == {"guard_field"}


def test_every_key_of_every_file_is_honoured_or_reported() -> None:
    for one in readings():
        written = keys(read_yaml((CORPUS / one.path).read_text(), "").tree)
        assert one.honoured + one.reported == written, one.path


def keys(node: YamlNode | None) -> int:
    if isinstance(node, YamlMap):
        return sum(1 + keys(entry.node) for entry in node.entries.values())
    return sum(keys(item) for item in node.items) if isinstance(node, YamlList) else 0


def test_every_reported_key_is_reported_with_its_line() -> None:
    """At its own place, or by the finding for the outermost key it is in; rows alike are reported by the first's finding."""
    for one in readings():
        reported = {(finding.line, finding.column) for finding in one.findings}
        firsts: set[str] = set()
        above: tuple[str | int, ...] | None = None
        for key in one.keys:
            if key.usage is EnumKeyUsage.HONOURED or (above is not None and key.loc[: len(above)] == above):
                continue
            above = key.loc
            generic = ".".join("[]" if isinstance(step, int) else step for step in key.loc)
            place = (key.leaf.place.line, key.leaf.place.column)
            assert place in reported or generic in firsts or "$ref" in key.loc or refers(one, key.loc), (
                one.path,
                generic,
            )
            firsts.add(generic)


def refers(one: ReadResult, loc: tuple[str | int, ...]) -> bool:
    """A block that is a reference to a file: what came of it is reported at the reference."""
    node: YamlNode | None = one.tree
    for step in loc:
        node = node.get(str(step)) if isinstance(node, YamlMap) else None
    return isinstance(node, YamlMap) and "$ref" in node.entries


def test_no_value_of_an_accepted_key_is_lost() -> None:
    lost: list[str] = []
    for one in readings():
        if one.contract is None:
            continue
        held = set(scalars(one.contract.model_dump(mode="json")))
        reported = " ".join(finding.message for finding in one.findings)
        for key in one.keys:
            if key.usage is not EnumKeyUsage.UNKNOWN and key.loc[-1] not in CONVERTED and one.tree is not None:
                lost += [
                    f"{one.path}:{key.leaf.place.line} {key.loc}: {value!r}"
                    for value in own(at(one.tree, key.loc))
                    if not kept(value, held) and str(value) not in reported
                ]
    assert lost == []


def at(tree: YamlNode, loc: tuple[str | int, ...]) -> YamlNode:
    for step in loc:
        if isinstance(tree, YamlMap) and isinstance(step, str):
            tree = tree.entries[step].node
        elif isinstance(tree, YamlList) and isinstance(step, int):
            tree = tree.items[step]
    return tree


def own(node: YamlNode) -> list[object]:
    """The values that stand directly at a key, in rows as well."""
    if isinstance(node, YamlScalar):
        return [] if node.value is None else [node.value]
    return [value for item in node.items for value in own(item)] if isinstance(node, YamlList) else []


def scalars(value: object) -> list[str]:
    """Every key and value, as text; numbers as what they are, whichever way they were written."""
    if isinstance(value, dict):
        if set(value) == {"major", "minor", "patch"}:
            return [".".join(map(str, value.values())), *map(str, value.values())]
        return [one for name, inner in value.items() for one in (str(name), *scalars(inner))]
    if isinstance(value, list):
        return [one for inner in value for one in scalars(inner)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [f"{value:g}", str(value)]
    return [str(value)]


def kept(value: object, held: set[str]) -> bool:
    """As it is, in thousandths (seconds as milliseconds), in parts (``module`` and ``name``), or as a part of a guard."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool({f"{value:g}", f"{value * 1000:g}", str(value)} & held)
    text = str(value)
    module, _, name = text.replace(":", ".").rpartition(".")
    return text in held or text.strip() in held or {module, name} <= held or any(text in one.split() for one in held)


def test_a_text_and_its_tree_say_the_same() -> None:
    for one in readings():
        text = (CORPUS / one.path).read_text()
        assert one.tree is not None
        assert plain(one.tree) == plain(read_yaml(text, "").tree or YamlList((), one.tree.place)), one.path
