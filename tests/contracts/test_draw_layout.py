"""What a drawing promises whatever the graph: nothing overlaps, lines end at their boxes, the same graph is drawn the same."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from onex.contracts.draw.coordinates import spread
from onex.contracts.draw.drawing import Drawing, EnumFlow, GraphEdge, GraphNode, NodeBox, measured
from onex.contracts.draw.layers import layered
from onex.contracts.draw.layout import layout
from onex.contracts.draw.svg import svg

NAMES = "abcdefgh"
WORDS = st.sampled_from(["", "go", "complete_learning", "a much longer text that needs more than a single line"])
EDGES = st.lists(st.builds(GraphEdge, st.sampled_from(NAMES), st.sampled_from(NAMES), WORDS), max_size=16)
FLOWS = st.sampled_from(EnumFlow)


def drawn(edges: list[GraphEdge], flow: EnumFlow = EnumFlow.DOWN) -> Drawing:
    return layout([GraphNode(name, name * 3, detail="small" if name == "c" else "") for name in NAMES], edges, flow)


def apart(left: NodeBox, right: NodeBox) -> bool:
    aside = abs(left.x - right.x) >= (left.width + right.width) / 2
    return aside or abs(left.y - right.y) >= (left.height + right.height) / 2


@given(EDGES, FLOWS)
def test_boxes_never_overlap_and_lie_within_the_drawing(edges: list[GraphEdge], flow: EnumFlow) -> None:
    made = drawn(edges, flow)
    assert [box.node.id for box in made.boxes if box.x < box.width / 2 or box.y < box.height / 2] == []
    assert all(box.x + box.width / 2 <= made.width and box.y + box.height / 2 <= made.height for box in made.boxes)
    assert all(apart(left, right) for left, right in combinations(made.boxes, 2))


@given(EDGES, FLOWS)
def test_every_line_begins_and_ends_at_the_side_of_its_box(edges: list[GraphEdge], flow: EnumFlow) -> None:
    made = drawn(edges, flow)
    boxes = {box.node.id: box for box in made.boxes}
    assert {(line.source, line.target) for line in made.lines} == {(edge.source, edge.target) for edge in edges}
    for line in made.lines:
        for name, point in ((line.source, line.strokes[0].points[0]), (line.target, line.strokes[-1].points[-1])):
            box = boxes[name]
            aside, above = abs(point.x - box.x) - box.width / 2, abs(point.y - box.y) - box.height / 2
            assert max(aside, above) < 0.6  # within or at the edge
            assert max(aside, above) > -0.6  # and at the edge


@given(EDGES, FLOWS)
def test_words_stand_inside_the_drawing_and_on_no_box(edges: list[GraphEdge], flow: EnumFlow) -> None:
    made = drawn(edges, flow)
    for line in made.lines:
        if (label := line.label) is not None:
            word = NodeBox(GraphNode("", ""), (), label.x, label.y, label.width, label.height)
            assert all(apart(word, box) for box in made.boxes)
            assert label.width / 2 <= label.x <= made.width - label.width / 2
    assert {edge.label for edge in edges if len(edge.label) < 30} - {""} <= {
        text for line in made.lines if line.label for text in line.label.lines
    }


@given(EDGES, FLOWS)
def test_the_same_graph_is_the_same_file_and_the_file_is_xml(edges: list[GraphEdge], flow: EnumFlow) -> None:
    first = svg(drawn(edges, flow), "a <b> & 'c'")
    assert first == svg(drawn(edges, flow), "a <b> & 'c'")
    root = ElementTree.fromstring(first)
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "a <b> & 'c'"


@given(EDGES)
def test_after_cycles_are_broken_every_edge_leads_down(edges: list[GraphEdge]) -> None:
    pairs = [(NAMES.index(a), NAMES.index(b)) for a, b, _, _ in edges if a != b]
    layers = layered(len(NAMES), pairs)
    for (source, target), chain in zip(pairs, layers.chains, strict=True):
        ends = (chain.vertices[0], chain.vertices[-1])
        assert ends == ((target, source) if chain.flipped else (source, target))
        steps = [layers.layer[vertex] for vertex in chain.vertices]
        assert steps == list(range(steps[0], steps[0] + len(steps)))
        assert layers.layer[chain.words] % 2 == 1


def test_a_straight_line_of_states_is_drawn_straight() -> None:
    made = layout(
        [GraphNode(name, name) for name in "abcd"], [GraphEdge("a", "b"), GraphEdge("b", "c"), GraphEdge("c", "d")]
    )
    assert len({box.x for box in made.boxes}) == 1
    assert [stroke.letter for line in made.lines for stroke in line.strokes if stroke.letter == "C"] == []


def test_edges_between_the_same_two_nodes_are_one_line_with_all_their_words() -> None:
    made = layout(
        [GraphNode("a", "a"), GraphNode("b", "b")],
        [GraphEdge("a", "b", "one"), GraphEdge("a", "b", "two"), GraphEdge("b", "a", "back")],
    )
    assert [line.label.lines for line in made.lines if line.label] == [("one", "two"), ("back",)]


def test_hostile_words_stay_words() -> None:
    hostile = "</text><script>alert(1)</script>\x00\x1b[31m\u202e"
    nodes = [GraphNode("a", hostile, kind='"><script>', detail=hostile, note=hostile), GraphNode("b", hostile)]
    made = svg(layout(nodes, [GraphEdge("a", "b", hostile, kind=hostile)]), hostile, hostile)
    assert "<script" not in made
    root = ElementTree.fromstring(made)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "desc", "style", "defs", "marker", "path", "rect", "g", "text"}


def test_nothing_is_loaded_from_elsewhere() -> None:
    made = svg(layout([GraphNode("a", "a")], []), "alone")
    assert "href" not in made
    assert "url(#tip)" not in made.replace('marker-end="url(#tip)"', "")
    assert made.count("http") == 1  # the name of SVG itself


def test_no_nodes_make_an_empty_picture() -> None:
    assert layout([], []) == Drawing(48.0, 48.0, (), ())


def test_long_words_are_broken_where_people_would_and_then_cut() -> None:
    assert measured("payload.total > state.limit and state.kind == 'gold'").lines == (
        "payload.total > state.limit and",
        "state.kind == 'gold'",
    )
    assert measured("x" * 200, columns=10, rows=2).lines == ("x" * 10, "x" * 7 + "...")


def test_places_that_do_not_conflict_are_taken_and_those_that_do_are_shared() -> None:
    assert spread([0.0, 50.0], [1.0, 1.0], [10.0]) == [0.0, 50.0]
    assert spread([5.0, 5.0], [1.0, 1.0], [10.0]) == [0.0, 10.0]
    assert spread([0.0, 0.0], [3.0, 1.0], [8.0]) == [-2.0, 6.0]
