"""Files that a contract includes: what stands in their place, and what is refused, each at the line that asks for it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from onex.contracts.model.key_usage import keys_written
from onex.contracts.text.include import (
    FILES_MAX,
    NESTED_MAX,
    IncludedFile,
    IncludeMissing,
    IncludeRefused,
    ResolvedTree,
    resolve_includes,
)
from onex.contracts.text.yaml_tree import DEPTH_MAX, NODES_MAX, YamlMap, place_of, plain, read_yaml


class Files:
    """A repository in memory; paths are flat."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files
        self.asked: list[tuple[str, str]] = []

    def __call__(self, including: str, reference: str) -> IncludedFile | IncludeRefused | IncludeMissing:
        self.asked.append((including, reference))
        name = reference.removeprefix("./")
        return IncludedFile(self.files[name], name) if name in self.files else IncludeMissing(name)


def whole(text: str, **files: str) -> ResolvedTree:
    return resolved(text, Files({f"{name}.yaml": held for name, held in files.items()}))


def resolved(text: str, fetch: Files | None) -> ResolvedTree:
    source = read_yaml(text, "main.yaml", references=True)
    assert source.tree is not None
    return resolve_includes(source.tree, "main.yaml", fetch)


def reported(found: ResolvedTree) -> list[str]:
    return [f"{one.path}:{one.line}:{one.column} {one.severity} {one.code}: {one.message}" for one in found.findings]


# --- what stands in the place of a reference --------------------------------------------------------------------------


def test_an_include_is_what_the_file_holds() -> None:
    found = whole("a: !include x.yaml\nb: [1, !include x.yaml]", x="k: {n: 1}")
    assert plain(found.tree) == {"a": {"k": {"n": 1}}, "b": [1, {"k": {"n": 1}}]}
    assert (found.findings, found.paths) == ((), ("x.yaml",))


def test_a_ref_is_what_the_file_holds_and_keys_beside_it_win() -> None:
    found = whole("fsm: {$ref: ./x.yaml, n: 2}", x="n: 1\nm: 3")
    assert plain(found.tree) == {"fsm": {"n": 2, "m": 3}}
    assert found.findings == ()


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("", {"a/b": [{"~": 7}], "c": 1}), ("#", {"a/b": [{"~": 7}], "c": 1}), ("#/c", 1), ("#/a~1b/0/~0", 7)],
)
def test_a_pointer_takes_a_part_of_the_file(pointer: str, value: object) -> None:
    found = whole(f'k: {{$ref: "x.yaml{pointer}"}}', x="a/b: [{'~': 7}]\nc: 1")
    assert plain(found.tree) == {"k": value}
    assert found.findings == ()


def test_references_of_json_schema_are_data() -> None:
    text = 'items: {$ref: "#/definitions/Order"}\nproperties: {$ref: {type: string}}'
    found = resolved(text, None)
    source = read_yaml(text, "main.yaml", references=True)
    assert source.tree is not None
    assert (plain(found.tree), found.findings, found.followed) == (plain(source.tree), (), {})


def test_places_name_the_file_they_are_in() -> None:
    found = whole("a: 1\nb: !include x.yaml", x="\n\nc: 1")
    assert place_of(found.tree, ("a",)) == (1, 4, "")
    assert place_of(found.tree, ("b", "c")) == (3, 4, "x.yaml")


def test_the_key_of_a_ref_is_known_by_the_key_above_it() -> None:
    source = read_yaml("top: {block: {$ref: x.yaml}}\nrow: [{$ref: x.yaml}]\n", "main.yaml", references=True)
    assert isinstance(source.tree, YamlMap)
    found = resolve_includes(source.tree, "main.yaml", Files({"x.yaml": "k: 1"}))
    keys = {id(leaf): loc for loc, leaf in keys_written(source.tree)}
    above = {keys[one]: keys[id(key)] for one, key in found.followed.items() if key is not None}
    assert above == {("top", "block", "$ref"): ("top", "block"), ("row", 0, "$ref"): ("row",)}


def test_a_ref_at_the_top_is_known_by_no_key() -> None:
    assert list(whole("$ref: x.yaml\nname: y", x="name: x").followed.values()) == [None]


def test_files_include_files_and_their_references_count_from_themselves() -> None:
    files = Files({"x.yaml": "k: !include y.yaml", "y.yaml": "[1]"})
    assert plain(resolved("a: {$ref: x.yaml}", files).tree) == {"a": {"k": [1]}}
    assert files.asked == [("main.yaml", "x.yaml"), ("x.yaml", "y.yaml")]


def test_without_a_reference_the_tree_is_the_same_one() -> None:
    source = read_yaml("a: {b: [1, {c: d}]}", "main.yaml", references=True)
    assert source.tree is not None
    assert resolve_includes(source.tree, "main.yaml", None).tree is source.tree


# --- what is refused, or reported -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd", "//host/x", "../x.yaml", "a/../../x.yaml", "..", "~/x.yaml", "C:/x.yaml", "a\\b.yaml", "''",
        "' '", "http://example.org/x.yaml", "https://example.org", "file:x.yaml", "data:text/plain,x", "git+ssh://a/b",
        '"x\\ty.yaml"', '"x\\u202ey.yaml"', '"\\r"',
    ],
)  # fmt: skip
def test_a_name_that_can_be_no_file_of_the_repository_is_never_asked_for(name: str) -> None:
    files = Files({})
    for text in (f"\n  a: !include {name}", f"\na: {{$ref: {name}}}"):
        found = resolved(text, files)
        assert [(one.code, one.severity, one.line) for one in found.findings] == [("reference_refused", "error", 2)]
        assert found.findings[0].fix
    assert files.asked == []


