"""Shrinking: from a run that violated a rule to the shortest script found that violates the same rule.

Theory of operation
    A script is a list of events: acts of clients and faults. A shorter one is tried by running it, as often as time allows.
    1. Leave out (``_leave_out``). ddmin (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002): try
       without each half, each quarter, ... each single event. What still breaks the rule is kept, and the search goes on there.
    2. Make plainer (``_simplify``): simplest answers of effects, faults that end earlier, weaker faults, plain manners,
       simplest payloads, shorter lists.
    Both are repeated until neither changes anything. ``run`` first checks that the script breaks the rule at all.
    Why the rule and not the text of the violation: another run breaks the same rule with other ids and numbers.
    Why it works though runs are so different: a fault is found again by its time, and an answer is drawn by its key.
    The same script is always shrunk to the same one, unless time runs out; then the best one so far stays.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import orjson
from pydantic import JsonValue

from ...engine.encode import encode_payload
from ...kernel.action import WorkflowKey
from ...kernel.errors import OnexError
from .app_under_test import AppUnderTest
from .run import Workspace, run_app
from .schedule import Act, Hit, Script
from .values import simplest

SECONDS: Final = 20.0
WEAKER: Final = (0.0, 0.25, 0.5)


class Shrinker:
    """``script`` is the smallest one known to break ``rule``; ``runs`` is how many runs the search took."""

    def __init__(
        self, under_test: AppUnderTest, script: Script, rule: str, workspace: Workspace, seconds: float
    ) -> None:
        self.under_test, self.script, self.rule, self.workspace = under_test, script, rule, workspace
        self.runs = 0
        self.in_time = True
        self._end_s = time.monotonic() + seconds

    def breaks(self, script: Script) -> bool:
        """Whether this script breaks the rule; then it is kept. Always False once time is over."""
        if time.monotonic() > self._end_s:
            self.in_time = False
            return False
        self.runs += 1
        result = run_app(self.under_test, script, self.workspace, drawn=False)
        found = any(one.rule == self.rule for one in result.violations)
        if found:
            self.script = script
        return found

    def run(self) -> None:
        if not self.breaks(self.script):
            return
        before = None
        while before != self.script and self.in_time:
            before = self.script
            self._leave_out()
            self._simplify()

    def _leave_out(self) -> None:
        """Leaves out halves, quarters, ... single events, until none can be left out."""
        parts = 1
        while (kept := _events(self.script)) and self.in_time:
            size = max(1, -(-len(kept) // parts))
            for begin in range(0, len(kept), size):
                if self.breaks(self.script.only(kept[:begin] + kept[begin + size :])):
                    parts = max(1, parts - 1)
                    break
            else:
                if size == 1:
                    return
                parts = min(2 * parts, len(kept))

    def _simplify(self) -> None:
        if not self.script.plain:
            self.breaks(replace(self.script, plain=True))
        last_us = max((hit.at_us for hit in self.script.hits), default=0)
        for peace_us in (0, last_us + 1_000_000):
            if peace_us < self.script.peace_us and self.breaks(replace(self.script, peace_us=peace_us)):
                break
        for n in range(self.script.size):
            for plainer in self._plainer(_events(self.script)[n]):
                events = _events(self.script)
                events[n] = plainer
                if self.breaks(self.script.only(events)):
                    break

    def _plainer(self, event: Act | Hit) -> Iterator[Act | Hit]:
        """The same event made plainer, the plainest first."""
        if isinstance(event, Hit):
            yield from (replace(event, share=share) for share in WEAKER if share < event.share)
            return
        if event.manner:
            yield replace(event, manner="")
        if event.payload is not None:
            reducer = self.under_test.workflows[WorkflowKey.parse(event.key).workflow_type].reducer
            try:
                plain = orjson.loads(encode_payload(simplest(reducer.payloads[event.trigger])))
            except (OnexError, KeyError):
                return
            if plain != event.payload:
                yield replace(event, payload=plain or None)
            yield from (replace(event, payload=shorter) for shorter in _shorter(event.payload))


def _shorter(payload: JsonValue) -> Iterator[JsonValue]:
    """With one element in each list, then with fewer in one of them."""
    if not isinstance(payload, dict):
        return
    lists = {name: value for name, value in payload.items() if isinstance(value, list) and len(value) > 1}
    if lists:
        yield {**payload, **{name: value[:1] for name, value in lists.items()}}
    for name, value in lists.items():
        yield {**payload, name: value[: len(value) // 2]}


def _events(script: Script) -> list[Act | Hit]:
    """In the order of time: what is left out together then belongs together."""
    return sorted((*script.acts, *script.hits), key=lambda one: one.at_us)
