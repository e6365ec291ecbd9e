"""``GET /api/system``, ``/api/nodes``: what the workflows of a store are connected with, who runs them, and what of it is well.

The map is made of four sources, each read on its own. The app says its workflows, targets and topics. The store says how many
instances there are, and which workers have a lease. The directory says which nodes have registered. A lock says whether an
engine runs.

A health is said only where something was heard: of an engine or a worker by its lock or lease, of a node by its heartbeats, of the
store by its answer. Of a target or a topic nothing is heard here, so it is ``unknown``. That is told, and never drawn as well.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from fastapi import APIRouter
from pydantic import Field, JsonValue

from ..contracts.draw.drawing import EnumFlow, GraphEdge, GraphNode
from ..contracts.draw.layout import layout
from ..kernel.errors import OnexError
from ..kernel.membership import Membership
from ..processes.app_facts import AppFacts
from ..settings import read_settings
from ..views.node_rows import node_json
from ..views.stored_value import iso
from ..wiring import open_reader
from ..wiring.self_registration import HEARTBEAT_S, REGISTRATION
from .answers import Answered
from .policy import GuardedRoute
from .served_store import Served, ServedStore
from .workflow_answers import DrawingAnswer, drawing_answer

routes = APIRouter(route_class=GuardedRoute, tags=["overview"])

NODES: Final = 500
DRAWN: Final = 40
"""So many nodes of the directory are drawn; the others are in ``/api/nodes``."""
FEW: Final = 24
"""With more lines from workers to workflows than this, only those of the first worker are drawn."""
SILENT_S: Final = 3 * HEARTBEAT_S
GONE: Final = "deregistered"

Health = Literal["well", "silent", "unknown"]


class NodeAnswer(Answered):
    """One node of the directory. ``about`` is what it told of itself."""

    node_id: str
    status: str
    changed_at: str
    about: dict[str, JsonValue]


class NodesAnswer(Answered):
    """The nodes that are registered in the store ``directory``; null where there is none."""

    directory: str | None
    nodes: list[NodeAnswer]


class LinkAnswer(Answered):
    """Something of the system map leads to something: ``kind`` is what travels there."""

    source: str
    target: str
    kind: str = Field(description="effect, compute, message, topic_in or topic_out; else the kind of the intent")


class PartAnswer(Answered):
    """A box of the system map. ``id`` is the one of its drawing."""

    id: str
    kind: Literal["store", "engine", "worker", "node", "workflow", "target", "topic"]
    name: str
    health: Health = Field(
        description="well: it was heard of; silent: it should have been; unknown: nothing here hears it"
    )
    about: str = Field(description="one sentence: why its health is what it is")
    instances: int | None = Field(default=None, description="of a workflow: how many the store has, some moments ago")


class SystemAnswer(Answered):
    """The system map: workflows, the targets they call, the topics they read and write, and what runs them."""

    workflows: list[str]
    targets: list[str]
    topics: list[str]
    links: list[LinkAnswer]
    parts: list[PartAnswer]
    drawing: DrawingAnswer


@routes.get("/api/nodes")
async def nodes(served: Served) -> NodesAnswer:
    """List the nodes of the directory that ONEX_REGISTRY names, else of this store."""
    settings = read_settings()
    async with AsyncExitStack() as held:
        reader = served.reader
        if settings.registry and settings.registry != served.url:
            reader = await open_reader(settings.registry)
            held.push_async_callback(reader.close)
        rows = await reader.instances(REGISTRATION, None, None, NODES)
    found = [
        NodeAnswer(node_id=one.key.instance_id, status=one.status, changed_at=iso(one.last_us), about=node_json(one))
        for one in rows
    ]
    return NodesAnswer(
        directory=served.shown if rows and not settings.registry else settings.registry or None, nodes=found
    )


@routes.get("/api/system")
async def system(served: Served) -> SystemAnswer:
    """The system map: which workflow calls, sends, reads and publishes what, who runs it, and what is known to be well."""
    links = _links(served.facts)
    counted = (await served.figures.counted()).by_status
    instances: Counter[str] = Counter()
    for (name, _), n in counted.items():
        instances[name] += n
    found = await _running(served)
    try:
        directory = (await nodes(served)).nodes
    except OnexError:  # the directory is another store, and the map is drawn without it
        directory = []
    there = [one for one in directory if one.status != GONE][:DRAWN]
    known = [] if served.facts is None else list(served.facts.workflows)
    names = [*known, *(name for name in sorted(instances) if name not in known and name != REGISTRATION)]
    called = {link.target for link in links if link.kind not in ("message", "topic_in", "topic_out")}
    topics = {
        link.source if link.kind == "topic_in" else link.target for link in links if link.kind.startswith("topic")
    }
    parts = [
        PartAnswer(
            id="store", kind="store", name=_last_part(served.shown), health="well", about="it answered just now"
        ),
        *found,
        *(_node(one) for one in there),
        *(_workflow(name, instances[name], known=name in known) for name in names),
        *(_outside("target", name) for name in sorted(called)),
        *(_outside("topic", name) for name in sorted(topics)),
    ]
    return SystemAnswer(
        workflows=known, targets=sorted(called), topics=sorted(topics), links=links, parts=parts,
        drawing=_drawing(parts, links, there),
    )  # fmt: skip


def _links(facts: AppFacts | None) -> list[LinkAnswer]:
    links: dict[tuple[str, str, str], None] = {}
    for one in () if facts is None else facts.workflows.values():
        for intent in one.intents:
            if intent.sends_to:
                links[one.name, intent.sends_to, "message"] = None
            elif intent.target:
                links[one.name, intent.target, intent.kind] = None
        links |= {(topic, one.name, "topic_in"): None for topic in one.consumed}
        links |= {(one.name, topic, "topic_out"): None for topic in one.published}
    return [LinkAnswer(source=source, target=target, kind=kind) for source, target, kind in links]


# --- parts ------------------------------------------------------------------------------------------------------------


async def _running(served: ServedStore) -> list[PartAnswer]:
    """The engine, or the workers that share the store. Where nobody runs, the place of the engine is shown as empty."""
    seen = await served.figures.workers()
    if seen is not None and seen.workers:
        return _workers(seen)
    if await served.figures.engine_is_there():
        return [_engine("well", "it holds the lock of the store")]
    return [_engine("silent", "no engine runs on the store: onex run APP starts one; what is sent waits for it")]


def _engine(health: Health, about: str) -> PartAnswer:
    return PartAnswer(id="engine", kind="engine", name="engine", health=health, about=about)


def _workers(seen: Membership) -> list[PartAnswer]:
    shards = Counter(owner.worker for owner in seen.owners)
    return [
        PartAnswer(
            id=f"worker {one.worker.id}", kind="worker", name=one.worker.about or one.worker.id[:8], health="well",
            about=f"its lease of {one.worker.lease_s:g} s runs, heard {one.heard_s:.1f} s ago; "
            f"{shards[one.worker.id]} of {len(seen.owners)} shards",
        )
        for one in seen.workers
    ]  # fmt: skip


def _node(one: NodeAnswer) -> PartAnswer:
    name, heard = one.about.get("node_name"), one.about.get("heard_at")
    shown, about = f"{name}" if name else one.node_id, f"{one.status}; never heard of"
    health: Health = "silent"
    if isinstance(heard, str) and heard:
        since = datetime.now(UTC) - datetime.fromisoformat(heard)
        health = "well" if since <= timedelta(seconds=SILENT_S) else "silent"
        about = f"{one.status}; last heartbeat {heard}"
    return PartAnswer(id=f"node {one.node_id}", kind="node", name=shown, health=health, about=about)


def _workflow(name: str, instances: int, *, known: bool) -> PartAnswer:
    about = "its code is in the app here" if known else "the store has instances of it; no app here has its code"
    return PartAnswer(
        id=f"workflow {name}", kind="workflow", name=name, health="unknown", about=about, instances=instances
    )


def _last_part(url: str) -> str:
    """A file's or a database's own name: the page's frame shows the whole URL."""
    return url.rstrip("/").rpartition("/")[2] or url