def test_a_file_that_is_not_there_is_a_warning_and_the_reference_stays() -> None:
    found = whole("a: {$ref: x.yaml}\nb: !include y.yaml")
    assert reported(found) == [
        "main.yaml:1:11 warning reference_missing: there is no file x.yaml",
        "main.yaml:2:4 warning reference_missing: there is no file y.yaml",
    ]
    assert plain(found.tree) == {"a": {"$ref": "x.yaml"}, "b": "y.yaml"}
    assert found.followed == {}


def test_a_pointer_to_nothing_is_a_warning() -> None:
    for pointer in ("#/b", "#/a/0", "#/a/b/c", "#/c/1", "#/c/99999999999999999999", "#/c/-1", "#/c/x"):
        found = whole(f'k: {{$ref: "x.yaml{pointer}"}}', x="a: {b: 1}\nc: [1]")
        assert [(one.code, one.severity) for one in found.findings] == [("reference_missing", "warning")], pointer


def test_where_no_file_can_be_read_each_reference_is_reported() -> None:
    found = resolved("a: {$ref: x.yaml}", None)
    assert reported(found) == ["main.yaml:1:11 warning reference_not_followed: x.yaml is not read here"]


def test_a_circle_is_reported_with_the_way_round() -> None:
    found = whole("a: !include x.yaml", x="b: !include y.yaml", y="c: {$ref: x.yaml}")
    assert reported(found) == [
        "y.yaml:1:11 error reference_cycle: files include one another: x.yaml -> y.yaml -> x.yaml"
    ]


def test_what_is_wrong_in_an_included_file_is_reported_in_it_once() -> None:
    found = whole("a: !include x.yaml\nb: !include x.yaml", x="k: yes\nk: 2\nv: &a 1")
    assert [line.split(":")[0:2] for line in reported(found)] == [["x.yaml", "1"], ["x.yaml", "2"], ["x.yaml", "3"]]
    broken = whole("a: !include x.yaml\nb: !include x.yaml", x="[")
    assert [(one.path, one.code) for one in broken.findings] == [("x.yaml", "yaml_syntax")]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!include2", "!env", "!!binary"])
def test_no_other_tag_is_read(tag: str) -> None:
    source = read_yaml(f"a: {tag} x.yaml", "main.yaml", references=True)
    assert [(one.code, one.line, one.column) for one in source.findings] == [("yaml_tag", 1, 4)]


def test_an_include_names_one_file() -> None:
    source = read_yaml("a: !include [x.yaml]\nb: !include {x: y}", "main.yaml", references=True)
    assert [(one.code, one.line) for one in source.findings] == [("yaml_tag", 1), ("yaml_tag", 2)]


def test_the_strict_reader_takes_no_include() -> None:
    assert [one.code for one in read_yaml("a: !include x.yaml", "main.yaml").findings] == ["yaml_tag"]


def test_keys_beside_a_reference_need_a_mapping() -> None:
    found = whole("a: {$ref: x.yaml, b: 1}", x="[1]")
    assert reported(found) == [
        "main.yaml:1:11 error reference_shape: x.yaml holds no mapping, and other keys stand beside this $ref"
    ]


# --- how much of it ---------------------------------------------------------------------------------------------------


def test_how_deep_files_include_one_another_is_counted_exactly() -> None:
    chain = {f"f{n}.yaml": f"k: !include f{n + 1}.yaml" for n in range(NESTED_MAX)}
    ends = Files({**chain, f"f{NESTED_MAX - 1}.yaml": "end"})
    assert resolved("!include f0.yaml", ends).findings == ()
    goes_on = Files({**chain, f"f{NESTED_MAX}.yaml": "end"})
    assert [(one.code, one.path) for one in resolved("!include f0.yaml", goes_on).findings] == [
        ("reference_too_deep", f"f{NESTED_MAX - 1}.yaml")
    ]


def test_the_depth_of_the_whole_is_that_of_one_file() -> None:
    below = DEPTH_MAX - 1
    fits = whole("a: !include x.yaml", x="[" * below + "]" * below)
    assert fits.findings == ()
    over = whole("a: {b: !include x.yaml}", x="[" * below + "]" * below)
    assert [(one.code, one.path, one.line) for one in over.findings] == [("reference_too_deep", "main.yaml", 1)]


def test_a_bomb_of_files_is_defused() -> None:
    """Ten files that each include the next ten times would be ten thousand million values."""
    files = {f"f{n}.yaml": "[" + f"!include f{n + 1}.yaml, " * 10 + "]" for n in range(9)}
    fetch = Files({**files, "f9.yaml": "[" + "x, " * 100 + "]"})
    found = resolved("!include f0.yaml", fetch)
    assert "reference_too_many" in {one.code for one in found.findings}
    assert len(fetch.asked) == FILES_MAX


def test_all_files_together_are_no_more_than_one_may_be() -> None:
    many = "[" + "x, " * (NODES_MAX // 4) + "]"
    found = whole("[" + "!include x.yaml, " * 5 + "]", x=many)
    assert {one.code for one in found.findings} == {"reference_too_large"}
    assert whole("[" + "!include x.yaml, " * 3 + "]", x=many).findings == ()


def test_a_million_bytes_of_remarks_are_too_many() -> None:
    files = {f"x{n}": "# " + "remark " * 30_000 + "\nk: 1" for n in range(8)}
    found = whole("[" + ", ".join(f"!include {name}.yaml" for name in files) + "]", **files)
    assert {one.code for one in found.findings} == {"reference_too_large"}
