"""The system as a graph: nodes by kind, topics between them, dependencies. It is simplified when it is too large to read.

up to 60 nodes        each is a box
more, few connected   those that are connected are boxes; the others are counted, one box for each kind
more                  folders, or families of names, are boxes; the topics between them are counted
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ..contracts.draw.drawing import EnumFlow, GraphEdge, GraphNode
from ..contracts.draw.layout import layout
from ..contracts.draw.svg import svg
from ..contracts.foreign.read_result import ReadResult
from ..contracts.model.contract import ModelContractBase, ModelContractReducer
from ..kernel.intent import EnumIntentType
from .examination import Examination
from .topics import TopicUse, Traffic, open_ends, topic_parts

READABLE: Final = 60
_ALONE: Final = 20
"""Up to so many nodes, topics with only one end are drawn as well."""
_DIRECT: Final = 3
"""A topic with more pairs of ends than this gets a box of its own."""
_KIND_WORDS: Final = frozenset({"evt", "cmd", "intent", "snapshot", "onex"})


class MapEdge(NamedTuple):
    """Nodes by number, in the order of the contracts that loaded. ``topic`` is '' for a dependency."""

    source: int
    target: int
    label: str
    topic: str
    kind: str = ""


class SystemMap(NamedTuple):
    """``note`` is a sentence about what was left out or joined, '' when nothing was."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    note: str


def system_map(diagnosis: Examination) -> SystemMap:
    loaded = diagnosis.loaded
    links = list(_links(loaded, diagnosis.traffic))
    if len(loaded) <= READABLE:
        return _whole(loaded, links, diagnosis.traffic)
    talking = {n for link in links for n in (link.source, link.target)}
    if 0 < len(talking) <= READABLE:
        return _talking(loaded, links, talking)
    return _folded(loaded, links, diagnosis.root)


def map_mermaid(of: SystemMap) -> str:
    """A ``flowchart``; the same map gives the same text."""
    numbers = {node.id: f"n{n}" for n, node in enumerate(of.nodes)}
    lines = ["flowchart LR"]
    if of.note:
        lines.insert(0, f"%% {of.note}")
    for node in of.nodes:
        label = _escaped(node.label) + (f"<br/><small>{_escaped(node.detail)}</small>" if node.detail else "")
        before, after = ("([", "])") if "topic" in node.kind else ("[", "]")
        classes = f":::{node.kind.split()[0]}" if node.kind else ""
        lines.append(f'    {numbers[node.id]}{before}"{label}"{after}{classes}')
    for edge in of.edges:
        arrow = "-.->" if edge.kind else "-->"
        label = f'|"{_escaped(edge.label)}"|' if edge.label else ""
        lines.append(f"    {numbers[edge.source]} {arrow}{label} {numbers[edge.target]}")
    lines += [
        f"    linkStyle {n} stroke:#b3261e,color:#b3261e" for n, edge in enumerate(of.edges) if edge.kind == "missed"
    ]
    lines += [f"    classDef {kind} {style}" for kind, style in _STYLES.items()]
    return "\n".join(lines) + "\n"


def map_svg(of: SystemMap, title: str) -> str:
    return svg(layout(of.nodes, of.edges, EnumFlow.RIGHT), title, of.note)


_STYLES: Final = {
    "effect": "fill:#fdeee2,stroke:#c9793a",
    "compute": "fill:#e6f4f1,stroke:#2f8f80",
    "reducer": "fill:#e8f0fd,stroke:#4f7fc9",
    "orchestrator": "fill:#f1eafb,stroke:#8060b8",
    "topic": "fill:#fbf6da,stroke:#a58a1c",
    "outside": "fill:#fff,stroke:#9aa5b4,stroke-dasharray:4 3",
}
_ENTITIES: Final = str.maketrans({"#": "#35;", ";": "#59;", "<": "#lt;", ">": "#gt;", '"': "#quot;", "|": "#124;"})


