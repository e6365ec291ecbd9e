"""The map of a system: drawn whole while it can be read, folded together beyond, the same in Mermaid and in SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from onex.doctor.system_map import READABLE, SystemMap, map_mermaid, map_svg, short, system_map
from tests.doctor.planted import examined

NodeText = dict[str, str]


def node(name: str, says: str = "", hears: str = "", kind: str = "EFFECT_GENERIC", more: str = "") -> str:
    return (
        f"name: {name}\nnode_type: {kind}\ncontract_version: {{major: 1, minor: 0, patch: 0}}\n"
        f"event_bus: {{publish_topics: [{says}], subscribe_topics: [{hears}]}}\n{more}"
    )


def drawn(tmp_path: Path, files: NodeText) -> SystemMap:
    return system_map(examined(tmp_path, files))


def ties(of: SystemMap) -> set[tuple[str, str, str]]:
    labels = {one.id: one.label for one in of.nodes}
    return {(labels[edge.source], edge.label, labels[edge.target]) for edge in of.edges}


def test_a_topic_connects_its_publisher_to_its_consumer(tmp_path: Path) -> None:
    files = {"a.yaml": node("a", says="onex.evt.shop.paid.v1"), "b.yaml": node("b", hears="onex.evt.shop.paid.v1")}
    assert ties(drawn(tmp_path, files)) == {("a", "paid.v1", "b")}


def test_dependencies_steps_and_messages_between_workflows_tie_as_well(tmp_path: Path) -> None:
    files = {
        "a.yaml": node("a", more="dependencies: [{name: b, type: node}]\n"),
        "b.yaml": node("b"),
        "c.yaml": node(
            "c",
            kind="ORCHESTRATOR_GENERIC",
            more="workflow_steps: [{step_id: first, node: b}]\n",
        ),
    }
    of = drawn(tmp_path, files)
    assert ties(of) == {("a", "", "b"), ("c", "first", "b")}
    assert [edge.kind for edge in of.edges] == ["weak", ""]


def test_a_small_map_shows_the_ends_that_are_open(tmp_path: Path) -> None:
    of = drawn(tmp_path, {"a.yaml": node("a", says="shop.paid.v1", hears="shop.pay.v1")})
    assert ties(of) == {("a", "", "shop.paid.v1"), ("shop.pay.v1", "", "a")}


def test_ends_that_miss_each_other_are_drawn_as_what_is_missing(tmp_path: Path) -> None:
    files = {"a.yaml": node("a", says="dev.shop.paid.v1"), "b.yaml": node("b", hears="shop.paid.v1")}
    of = drawn(tmp_path, files)
    assert ties(of) == {("a", "dev...paid.v1 / paid.v1", "b")}
    assert [edge.kind for edge in of.edges] == ["missed"]
    assert "    linkStyle 0 stroke:#b3261e,color:#b3261e\n" in map_mermaid(of)
    assert 'class="missed"' in map_svg(of, "x")


def test_a_topic_of_many_is_a_box_of_its_own(tmp_path: Path) -> None:
    files = {f"{name}.yaml": node(name, says="shop.paid.v1") for name in "ab"}
    files |= {f"{name}.yaml": node(name, hears="shop.paid.v1") for name in "xy"}
    assert ties(drawn(tmp_path, files)) == {
        ("a", "", "paid.v1"),
        ("b", "", "paid.v1"),
        ("paid.v1", "", "x"),
        ("paid.v1", "", "y"),
    }


def test_many_nodes_of_which_few_talk_are_drawn_without_the_silent_ones(tmp_path: Path) -> None:
    files = {f"{n}.yaml": node(f"silent{n}", kind="COMPUTE_GENERIC") for n in range(READABLE)}
    files |= {"a.yaml": node("a", says="shop.paid.v1"), "b.yaml": node("b", hears="shop.paid.v1")}
    of = drawn(tmp_path, files)
    assert sorted(one.label for one in of.nodes) == ["60 compute nodes", "a", "b"]
    assert of.note == "60 of 62 nodes are connected to no other; they are only counted."


def test_many_that_talk_are_folded_by_folder_and_their_topics_counted(tmp_path: Path) -> None:
    files = {f"shop/{n}/contract.yaml": node(f"s{n}", says=f"shop.one{n}.v1") for n in range(40)}
    files |= {f"till/{n}/contract.yaml": node(f"t{n}", hears=f"shop.one{n}.v1") for n in range(40)}
    of = drawn(tmp_path, files)
    assert ties(of) == {("shop", "40 topics", "till")}
    assert [one.detail for one in of.nodes] == ["40 nodes", "40 nodes"]


def test_a_flat_folder_of_many_is_folded_by_what_names_begin_with(tmp_path: Path) -> None:
    files = {
        f"node_{name}_{n}_effect.yaml": node(f"node_{name}_{n}_effect", says=f"{name}.e{n}.v1")
        for n in range(31)
        for name in ("pay", "ship")
    }
    files |= {
        "ends.yaml": node("end", hears=", ".join(f"{name}.e{n}.v1" for n in range(31) for name in ("pay", "ship")))
    }
    of = drawn(tmp_path, files)
    assert {one.label for one in of.nodes} == {"pay", "ship", "end"}
    assert ties(of) == {("pay", "31 topics", "end"), ("ship", "31 topics", "end")}


def test_no_map_is_larger_than_can_be_read(tmp_path: Path) -> None:
    files = {
        f"{n % 7}/{n}/contract.yaml": node(f"n{n}x", says=f"t.e{n}.v1", hears=f"t.e{(n + 1) % 200}.v1")
        for n in range(200)
    }
    assert len(drawn(tmp_path, files).nodes) <= READABLE


def test_words_of_contracts_stay_words_in_both_drawings(tmp_path: Path) -> None:
    of = drawn(tmp_path, {"a.yaml": node("'<b>\"#;|'", says="shop.paid.v1"), "b.yaml": node("b", hears="shop.paid.v1")})
    mermaid = map_mermaid(of)
    assert '    n0["#lt;b#gt;#quot;#35;#59;#124;<br/><small>effect</small>"]:::effect' in mermaid
    picture = ET.fromstring(map_svg(of, "A & B"))  # our own bytes
    texts = {"".join(one.itertext()) for one in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert '<b>"#;|' in texts
    assert "paid.v1" in texts


def test_a_repository_of_which_nothing_loads_has_an_empty_map(tmp_path: Path) -> None:
    of = drawn(tmp_path, {"a.yaml": "node_type: compute\nname: a\nname: b\n"})
    assert of == SystemMap((), (), "")
    assert map_mermaid(of).startswith("flowchart LR\n")
    assert ET.fromstring(map_svg(of, "x")).tag.endswith("svg")  # our own bytes


def test_the_same_repository_gives_the_same_map(tmp_path: Path) -> None:
    files = {f"{name}.yaml": node(name, says="shop.paid.v1", hears="shop.paid.v1") for name in "abc"}
    first = drawn(tmp_path, files)
    assert map_svg(drawn(tmp_path, files), "x") == map_svg(first, "x")
    assert map_mermaid(drawn(tmp_path, files)) == map_mermaid(first)


def test_a_label_is_short_and_differs_between_topics() -> None:
    assert short("onex.evt.shop.basket-paid.v2") == "basket-paid.v2"
    assert short("{env}.shop.paid.v1") == "{env}...paid.v1"
    assert short("orders") == "orders"
