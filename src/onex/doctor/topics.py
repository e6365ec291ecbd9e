"""Topics: who publishes and who consumes each, topics that lack one end, and pairs of topics that were meant to be one.

Theory of operation. A topic matters by its exact letters. Where the two ends differ by a version, a realm or a letter, no message
passes and nothing fails. So the ends are compared over all contracts:

1. ``traffic`` collects what each contract publishes and consumes, with the first place of each topic. A dead letter topic and a
   topic that the contract says is served elsewhere are ``external``: they need no other end here.
2. ``open_ends`` finds topics with one end. For each it looks for a counterpart with ``difference``, which ranks how two topics may
   have been meant to be one: 0 another version, 1 another realm or a prefix ``onex.``, 2 another spelling, 3 another kind
   (``evt`` for ``event``), 4 a typing error of at most two letters, 5 another producer, 6 one part more.
3. A counterpart that lacks an end itself is preferred. One that has both ends is taken only for rank 0 and 1: that a topic in
   use is similar to another by two letters says little.
4. A pair is reported once, at the consumer if it is the consumer that lacks its end, and neither of its topics is reported alone.

What may go wrong: a similar pair that is right as it is. The parts that differ must have five letters or more, a difference in
digits only is a series and no error, and everything here is a warning. That code names a topic is no proof of an end, since it
may be a constant that nobody uses; it is shown as a hint. An event without a topic routes nothing, so it is an info only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from ..contracts.foreign.read_result import ReadResult
from ..contracts.model.bus import ModelTopic
from ..contracts.model.contract import ModelContractBase
from ..kernel.finding import EnumSeverity
from .doctor_finding import DoctorFinding, EnumArea, FilePosition, doctor_finding, located

_REALM: Final = re.compile(
    r"(?:\{[^{}]*\}|\$\{[^{}]*\}|<[^<>]*>|dev|develop|development|test|testing|stage|staging|prod|production|local|qa|uat"
    r"|ci|sandbox)\.(?=.+\.)"
)
_VERSION: Final = re.compile(r"[._-]v([0-9]+)(?=$|\.)")
_KINDS: Final = frozenset({"evt", "cmd", "intent", "snapshot", "met", "event", "command", "query", "reply"})
_NEAR: Final = 2


class TopicUse(NamedTuple):
    """A topic as one contract names it. ``external``: its other end is not in this repository. ``is_event``: it names no topic."""

    topic: str
    node: str
    contract: str
    place: FilePosition
    external: bool
    is_event: bool
    event_type: str


class Traffic(NamedTuple):
    """All uses. On each side a contract has at most one use of each topic, at its first place."""

    published: tuple[TopicUse, ...]
    consumed: tuple[TopicUse, ...]


class TopicParts(NamedTuple):
    """The parts of a topic. ``realm`` and ``version`` may be ''."""

    realm: str
    stem: str
    version: str

    @property
    def folded(self) -> str:
        return self.stem.lower().replace("_", "-")


def traffic(readings: Iterable[ReadResult]) -> Traffic:
    published: list[TopicUse] = []
    consumed: list[TopicUse] = []
    for reading in readings:
        if reading.contract is not None:
            published += _once(_published(reading, reading.contract))
            consumed += _once(_consumed(reading, reading.contract))
    return Traffic(tuple(published), tuple(consumed))


def _published(reading: ReadResult, contract: ModelContractBase) -> Iterator[TopicUse]:
    if contract.event_bus is not None:
        yield from _uses(reading, contract.event_bus.publish_topics, "event_bus", "publish_topics")
        if contract.event_bus.dlq_topic:
            place = located(reading, "event_bus", "dlq_topic")
            yield _one(reading, contract.event_bus.dlq_topic, place, external=True)
    yield from _uses(reading, contract.published_events, "published_events")
    if contract.terminal_event:
        # its consumer is whoever waits for the end of the work
        yield _one(reading, contract.terminal_event, located(reading, "terminal_event"), external=True)


def _consumed(reading: ReadResult, contract: ModelContractBase) -> Iterator[TopicUse]:
    if contract.event_bus is not None:
        yield from _uses(reading, contract.event_bus.subscribe_topics, "event_bus", "subscribe_topics")
    yield from _uses(reading, contract.consumed_events, "consumed_events")
    routing = contract.handler_routing
    for n, handler in enumerate(routing.handlers if routing is not None else ()):
        if handler.topic:
            yield _one(reading, handler.topic, located(reading, "handler_routing", "handlers", n, "topic"))


def _uses(reading: ReadResult, topics: Sequence[ModelTopic], *loc: str) -> Iterator[TopicUse]:
    for n, one in enumerate(topics):
        place = located(reading, *loc, n, "topic")
        yield _one(
            reading,
            one.topic,
            place,
            external=bool(one.external),
            is_event=bool(one.by_event_type),
            event_type=one.event_type or "",
        )


def _one(
    reading: ReadResult,
    topic: str,
    place: FilePosition,
    *,
    external: bool = False,
    is_event: bool = False,
    event_type: str = "",
) -> TopicUse:
    name = reading.contract.name if reading.contract is not None else ""
    external = external or topic.endswith((".dlq", "-dlq", "_dlq")) or ".dlq." in topic
    return TopicUse(topic, name, reading.path, place, external, is_event, event_type)


def _once(uses: Iterator[TopicUse]) -> Iterator[TopicUse]:
    """The first use of each topic. A later one may still say that it is external, or give the event type."""
    first: dict[str, TopicUse] = {}
    for one in uses:
        before = first.setdefault(one.topic, one)
        if one.external and not before.external:
            first[one.topic] = before._replace(external=True)
        if one.event_type and not before.event_type:
            first[one.topic] = first[one.topic]._replace(event_type=one.event_type)
    yield from first.values()


# --- what is wrong ----------------------------------------------------------------------------------------------------


class TopicMismatch(NamedTuple):
    """Two topics that were meant to be one. ``consumed_lacks``: the consumer is the one that lacks its other end."""

    published: tuple[TopicUse, ...]
    consumed: tuple[TopicUse, ...]
    reason: str
    consumed_lacks: bool


class OpenEnds(NamedTuple):
    """Topics that lack an end, each with all its uses. ``unsaid``: nobody publishes it. ``unheard``: nobody consumes it."""

    missed: tuple[TopicMismatch, ...]
    unsaid: tuple[tuple[TopicUse, ...], ...]
    unheard: tuple[tuple[TopicUse, ...], ...]


def open_ends(of: Traffic) -> OpenEnds:
    """In the order of the contracts; a topic is in a pair or alone, never both."""
    published_names = {one.topic for one in of.published} | {one.event_type for one in of.published}
    consumed_names = {one.topic for one in of.consumed} | {one.event_type for one in of.consumed}
    unheard = _grouped(one for one in of.published if not _answered(one, consumed_names))
    unsaid = _grouped(one for one in of.consumed if not _answered(one, published_names))
    published, consumed = _grouped(of.published), _grouped(of.consumed)
    missed: list[TopicMismatch] = []
    paired: set[str] = set()
    for topic, users in unsaid.items():
        found = None if users[0].is_event else _counterpart(topic, unheard, published)
        if found is not None:
            other, reason = found
            paired |= {topic, other}
            missed.append(TopicMismatch(published[other], users, reason, consumed_lacks=True))
    for topic, users in unheard.items():
        found = None if topic in paired or users[0].is_event else _counterpart(topic, {}, consumed)
        if found is not None:
            other, reason = found
            paired.add(topic)
            missed.append(TopicMismatch(users, consumed[other], reason, consumed_lacks=False))
    alone = [tuple(users for topic, users in side.items() if topic not in paired) for side in (unsaid, unheard)]
    return OpenEnds(tuple(missed), *alone)


def topic_findings(ends: OpenEnds, mention: Callable[[str], str]) -> Iterator[DoctorFinding]:
    """Mismatched pairs first, then topics with one end. ``mention`` says where code names a topic, '' for nowhere."""
    for miss in ends.missed:
        yield _mismatch(miss)
    for users in ends.unsaid:
        yield _one_sided(users, mention(users[0].topic), is_consumed=True)
    for users in ends.unheard:
        yield _one_sided(users, mention(users[0].topic), is_consumed=False)


def _answered(one: TopicUse, others: set[str]) -> bool:
    return one.external or one.topic in others or (one.event_type != "" and one.event_type in others)


def _grouped(uses: Iterable[TopicUse]) -> dict[str, tuple[TopicUse, ...]]:
    groups: dict[str, list[TopicUse]] = {}
    for one in uses:
        groups.setdefault(one.topic, []).append(one)
    return {topic: tuple(users) for topic, users in groups.items()}


def _mismatch(miss: TopicMismatch) -> DoctorFinding:
    does, opposite = ("consumes", "publishes") if miss.consumed_lacks else ("publishes", "consumes")
    users, others = (miss.consumed, miss.published) if miss.consumed_lacks else (miss.published, miss.consumed)
    one, other = users[0], others[0]
    message = (
        f"{_who(users, does)} {one.topic!r}, which no contract here {opposite}; "
        f"{_who(others, opposite)} {other.topic!r} ({other.place}): {miss.reason}"
    )
    fix = "write the same topic on both sides; until then not one message passes between them"
    return doctor_finding(EnumArea.TOPICS, "topic_mismatch", one.place, message, fix, _files((*users, *others)))


def _one_sided(users: tuple[TopicUse, ...], code: str, *, is_consumed: bool) -> DoctorFinding:
    one = users[0]
    thing = "event" if one.is_event else "topic"
    more = f" (also {', '.join(str(user.place) for user in users[1:4])})" if len(users) > 1 else ""
    more += f"; code names it at {code}" if code else ""
    if is_consumed:
        side, message = "unsaid", f"{_who(users, 'consumes')} {one.topic!r}, which no contract here publishes{more}"
        fix = "publish it, or say who does: external_publisher in subscribe_topic_metadata"
    else:
        side, message = "unheard", f"{_who(users, 'publishes')} {one.topic!r}, which no contract here consumes{more}"
        fix = "consume it, stop publishing it, or say who listens: external_consumer in publish_topic_metadata"
    # an event without a topic routes nothing
    severity = EnumSeverity.INFO if one.is_event else EnumSeverity.WARNING
    return doctor_finding(EnumArea.TOPICS, f"{thing}_{side}", one.place, message, fix, _files(users), severity)


_PLURAL: Final = {"consumes": "consume", "publishes": "publish"}


def _who(users: tuple[TopicUse, ...], does: str) -> str:
    names = list(dict.fromkeys(one.node for one in users))
    return f"{names[0]} {does}" if len(names) == 1 else f"{names[0]} and {len(names) - 1} more {_PLURAL[does]}"


def _files(users: tuple[TopicUse, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.contract for one in users))


# --- which topic may have been meant ----------------------------------------------------------------------------------


def topic_parts(topic: str) -> TopicParts:
    """``dev.shop.paid.v2`` is realm ``dev``, stem ``shop.paid``, version ``2``."""
    realm = _REALM.match(topic)
    rest = topic[realm.end() :] if realm else topic
    version = (None, *_VERSION.finditer(rest))[-1]
    stem = rest if version is None else rest[: version.start()] + rest[version.end() :]
    return TopicParts(realm.group()[:-1] if realm else "", stem, version.group(1) if version else "")


def difference(one: str, other: str) -> tuple[int, str] | None:
    """Rank and words of how two topics differ. The smaller the rank, the more likely they were meant to be one. None: not alike."""
    left, right = topic_parts(one), topic_parts(other)
    if left.stem == right.stem:
        if left.realm == right.realm:
            return 0, f"version {right.version or 'none'} there, {left.version or 'none'} here"
        return 1, f"realm {right.realm or 'none'} there, {left.realm or 'none'} here"
    if left.version != right.version:
        return None
    if left.folded == right.folded:
        return 2, "spelt otherwise"
    here, there = left.folded.split("."), right.folded.split(".")
    if len(here) == len(there):
        unlike = [(a, b) for a, b in zip(here, there, strict=True) if a != b]
        if len(unlike) == 1:
            return _unlike_part(*unlike[0], last=here[-1] == there[-1])
    shorter, longer = sorted((here, there), key=len)
    if longer == ["onex", *shorter]:
        return 1, "one of them begins with onex, the other does not"
    if (
        set(shorter) & _KINDS
        and len(longer) - len(shorter) == 1
        and len(shorter) > 1
        and _without_one(longer) & {tuple(shorter)}
    ):
        return 6, "one of them has a part more"
    return None


def _unlike_part(here: str, there: str, *, last: bool) -> tuple[int, str] | None:
    if {here, there} <= _KINDS:
        return 3, f"{there} there, {here} here"
    # parts that differ by a number are two of a series
    is_series = re.sub("[0-9]", "", here) == re.sub("[0-9]", "", there)
    if not is_series and min(len(here), len(there)) >= 5 and _distance(here, there) <= _NEAR:
        return 4, "nearly the same, perhaps a typing error"
    return (5, f"the producer is {there} there, {here} here") if last else None


def _without_one(names: list[str]) -> set[tuple[str, ...]]:
    return {(*names[:n], *names[n + 1 :]) for n in range(len(names))}


def _counterpart(topic: str, first: Iterable[str], all_others: Iterable[str]) -> tuple[str, str] | None:
    """The most likely of the others; those that lack an end themselves come before those that do not."""
    best: tuple[int, int, str, str] | None = None
    lonely = set(first)
    for other in all_others:
        found = difference(topic, other)
        if found is None:
            continue
        rank, reason = found
        if rank > 1 and other not in lonely:
            continue  # it has both ends: only another version or realm is reported
        candidate = (rank, 0 if other in lonely else 1, other, reason)
        best = candidate if best is None or candidate < best else best
    return None if best is None else (best[2], best[3])


def _distance(one: str, other: str) -> int:
    """How many letters to insert, delete, change or swap (optimal string alignment), at most ``_NEAR`` + 1."""
    if abs(len(one) - len(other)) > _NEAR:
        return _NEAR + 1
    before: list[int] = []
    above = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]
