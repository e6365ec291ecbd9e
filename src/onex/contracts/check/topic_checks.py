"""Checks of ``event_bus:``: each consumed topic has a trigger that is there, and no message becomes two actions of one workflow.

They read the typed contract. What the classes of payloads have, and what other workflows of the app publish, is checked in
``app.topic_checks``.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...kernel.finding import EnumSeverity, Finding
from ..event_rows import BUS, CONSUMED, PUBLISHED
from ..guard.problem import suggest
from ..model.contract import ModelContractWorkflow
from ..text.yaml_tree import Loc, YamlMap, place_of


def check_topics(contract: ModelContractWorkflow, tree: YamlMap, path: str) -> Iterator[Finding]:
    """In no particular order."""
    if contract.event_bus is None:
        return
    payloads = contract.payloads

    def finding(code: str, loc: Loc, message: str, fix: str) -> Finding:
        return Finding(code, EnumSeverity.ERROR, *place_of(tree, (BUS, *loc)).spot(path), message, fix)

    seen: dict[tuple[str, str | None], int] = {}
    for n, row in enumerate(contract.event_bus.subscribe_topics):
        at: Loc = (CONSUMED, n)
        if row.trigger not in payloads:
            fix = suggest(row.trigger, list(payloads)) or f"use one of {', '.join(payloads)}, or add a transition"
            message = f"a message on {row.topic} is to become {row.trigger!r}, which no transition has"
            yield finding("unknown_trigger", (*at, "trigger"), message, fix)
        elif row.payload is not None and row.payload != payloads[row.trigger]:
            message = (
                f"a message on {row.topic} is a {row.payload}, and {row.trigger!r} carries {payloads[row.trigger]}"
            )
            yield finding("topic_payload", (*at, "payload"), message, "name another trigger, or the same class in both")
        twin = next((seen[other] for other in seen if _meet(other, (row.topic, row.event_type))), None)
        if twin is not None:
            line = place_of(tree, (BUS, CONSUMED, twin)).line
            what = "this event" if row.event_type else "some of these events"
            message = f"the row on line {line} takes {what} of {row.topic}, too"
            yield finding("topic_twice", (*at, "topic"), message, "keep one, or give each an event_type of its own")
        seen[row.topic, row.event_type] = n
    published: dict[tuple[str, str], int] = {}
    for n, sent in enumerate(contract.event_bus.publish_topics):
        before = published.setdefault((sent.topic, sent.event_type), n)
        if before != n:
            line = place_of(tree, (BUS, PUBLISHED, before)).line
            message = f"the row on line {line} publishes {sent.event_type!r} on {sent.topic}, too"
            yield finding("topic_twice", (PUBLISHED, n, "topic"), message, "keep one of them")


def _meet(one: tuple[str, str | None], other: tuple[str, str | None]) -> bool:
    """Whether one message may be of both."""
    return one[0] == other[0] and (one[1] == other[1] or None in (one[1], other[1]))
