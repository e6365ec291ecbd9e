"""The peers that are compared, and the ways each of them is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

OURS = "onex"


class PeerProgram(NamedTuple):
    """One row of the table. ``environment`` names its packages, ``module`` its program, and ``mode`` a way to use the peer."""

    name: str
    environment: str
    module: str
    mode: str = ""


LOCKS: Mapping[str, str] = {
    "onex": "requirements/runtime.txt",
    **{name: f"bench/peers/requirements/{name}.txt" for name in ("floor", "dbos", "langgraph", "eventsourcing")},
}
"""environment -> the file with its pinned versions, from the root of the clone."""

PROGRAMS = (
    PeerProgram(OURS, "onex", "bench.peers.programs.onex_peer"),
    PeerProgram("floor", "floor", "bench.peers.programs.floor"),
    PeerProgram("eventsourcing-100", "eventsourcing", "bench.peers.programs.eventsourcing_peer", "100"),
    PeerProgram("eventsourcing-each", "eventsourcing", "bench.peers.programs.eventsourcing_peer", "each"),
    PeerProgram("langgraph-exit", "langgraph", "bench.peers.programs.langgraph_peer", "exit"),
    PeerProgram("langgraph-sync", "langgraph", "bench.peers.programs.langgraph_peer", "sync"),
    PeerProgram("dbos-async", "dbos", "bench.peers.programs.dbos_peer", "async"),
    PeerProgram("dbos-queue", "dbos", "bench.peers.programs.dbos_peer", "queue"),
)
