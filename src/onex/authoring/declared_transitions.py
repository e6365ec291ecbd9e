"""Transitions as they are declared: text is read as triggers and edges, and each keeps its place in the order of the file."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from .declared_problems import DeclaredProblems
from .edges import ARROW, TRIGGER, Edge, read_edge
from .intents import AnyHandler, DeclaredTransition, SourcePlace, Trigger, all_of

Texts = str | tuple[str, ...] | list[str]


class DeclaredTransitions(DeclaredProblems):
    """Collects transitions, and the triggers that clients may submit, or submit without a lease."""

    def __init__(self) -> None:
        super().__init__()
        self.transitions: list[DeclaredTransition] = []
        self.unleased: dict[str, SourcePlace] = {}
        self.public: dict[str, SourcePlace] = {}

    def _read(self, what: tuple[object, ...], place: SourcePlace) -> tuple[tuple[str, ...], list[Edge]]:
        triggers: list[str] = []
        edges: list[Edge] = []
        known = len(self.problems)
        for one in what:
            if isinstance(one, Trigger):
                triggers.append(one.name)
                if one.intent is not None:
                    one.intent.is_answered = True
            elif isinstance(one, str) and ARROW in one:
                edge = read_edge(one)
                if edge is not None:
                    edges.append(edge)
                    continue
                fix = f'write "FROM {ARROW} TO", or "FROM | FROM {ARROW} TO"'
                self._problem("not_an_edge", place, f"the edge {one!r} cannot be read", fix)
            elif isinstance(one, str) and TRIGGER.fullmatch(one):
                triggers.append(one)
            else:
                message = f"{one!r} is neither a trigger nor an edge"
                self._problem("not_an_edge", place, message, f'write an edge with an arrow: "basket {ARROW} paid"')
        if not edges and len(self.problems) == known:
            message = "no edge is given, so it is not known where this happens and what it leads to"
            self._problem("no_edge", place, message, f'add one as text: "basket {ARROW} paid"')
        return tuple(triggers), edges

    def _reserve(
        self,
        triggers: tuple[str, ...],
        edges: list[Edge],
        when: Texts,
        when_after: Texts,
        timeout: timedelta | None,
        place: SourcePlace,
    ) -> None:
        """Takes the places of these transitions, also while their trigger or handler is not known yet."""
        conditions: tuple[object, ...] = (when, when_after)
        for given in conditions:
            if not isinstance(given, str | tuple | list) or not all(isinstance(text, str) for text in given):
                message = f"{given!r} is no condition"
                self._problem("not_a_condition", place, message, 'write it as text: "payload.items.size() > 0"')
                return
        before, after = tuple(all_of(when)), tuple(all_of(when_after))
        for trigger in triggers or ("",):
            for edge in edges:
                self.transitions.append(
                    DeclaredTransition(trigger, edge.sources, edge.target, before, after, timeout, None, place)
                )

    def _handled(self, first: int, last: int, trigger: str, handler: AnyHandler) -> None:
        """Gives these transitions their handler, and ``trigger`` to those that name none."""
        for n in range(first, last):
            one = self.transitions[n]
            self.transitions[n] = one._replace(trigger=one.trigger or trigger, handler=handler)

    def _mark(self, names: tuple[str, ...], place: SourcePlace, *, public: bool, unleased: bool) -> None:
        for name in names:
            if public:
                self.public.setdefault(name, place)
            if unleased:
                self.unleased.setdefault(name, place)


def by_trigger(transitions: Iterable[DeclaredTransition]) -> dict[str, list[DeclaredTransition]]:
    groups: dict[str, list[DeclaredTransition]] = {}
    for one in transitions:
        groups.setdefault(one.trigger, []).append(one)
    return groups


def name_of(function: AnyHandler) -> str:
    return str(getattr(function, "__name__", ""))