def _escaped(text: str) -> str:
    return " ".join(text.split()).translate(_ENTITIES)


# --- edges ------------------------------------------------------------------------------------------------------------


Loaded = Sequence[tuple[ReadResult, ModelContractBase]]


def _links(loaded: Loaded, of: Traffic) -> Iterator[MapEdge]:
    numbers = {reading.path: n for n, (reading, _) in enumerate(loaded)}
    hearing: dict[str, list[int]] = {}
    for one in of.consumed:
        hearing.setdefault(one.topic, []).append(numbers[one.contract])
    for one in of.published:
        for target in hearing.get(one.topic, ()):
            yield MapEdge(numbers[one.contract], target, short(one.topic), one.topic)
    for miss in open_ends(of).missed:
        label = f"{short(miss.published[0].topic)} / {short(miss.consumed[0].topic)}"
        for publisher in miss.published:
            for consumer in miss.consumed:
                yield MapEdge(numbers[publisher.contract], numbers[consumer.contract], label, "", "missed")
    named: dict[str, list[int]] = {}
    for n, (_, contract) in enumerate(loaded):
        for name in {contract.name, contract.node_name or contract.name}:
            named.setdefault(name, []).append(n)
    for n, (_, contract) in enumerate(loaded):
        for dependency in contract.dependencies:
            for target in _one_of(named, (dependency.node_name, dependency.target, dependency.name), n):
                yield MapEdge(n, target, "", "", "weak")
        for step in contract.workflow.steps if contract.workflow is not None else ():
            for target in _one_of(named, (step.node,), n):
                yield MapEdge(n, target, step.step_id, "")
        if isinstance(contract, ModelContractReducer):
            for intent in contract.intents:
                if intent.type == EnumIntentType.ACTION_SEND:
                    for target in _one_of(named, (intent.target,), n):
                        yield MapEdge(n, target, intent.name, "")


def _one_of(named: dict[str, list[int]], names: Iterable[str | None], own: int) -> list[int]:
    """The node of the first of these names that is one; of several nodes of that name, the first."""
    for name in names:
        found = [n for n in named.get(name or "", ()) if n != own]
        if found:
            return found[:1]
    return []


def short(topic: str) -> str:
    """The event with its realm and version, without its producer. That is what differs between topics of one system."""
    taken = topic_parts(topic)
    words = [word for word in taken.stem.split(".") if word not in _KIND_WORDS]
    event = f"{words[-1] if words else taken.stem}{f'.v{taken.version}' if taken.version else ''}"
    return f"{taken.realm}...{event}" if taken.realm else event


# --- three sizes ------------------------------------------------------------------------------------------------------


def _whole(loaded: Loaded, links: list[MapEdge], of: Traffic) -> SystemMap:
    nodes = [_box(n, reading, contract) for n, (reading, contract) in enumerate(loaded)]
    more, edges = _drawn(links)
    nodes += more
    if len(loaded) <= _ALONE:
        numbers = {reading.path: n for n, (reading, _) in enumerate(loaded)}
        missed = {one.topic for miss in open_ends(of).missed for one in (*miss.published, *miss.consumed)}
        consumed = {one.topic for one in of.consumed} | missed
        published = {one.topic for one in of.published} | missed
        for one in of.published:
            if one.topic not in consumed:
                nodes.append(_open_end(one))
                edges.append(GraphEdge(str(numbers[one.contract]), f"end {one.topic}"))
        for one in of.consumed:
            if one.topic not in published:
                nodes.append(_open_end(one))
                edges.append(GraphEdge(f"end {one.topic}", str(numbers[one.contract])))
    unique = {node.id: node for node in nodes}
    return SystemMap(tuple(unique.values()), tuple(edges), "")


def _open_end(one: TopicUse) -> GraphNode:
    return GraphNode(
        f"end {one.topic}", one.topic, "topic outside", detail="elsewhere" if one.external else "no node here"
    )


