"""Forward walk: one instance continued under two codes with the same events, and what comes out otherwise.

A *node* is where the instance stands under both codes after some events: two states, and on each side what is under way. The
walk goes breadth first, so what takes few events is found first, and in this order for each level of nodes:

1. Which events may come next? Each outcome of each intent under way, the earliest timer, and what clients may send: the actions
   that were recorded in this status (``Known``), and of the others the plainest. An intent that only one side has under way is
   answered on that side alone: the other one stays. So an effect that is only moved by a step is not taken for a lost one.
2. Both codes take each event. Where the old code accepts it and the new one does not, that is the finding, and the walk ends
   there: what would come behind follows from it.
3. Of each node: does anything move it any more under the new code? (``Movers``; only where something moves the old one.)
4. At the end of a path the intents of both are compared, each counted over the whole path. What only the new code emitted is
   *again* where the log, or the path before, has an intent that says the same; else *added*, or *changed* where the old code
   emitted one of that name with another payload. What only the old code emitted is *lost*. Setting a timer again replaces it
   and calls nobody, so timers are not compared.

What may go wrong: there are more paths than ``steps``. Those not begun are left out, and ``cut`` says so. A node that was met
before, with the same states, things under way and differences, is not walked twice; where the path leads back to a node of its
own, it ends. Where the new code still has something of
its own under way at the end of a path, nothing is called lost: it may come behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol
from uuid import NAMESPACE_OID, UUID, uuid5

import orjson

from ..engine.encode import ordinals, read_intents
from ..kernel.action import OutcomeOf, WorkflowKey
from ..kernel.intent import EnumIntentType, intent_id, outcome_id
from ..ports import EnumOutboxState, LogEntry, OutboxRow, Stored
from ..replay.stranded_rows import held_trigger
from .forward_known import Known
from .forward_node import Node, OpenId, Stands, UnderWay, taken
from .forward_result import Difference, EnumForward
from .forward_side import Began, Emission, EnumEvent, Event, StepAsked, Stepped

STEPS: Final = 400
DEPTH: Final = 4
SECOND_US: Final = 1_000_000
TIMER: Final = EnumIntentType.TIMER


class Side(Protocol):
    """One code; see ``ForwardSide``. Here it may be another process."""

    def schemas(self) -> Mapping[str, int]: ...

    def begin(self, key: WorkflowKey, schema: int, data: bytes) -> Began: ...

    def read(self, workflow_type: str, steps: Sequence[tuple[int, bytes]]) -> list[tuple[Emission, ...]]: ...

    def step(self, asked: Sequence[StepAsked]) -> list[Stepped]: ...


class WalkResult(NamedTuple):
    """``unreadable``: the old code cannot continue it, and why. ``cut``: it has more continuations than were tried."""

    found: tuple[Difference, ...] = ()
    steps: int = 0
    cut: bool = False
    unreadable: str = ""


class ForwardWalk:
    """Two codes, and what is known of answers and actions."""

    def __init__(self, old: Side, new: Side, known: Known) -> None:
        self._old, self._new, self._known = old, new, known
        self._schemas = (old.schemas(), new.schemas())

    def instance(
        self,
        stored: Stored,
        rows: Sequence[LogEntry],
        outbox: Sequence[OutboxRow],
        now_us: int,
        *,
        depth: int = DEPTH,
        steps: int = STEPS,
    ) -> WalkResult:
        """``rows`` are its log, as far as it is compared with; ``outbox`` its rows that are not dead."""
        own = stored.key.workflow_type
        schemas = (self._schemas[0].get(own, 0), self._schemas[1].get(own, 0))
        one = _Instance(self._old, self._new, schemas, self._known, stored)
        return one.walk(rows, outbox, max(now_us, stored.last_us), depth, steps)


class _Instance:
    """One walk."""

    def __init__(self, old: Side, new: Side, schemas: tuple[int, int], known: Known, stored: Stored) -> None:
        self._old, self._new, self._schemas, self._known, self._stored = old, new, schemas, known, stored
        self.key = stored.key
        self._found: dict[tuple[EnumForward, str], Difference] = {}
        self._names: dict[bytes, str] = {}  # [said] -> the intent's name
        self._said: set[bytes] = set()  # what its log has emitted
        self._keys: set[str] = set()  # and under which keys of its own

    def walk(
        self, rows: Sequence[LogEntry], outbox: Sequence[OutboxRow], now_us: int, depth: int, steps: int
    ) -> WalkResult:
        stored, own = self._stored, self.key.workflow_type
        old, new = (side.begin(self.key, stored.state_schema, stored.state) for side in (self._old, self._new))
        if old.why:
            return WalkResult(unreadable=old.why)
        if new.why:
            self._tell(EnumForward.STRANDED, stored.status, (), new.why)
            return WalkResult(tuple(self._found.values()))
        for step in self._new.read(own, [(row.row.payload_schema, row.row.intents) for row in rows if row.row.intents]):
            for one in step:
                self._said.add(one.said)
                self._keys.add(one.idempotency_key)
        self._said.discard(b"")
        self._keys.discard("")
        olds, news = self._begin_open(outbox)
        node = Node(Stands(old.state, old.movers, olds), Stands(new.state, new.movers, news), now_us)
        self._look(node)
        return self._breadth_first(node, depth, steps)

    def _begin_open(self, outbox: Sequence[OutboxRow]) -> tuple[dict[OpenId, UnderWay], dict[OpenId, UnderWay]]:
        own = self.key.workflow_type
        steps = [(row.payload_schema, row.intents) for row in outbox]
        olds: dict[OpenId, UnderWay] = {}
        news: dict[OpenId, UnderWay] = {}
        for row, old_step, new_step in zip(outbox, self._old.read(own, steps), self._new.read(own, steps), strict=True):
            ordinal = row.pointer.ordinal
            if ordinal >= len(old_step) or ordinal >= len(new_step):
                continue  # its step cannot be read at all: onex verify says so
            old, new = old_step[ordinal], new_step[ordinal]
            names = [str(one["name"]) for one in read_intents(row.intents)]
            if not new.kind and old.kind:
                self._tell(EnumForward.STRANDED, old.name, (), new.why)
                continue
            held = None
            if row.state is EnumOutboxState.HELD and row.result:
                trigger, schema = held_trigger(row.result)
                held = (trigger, orjson.dumps(orjson.loads(row.result)["payload"]), schema)
            emitted_as, number = names[ordinal], ordinals(names)[ordinal]
            name = OpenId(b"" if row.timer else row.action_id, new.name, 0 if row.timer else new.n)
            for table, one in ((olds, old), (news, new)):
                if one.kind:
                    table[name] = UnderWay(
                        one.name,
                        emitted_as,
                        row.payload_schema,
                        number,
                        bool(row.timer),
                        one.outcomes,
                        row.due_us if row.timer else 0,
                        held,
                    )
        return olds, news

    def _breadth_first(self, first: Node, depth: int, most: int) -> WalkResult:
        level, met, steps, cut = [first], {first.met}, 0, False
        for _ in range(depth):
            asked: list[tuple[Node, str, Event, OpenId | None]] = []
            for node in level:
                events = list(self._events(node))
                if not events or steps + len(asked) + len(events) > most:
                    cut = cut or bool(events)
                    self._end(node)
                    continue
                asked += [(node, *event) for event in events]
            if not asked:
                break
            steps += len(asked)
            level = []
            for node in self._stepped(asked):
                self._look(node)
                if node.met in node.trail:
                    self._end(node)  # it goes round: nothing behind evens it out
                elif node.met not in met:
                    met.add(node.met)
                    level.append(node)
        for node in level:
            self._end(node)
        return WalkResult(tuple(self._found.values()), steps, cut)

    # --- what may come next ---------------------------------------------------------------------------------------------

    def _events(self, node: Node) -> Iterator[tuple[str, Event, OpenId | None]]:
        if node.old.movers.terminal and node.new.movers.terminal:
            return
        both = {**node.new.open, **node.old.open}
        timers = {name: one for name, one in both.items() if one.timer}
        for name, one in both.items():
            if one.timer:
                continue
            if one.held is not None:
                event = Event(EnumEvent.OUTCOME, one.emitted_as, one.schema, "", *one.held, held=True)
                yield f"{one.name}: its stored outcome", event, name
                continue
            for outcome in one.outcomes:
                event = Event(EnumEvent.OUTCOME, one.emitted_as, one.schema, outcome)
                for answer in self._known.answers(self.key.workflow_type, one.name, outcome):
                    yield f"{one.name} {outcome}", event._replace(**answer._asdict()), name
        if timers:
            name = min(timers, key=lambda each: (timers[each].due_us, each))
            one = timers[name]
            yield f"timer {one.name}", Event(EnumEvent.TIMER, one.emitted_as, one.schema), name
        statuses = dict.fromkeys((node.old.movers.status, node.new.movers.status))
        recorded = set[str]()
        for sent in self._known.actions(self.key.workflow_type, tuple(statuses)):
            recorded.add(sent.trigger)
            yield sent.trigger, Event(EnumEvent.ACTION, sent.trigger, sent.payload_schema, payload=sent.payload), None
        for trigger in node.old.movers.outside:
            if trigger not in recorded:
                yield trigger, Event(EnumEvent.ACTION, trigger, self._schemas[0]), None

    # --- one event on both sides ----------------------------------------------------------------------------------------

    def _stepped(self, asked: Sequence[tuple[Node, str, Event, OpenId | None]]) -> Iterator[Node]:
        """The nodes behind these events."""
        given: dict[str, list[int]] = {"old": [], "new": []}
        asks: dict[str, list[StepAsked]] = {"old": [], "new": []}
        for index, (node, text, event, name) in enumerate(asked):
            for which, stands in (("old", node.old), ("new", node.new)):
                if stands.movers.terminal or (name is not None and name not in stands.open):
                    continue
                given[which].append(index)
                asks[which].append(self._ask(node, stands, text, event, name))
        olds = dict(zip(given["old"], self._old.step(asks["old"]), strict=True))
        news = dict(zip(given["new"], self._new.step(asks["new"]), strict=True))
        # what the old code emitted, as the new one reads it: so both speak of the same names and payloads
        emitting = [index for index, one in olds.items() if one.intents]
        texts = [(self._schemas[0], olds[index].intents) for index in emitting]
        alike = dict(zip(emitting, self._new.read(self.key.workflow_type, texts), strict=True))
        for index, (node, text, event, name) in enumerate(asked):
            old, new = olds.get(index), news.get(index)
            if (old is not None and old.unanswered) or (new is not None and new.unanswered):
                continue
            path = (*node.path, text)
            accepted = old is not None and not old.refused
            if new is not None and new.refused and accepted:
                what = EnumForward.REFUSED if event.what is EnumEvent.ACTION else EnumForward.STRANDED
                self._tell(what, text, path, f"the new code refuses it: {new.refused}")
                continue
            if (old is None or old.refused) and (new is None or new.refused) and name is None:
                continue  # nobody takes it: nothing changes
            at_us = self._time(node, event, name)
            action_id = self._action_id(node, text, event, name)
            yield self._behind(node, path, name, action_id, at_us, (old, new), alike.get(index, ()))

    def _ask(self, node: Node, stands: Stands, text: str, event: Event, name: OpenId | None) -> StepAsked:
        through = cause = None
        action_id = self._action_id(node, text, event, name)
        if name is not None:
            one = stands.open[name]
            event = event._replace(name=one.emitted_as, schema=one.schema)
            cause = name.cause or None
            if cause is not None:
                own = intent_id(UUID(bytes=cause), self.key, one.emitted_as, one.number)
                through = OutcomeOf(own, one.name, one.number, self._stored.version)
        return StepAsked(
            self.key, stands.state, event, action_id, self._time(node, event, name), action_id, through, cause
        )

    def _time(self, node: Node, event: Event, name: OpenId | None) -> int:
        """A second after the last event; a timer not before it is due."""
        due = 0
        if event.what is EnumEvent.TIMER and name is not None:
            due = max(side.open[name].due_us for side in (node.old, node.new) if name in side.open)
        return max(node.at_us + SECOND_US, due)

    def _action_id(self, node: Node, text: str, event: Event, name: OpenId | None) -> bytes:
        """The one that the engine would give an outcome; of anything else one that depends on the path alone."""
        if event.what is EnumEvent.OUTCOME and name is not None:
            one = node.old.open.get(name) or node.new.open[name]
            return outcome_id(intent_id(UUID(bytes=name.cause), self.key, one.emitted_as, one.number)).bytes
        path = "/".join((*node.path, text, event.payload.hex()))
        return uuid5(NAMESPACE_OID, f"{self.key}/{path}").bytes

    def _behind(
        self,
        node: Node,
        path: tuple[str, ...],
        name: OpenId | None,
        action_id: bytes,
        at_us: int,
        steps: tuple[Stepped | None, Stepped | None],
        alike: Sequence[Emission],
    ) -> Node:
        old, new = steps
        olds = taken(self.key, node.old, name, old, action_id, alike, self._schemas[0])
        news = taken(self.key, node.new, name, new, action_id, () if new is None else new.emitted, self._schemas[1])
        more, lasts = Counter(dict(node.more)), dict(node.lasts)
        for count, items in ((-1, alike), (1, () if new is None else new.emitted)):
            for one in items:
                if one.said and one.kind != TIMER:
                    more[one.said] += count
                    lasts[one.said] = path
                    self._names[one.said] = one.name
                    if count > 0 and one.idempotency_key and one.idempotency_key in self._keys:
                        self._said.add(one.said)
        return Node(
            olds,
            news,
            at_us,
            path,
            {said: count for said, count in more.items() if count},
            lasts,
            node.by_old.union(one.said for one in alike if one.said),
            node.trail | {node.met},
        )

    # --- what is otherwise ------------------------------------------------------------------------------------------------

    def _look(self, node: Node) -> None:
        """Whether the new code can still move it."""
        if node.old.movers.stranded(node.old.names):
            return
        why = node.new.movers.stranded(node.new.names)
        if why:
            self._tell(EnumForward.STRANDED, node.new.movers.status, node.path, why)

    def _end(self, node: Node) -> None:
        """A path ends: what did either side emit more often?"""
        lost = {self._names[said] for said, count in node.more.items() if count < 0}
        going_on = set(node.new.open) - set(node.old.open)
        for said, count in node.more.items():
            name, path = self._names[said], node.lasts[said]
            if count > 0 and (said in self._said or said in node.by_old):
                self._tell(
                    EnumForward.AGAIN, name, path, "its log has it already, and the old code does not emit it here"
                )
            elif count > 0 and name in lost:
                self._tell(EnumForward.CHANGED, name, path, "the old code emits it with another payload")
            elif count > 0:
                self._tell(EnumForward.ADDED, name, path, "the old code does not emit it here")
            elif not going_on and not any(self._names[each] == name for each, n in node.more.items() if n > 0):
                self._tell(EnumForward.LOST, name, path, "the old code emits it here, and the new code does not")

    def _tell(self, what: EnumForward, name: str, path: tuple[str, ...], why: str) -> None:
        self._found.setdefault((what, name), Difference(what, name, path, why))