def _outside(kind: Literal["target", "topic"], name: str) -> PartAnswer:
    about = (
        "called by effects; nothing here measures it" if kind == "target" else "of the bus; nothing here measures it"
    )
    return PartAnswer(id=f"{kind} {name}", kind=kind, name=name, health="unknown", about=about)


# --- the drawing ------------------------------------------------------------------------------------------------------


def _drawing(parts: list[PartAnswer], links: list[LinkAnswer], directory: list[NodeAnswer]) -> DrawingAnswer:
    """Left to right: the store, who runs on it, workflows, and what they reach."""
    ids = {part.id for part in parts}
    boxes = [GraphNode(part.id, part.name, part.kind, detail=part.kind, note=part.about) for part in parts]
    runs = [part.id for part in parts if part.kind in ("engine", "worker")]
    edges = [GraphEdge("store", one, "", "runs") for one in runs]
    works = [part.id for part in parts if part.kind == "workflow"]
    few = runs if len(runs) * len(works) <= FEW else runs[:1]  # each worker runs every workflow: one of them says it
    edges += [GraphEdge(one, work, "", "runs") for one in few for work in works]
    for node in directory:
        served = node.about.get("capabilities")
        for name in served if isinstance(served, list) else ():
            if f"workflow {name}" in ids:
                edges.append(GraphEdge(f"node {node.node_id}", f"workflow {name}", "", "runs"))
    for link in links:
        source, target = _ends(link)
        if {source, target} <= ids:
            edges.append(GraphEdge(source, target, link.kind.replace("_", " "), link.kind))
    return drawing_answer(layout(boxes, edges, EnumFlow.RIGHT))


def _ends(link: LinkAnswer) -> tuple[str, str]:
    if link.kind == "topic_in":
        return f"topic {link.source}", f"workflow {link.target}"
    to = {"message": "workflow", "topic_out": "topic"}.get(link.kind, "target")
    return f"workflow {link.source}", f"{to} {link.target}"