def _talking(loaded: Loaded, links: list[MapEdge], talking: set[int]) -> SystemMap:
    nodes = [_box(n, reading, contract) for n, (reading, contract) in enumerate(loaded) if n in talking]
    silent = Counter(contract.kind.value for n, (_, contract) in enumerate(loaded) if n not in talking)
    more, edges = _drawn(links)
    nodes += more
    for kind, count in sorted(silent.items()):
        noun = f"{kind} node" if count == 1 else f"{kind} nodes"
        nodes.append(GraphNode(f"silent {kind}", f"{count} {noun}", f"{kind} outside", detail="not connected"))
    note = f"{sum(silent.values())} of {len(loaded)} nodes are connected to no other; they are only counted."
    return SystemMap(tuple(nodes), tuple(edges), note)


def _box(n: int, reading: ReadResult, contract: ModelContractBase) -> GraphNode:
    return GraphNode(str(n), contract.name, contract.kind.value, detail=contract.kind.value, note=reading.path)


def _drawn(links: list[MapEdge]) -> tuple[list[GraphNode], list[GraphEdge]]:
    """Edges, with a box for each topic that has many ends."""
    pairs = Counter(link.topic for link in links if link.topic)
    nodes: dict[str, GraphNode] = {}
    edges: dict[GraphEdge, None] = {}
    for link in links:
        if pairs[link.topic] > _DIRECT:
            name = f"topic {link.topic}"
            nodes[name] = GraphNode(name, link.label, "topic", note=link.topic)
            edges[GraphEdge(str(link.source), name)] = None
            edges[GraphEdge(name, str(link.target))] = None
        else:
            edges[GraphEdge(str(link.source), str(link.target), link.label, link.kind)] = None
    return list(nodes.values()), list(edges)


def _folded(loaded: Loaded, links: list[MapEdge], root: Path) -> SystemMap:
    groups = _groups(loaded, root)
    members: dict[str, list[ModelContractBase]] = {}
    for n, (_, contract) in enumerate(loaded):
        members.setdefault(groups[n], []).append(contract)
    nodes = []
    for group, contracts in members.items():
        kinds = Counter(contract.kind.value for contract in contracts)
        note = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        count = "1 node" if len(contracts) == 1 else f"{len(contracts)} nodes"
        kind = next(iter(kinds)) if len(kinds) == 1 else ""
        nodes.append(GraphNode(group, group, kind, detail=count, note=note))
    topics: dict[tuple[str, str, str], set[str]] = {}
    for link in links:
        ends = (groups[link.source], groups[link.target], link.kind)
        if ends[0] != ends[1]:
            topics.setdefault(ends, set()).add(link.label)
    edges = [
        GraphEdge(source, target, next(iter(labels)) if len(labels) == 1 else f"{len(labels)} topics", kind)
        for (source, target, kind), labels in topics.items()
    ]
    note = f"{len(loaded)} nodes in {len(nodes)} groups; topics within a group are not drawn."
    return SystemMap(tuple(nodes), tuple(edges), note)


def _groups(loaded: Loaded, root: Path) -> list[str]:
    """A group for each node. Of all ways to group them, the one with the most groups that is still readable."""
    folders = [Path(reading.path).parent.relative_to(root).parts for reading, _ in loaded]
    deepest = max(map(len, folders), default=0)
    parted = [["/".join(folder[:depth]) or "." for folder in folders] for depth in range(deepest + 1)]
    # names come last: of two ways with as many groups, a reader knows the folders
    parted.append([_family(contract.name) for _, contract in loaded])
    readable = [one for one in parted if len(set(one)) <= READABLE]
    return max(readable, key=lambda one: len(set(one)))


def _family(name: str) -> str:
    """The first word of a name that is not ``node``: ``pattern`` of ``node_pattern_storage_effect``."""
    words = [word for word in name.lower().replace("-", "_").split("_") if word not in ("node", "")]
    return words[0] if words else name
