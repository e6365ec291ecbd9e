"""Checks within one contract: unknown names, unreachable states, transitions that never fire, intents that do not fit.

Theory of operation. The checks read the located tree through ``PartialContract``, not the typed contract. So one wrong type
elsewhere hides nothing, and a name that is missing or is no text is None there: each check skips what it cannot judge.
Two readers use them. For a contract of ours a finding stays as it is; ``foreign.foreign_checks`` turns most errors of other
contracts into warnings. The order of the checks matters in one place only:

1. Names first: duplicates, states that are not declared (or, without ``states``, that nothing enters or leaves), transitions out
   of a terminal state. A misspelled name would make half of the states look unreachable. So reachability is checked only when
   all names are right.
2. Reachability and dead ends come from ``machine_faults``, which is shared with ``onex doctor``. It counts every guard as true
   or false at will: what it calls unreachable surely is, what it calls reachable may be not.
3. A transition is shadowed when one that is tried earlier, from the same state and with the same trigger, has a subset of its
   conditions, compared as text. Two conditions that mean the same in other words are not found; none is reported wrongly.
4. Payloads, conditions, timers and intents, each by itself. A condition is parsed here, but its fields are known only when the
   app loads (``compile``).

All work is bounded for hostile input: PartialContract holds at most 1,000 transitions and 200 intents, all conditions together
have at most CONDITIONS_CHARS_MAX characters, ``suggest`` compares few names, and FINDINGS_MAX findings end the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice

from ...kernel.finding import EnumSeverity, Finding
from ...kernel.intent import EnumIntentType
from ...kernel.machine import Machine, Transition
from ..guard.guards import guard_warning, parse
from ..guard.problem import GuardProblem, suggest
from ..implied_names import IMPLIED, TIMEOUT, implied_timeout
from ..model.fsm import ModelIntentRetry
from ..text.yaml_tree import FINDINGS_MAX, YamlMap, YamlPlace, YamlScalar
from .machine_faults import ANY, MachineGraph, shadowed, written_guard
from .partial_contract import LocatedWord, PartialContract, PartialIntent, number

NAMED = 20
CONDITIONS_CHARS_MAX = 16 * 1024
# kind -> keys it cannot have, because they would do nothing
_UNUSED: Mapping[str, tuple[str, ...]] = {
    EnumIntentType.TIMER: (
        "target", "payload", "outcomes", "retry", "delivery", "timeout_ms", "heartbeat_ms", "concurrency", "on_exit",
        "detached",
    ),
    EnumIntentType.ACTION_SEND: ("delivery", "timeout_ms", "heartbeat_ms", "concurrency"),
    EnumIntentType.COMPUTE_TASK: ("detached", "heartbeat_ms"),
}  # fmt: skip
_BY_RULE = {
    "state": "add timeout_ms without on_timeout, or remove the transition",
    "intent": "remove its outcomes, or the transition: both name triggers for the same",
}


def check_tree(tree: YamlMap, path: str) -> list[Finding]:
    """Findings in no particular order, at most FINDINGS_MAX."""
    return list(islice(_Check(tree, path).run(), FINDINGS_MAX))


class _Check(PartialContract):
    def __init__(self, tree: YamlMap, path: str) -> None:
        super().__init__(tree)
        self.path = path
        self.transitions = self._transitions()

    def run(self) -> Iterator[Finding]:
        yield from self._twins()
        broken = list(islice(chain(self._known_states(), self._ends()), FINDINGS_MAX))
        yield from broken
        if not broken:  # a misspelled name would make half of the states look unreachable
            yield from self._reachable()
        yield from self._shadowed()
        yield from self._payloads()
        yield from self._conditions()
        yield from self._timeouts()
        for intent in self.intents:
            yield from self._intent(intent)
        yield from self._fired_by_nobody()
        for word in self.unleased:
            yield from self._trigger(word, "unleased")
        for word in self.public:
            yield from self._trigger(word, "public")

    # --- states -----------------------------------------------------------------------------------------------------

    def _twins(self) -> Iterator[Finding]:
        groups: list[tuple[str, list[LocatedWord]]] = [
            ("terminal state", self.terminal),
            ("state", self.declared),
            ("intent", [intent.name for intent in self.intents if intent.name]),
            ("unleased trigger", self.unleased),
            ("public trigger", self.public),
        ]
        for what, words in groups:
            seen: dict[str, YamlPlace] = {}
            for word in words:
                if word.text in seen:
                    first = seen[word.text].line
                    message = f"{what} {word.text!r} stands here and on line {first}"
                    yield self._error("duplicate", word.place, message, "keep one of them")
                seen.setdefault(word.text, word.place)

    def _known_states(self) -> Iterator[Finding]:
        """With ``states``, every name must be in it. Without, a name must be entered and, unless terminal, left."""
        starts, ends = self.starts, self.ends
        if self.declared:
            known = list(dict.fromkeys(word.text for word in self.declared))
            names = set(known)
            for word in self._mentions():
                if word.text not in names:
                    fix = suggest(word.text, known) or f"add it to states, or use one of {', '.join(known[:NAMED])}"
                    yield self._error("unknown_state", word.place, f"state {word.text!r} is not in states", fix)
            return
        if not all(line.start and line.end for line in self.lines):
            return  # a state may be entered or left by what is missing
        entered = ends | ({self.initial.text} if self.initial else set())
        left_or_final = starts | self.final
        reported: set[str] = set()
        enterable = entered | self.final | {ANY}
        not_left, not_final = sorted(entered - starts), sorted(entered - self.final)
        unentered, leavable = sorted(left_or_final - ends - {ANY}), sorted(left_or_final - {ANY})
        for line in self.lines:
            if line.start and line.start.text not in enterable and line.start.text not in reported and self.initial:
                reported.add(line.start.text)
                fix = suggest(line.start.text, not_left) or suggest(line.start.text, not_final)
                message = f"no transition enters {line.start.text!r}, so this one can never fire"
                yield self._error("unknown_state", line.start.place, message, fix or "add a transition into it")
            if line.end and line.end.text not in left_or_final and line.end.text not in reported and ANY not in starts:
                reported.add(line.end.text)
                fix = suggest(line.end.text, unentered or leavable)
                message = f"no transition leaves {line.end.text!r} and it is not terminal"
                yield self._error("unknown_state", line.end.place, message, fix or "add it to terminal_states")
        for word in self.terminal:
            if word.text not in entered | reported:
                fix = suggest(word.text, sorted(ends)) or "remove it, or add a transition into it"
                yield self._error("unknown_state", word.place, f"no transition enters the terminal {word.text!r}", fix)
        if self.initial and self.lines and self.initial.text not in starts | {ANY} and ANY not in starts:
            fix = suggest(self.initial.text, sorted(starts)) or "add a transition from it"
            message = f"no transition leaves the initial state {self.initial.text!r}"
            yield self._error("unknown_state", self.initial.place, message, fix)

    def _mentions(self) -> Iterator[LocatedWord]:
        if self.initial:
            yield self.initial
        yield from self.terminal
        for line in self.lines:
            if line.start and line.start.text != ANY:
                yield line.start
            if line.end:
                yield line.end

    def _ends(self) -> Iterator[Finding]:
        if self.initial and self.initial.text in self.final:
            message = f"the initial state {self.initial.text!r} is terminal, so nothing can ever happen"
            yield self._error("terminal_initial", self.initial.place, message, "take it out of terminal_states")
        for line in self.lines:
            if line.start and line.start.text in self.final:
                yield self._error(
                    "terminal_exit",
                    line.start.place,
                    f"{line.start.text!r} is terminal; nothing leaves a terminal state",
                    "remove the transition, or take the state out of terminal_states",
                )

    def _reachable(self) -> Iterator[Finding]:
        if self.initial is None:
            return
        declared = tuple(word.text for word in self.declared)
        # a terminal state that nothing enters changes nothing here, and there may be any number of them
        graph = MachineGraph(Machine(self.initial.text, self.transitions, self.final & self.ends, states=declared))
        reported: set[str] = set()
        # a state that nothing enters was an error above unless it is declared; here is the rest
        for word in (*self._mentions(), *self.declared):
            if word.text not in graph.reached | reported and (word.text in self.ends or self.declared):
                reported.add(word.text)
                message = f"state {word.text!r} cannot be reached from {self.initial.text!r}"
                yield self._warning("unreachable_state", word.place, message, "add a transition into it, or remove it")
        dead = set(graph.dead_ends())
        for word in self.declared:
            if word.text in dead:
                message = f"nothing leaves state {word.text!r} and it is not terminal"
                yield self._warning("stuck_state", word.place, message, "add it to terminal_states")

    def _transitions(self) -> tuple[Transition, ...]:
        """One for each line. A line without a trigger gets none that another has; one without an end stays where it is."""
        return tuple(
            Transition(
                line.start.text if line.start else "",
                line.end.text if line.end else line.start.text if line.start else "",
                line.trigger.text if line.trigger else f" {n}",
                tuple(written_guard(condition.text, condition.after) for condition in line.conditions),
                line.priority,
            )
            for n, line in enumerate(self.lines)
        )

    def _shadowed(self) -> Iterator[Finding]:
        """A transition behind one with the same start and trigger whose conditions are no more than its own."""
        for n, first in shadowed(self.transitions):
            line = self.lines[n]
            if line.start and line.trigger:
                yield self._error(
                    "shadowed_transition",
                    line.place,
                    f"never fires: the transition on line {self.lines[first].place.line} takes every "
                    f"{line.trigger.text!r} in {line.start.text!r} that this one would",
                    "give that one a condition, or this one a higher priority",
                )

    def _timeouts(self) -> Iterator[Finding]:
        for state in self.states:
            if (state.timeout is None) != (state.on_timeout is None):
                place = state.timeout or (state.on_timeout.place if state.on_timeout else state.name.place)
                message = f"state {state.name.text!r} has one of timeout_ms and on_timeout without the other"
                fix = f"write both: when, and which trigger then; or add a transition on {implied_timeout(state.name.text)}"
                yield self._error("state_timeout", place, message, fix if state.timeout else "add timeout_ms: when")
            if state.timeout and state.name.text in self.final:
                message = f"{state.name.text!r} is terminal; a timer on it is never set"
                yield self._error("state_timeout", state.timeout, message, "remove timeout_ms and on_timeout")
            elif state.on_timeout:
                yield from self._trigger(state.on_timeout, "on_timeout")
                yield from self._bare(state.on_timeout, "a timer")
                leaving = [
                    line
                    for line in self.lines
                    if line.start
                    and line.trigger
                    and line.start.text in (state.name.text, ANY)
                    and line.trigger.text == state.on_timeout.text
                ]
                if not leaving and state.on_timeout.text in self.triggers:
                    message = f"no transition from {state.name.text!r} is triggered by {state.on_timeout.text!r}"
                    yield self._error(
                        "state_timeout", state.on_timeout.place, message, "add one, or name another trigger"
                    )

    # --- triggers and payloads --------------------------------------------------------------------------------------

    def _trigger(self, word: LocatedWord, role: str) -> Iterator[Finding]:
        if word.text not in self.triggers and self.triggers:
            fix = suggest(word.text, self.triggers) or f"use one of {', '.join(self.triggers)}, or add a transition"
            message = f"{role} names the trigger {word.text!r}, which no transition has"
            yield self._error("unknown_trigger", word.place, message, fix)

    def _bare(self, word: LocatedWord, who: str) -> Iterator[Finding]:
        for line in self.lines:
            if line.trigger and line.payload and line.trigger.text == word.text and line.payload.text != "Nothing":
                message = f"{who} fires {word.text!r} and carries no payload, but here it carries {line.payload.text}"
                yield self._error(
                    "timer_payload", line.payload.place, message, "use another trigger, or remove the payload"
                )

    def _payloads(self) -> Iterator[Finding]:
        first: dict[str, LocatedWord] = {}
        for line in self.lines:
            if line.trigger is None or line.payload is None:
                continue
            before = first.setdefault(line.trigger.text, line.payload)
            if before.text != line.payload.text:
                yield self._error(
                    "two_payloads",
                    line.payload.place,
                    f"{line.trigger.text!r} carries {before.text} on line {before.place.line}, "
                    f"and {line.payload.text} here",
                    "one trigger has one payload class; name another trigger",
                )

    def _conditions(self) -> Iterator[Finding]:
        chars = 0
        for leaf in (condition.leaf for line in self.lines for condition in line.conditions):
            text = str(leaf.value)
            chars += len(text)
            if chars > CONDITIONS_CHARS_MAX:
                message = f"the conditions hold more than {CONDITIONS_CHARS_MAX:,} characters in all"
                yield self._error("guard_too_heavy", leaf.place, message, "decide in the reducer instead")
                return
            try:
                parsed = parse(text)
            except GuardProblem as problem:
                yield guard_finding(problem, leaf, self.path)
                continue
            warning = guard_warning(parsed)
            if warning is not None:
                yield guard_finding(warning, leaf, self.path, EnumSeverity.WARNING)

    # --- intents ----------------------------------------------------------------------------------------------------

    def _intent(self, intent: PartialIntent) -> Iterator[Finding]:
        named = f"intent {intent.name.text!r}" if intent.name else "this intent"
        at = intent.name.place if intent.name else intent.node.place
        kind = intent.kind.text if intent.kind else ""
        if intent.kind and kind not in list(EnumIntentType):
            near = suggest(kind, [str(one) for one in EnumIntentType])
            if near:
                yield self._error("unknown_intent_type", intent.kind.place, f"{kind!r} is no kind of intent", near)
        for key in _UNUSED.get(kind, ()):
            if key in intent.node.entries:
                message = f"an intent of type {kind} has no {key}: it would do nothing"
                yield self._error("unused_key", intent.node.entries[key].key.place, message, f"remove {key}")
        detached, on_exit = intent.node.get("detached"), intent.node.get("on_exit")
        if isinstance(detached, YamlScalar) and detached.value is True and on_exit is not None:
            place = intent.node.entries["detached"].key.place
            message = f"{named} is cancelled when its status is left, so none is left that could be detached"
            yield self._error("unused_key", place, message, "remove detached, or on_exit")
        if kind != EnumIntentType.TIMER and kind and not intent.node.get("target"):
            what = {
                EnumIntentType.ACTION_SEND: "the workflow type to send to",
                EnumIntentType.COMPUTE_TASK: "the name of a function in compute.py",
            }.get(EnumIntentType(kind) if kind in list(EnumIntentType) else EnumIntentType.TIMER)
            fix = f"add target: {what or 'the name of a function in effects.py'}"
            yield self._error("missing_key", at, f"{named} has no target", fix)
        if kind == EnumIntentType.COMPUTE_TASK and not intent.node.get("payload"):
            yield self._error("missing_key", at, f"{named} has no payload to compute on", "add payload: CLASS")
        yield from self._fired(intent, kind, named, at)
        for outcome, word in intent.outcomes:
            if intent.name and word.place == intent.name.place and word.text not in self.triggers:
                message = f"{named} has its outcomes by rule, and no transition has the trigger {word.text!r}"
                fix = f"add a transition with trigger: {word.text}, or write outcomes"
                yield self._error("outcome_not_accepted", at, message, fix)
            else:
                yield from self._trigger(word, f"{named}, outcome {outcome},")
        retry = intent.node.get("retry")
        if isinstance(retry, YamlMap):
            by_rule = ModelIntentRetry()
            least, most = (
                number(retry.get("initial_ms"), by_rule.initial_ms),
                number(retry.get("max_ms"), by_rule.max_ms),
            )
            if least > most:
                message = f"{named} waits at first {least} ms but at most {most} ms"
                yield self._error("retry_bounds", retry.place, message, "make initial_ms the smaller one")

    def _fired(self, intent: PartialIntent, kind: str, named: str, at: YamlPlace) -> Iterator[Finding]:
        if kind in (EnumIntentType.TIMER, EnumIntentType.ACTION_SEND):
            if intent.trigger is None:
                fix = "add trigger: the one the target workflow gets"
                if kind == EnumIntentType.TIMER:
                    fix = "add trigger: the one it fires, or a transition with its own name as trigger"
                yield self._error("missing_key", at, f"{named} has no trigger", fix)
            elif kind == EnumIntentType.TIMER:
                yield from self._trigger(intent.trigger, named)
                yield from self._bare(intent.trigger, "a timer")
        elif intent.trigger and kind:
            message = f"an intent of type {kind} fires no trigger of its own; its outcomes do"
            place = intent.node.entries["trigger"].key.place
            yield self._error(
                "unused_key", place, message, "write outcomes: {succeeded: ..., failed: ..., unknown: ...}"
            )

    def _fired_by_nobody(self) -> Iterator[Finding]:
        """A trigger that reads like a name by rule, and is none: ``chrage.failed`` beside the intent ``charge``."""
        fired = {word.text for intent in self.intents for _, word in intent.outcomes}
        fired |= {state.on_timeout.text for state in self.states if state.on_timeout}
        intents = [intent.name.text for intent in self.intents if intent.name]
        states = [word.text for word in self.declared]
        for trigger in self.triggers:
            owner, _, end = trigger.partition(".")
            if end not in IMPLIED or trigger in fired:
                continue
            known, lacks = (states, "timeout_ms") if end == TIMEOUT else (intents, "outcomes by rule")
            near = "" if owner in known else suggest(owner, known)
            if not near and owner not in known:
                continue  # a client may send it
            place = next(line.trigger.place for line in self.lines if line.trigger and line.trigger.text == trigger)
            what = "state" if end == TIMEOUT else "intent"
            message = f"nothing fires {trigger!r}: there is no {what} {owner!r}"
            if owner in known:
                message = f"nothing fires {trigger!r}: {what} {owner!r} has no {lacks}"
            yield self._warning("fired_by_nobody", place, message, near or _BY_RULE[what])

    def _error(self, code: str, place: YamlPlace, message: str, fix: str) -> Finding:
        return Finding(code, EnumSeverity.ERROR, *place.spot(self.path), message, fix)

    def _warning(self, code: str, place: YamlPlace, message: str, fix: str) -> Finding:
        return Finding(code, EnumSeverity.WARNING, *place.spot(self.path), message, fix)


def guard_finding(
    problem: GuardProblem, leaf: YamlScalar, path: str, severity: EnumSeverity = EnumSeverity.ERROR
) -> Finding:
    """A condition's problem at its column, when the condition stands on one line as written."""
    place = leaf.place
    if leaf.text_at is not None:
        place = leaf.text_at._replace(column=leaf.text_at.column + problem.offset)
    message = f"condition {str(leaf.value)!r}: {problem.message}"
    return Finding(problem.code, severity, *place.spot(path), message, problem.fix)
