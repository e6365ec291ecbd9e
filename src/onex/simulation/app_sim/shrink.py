"""Shrinker: from the run that broke something to the shortest one found that breaks the same.

ddmin over what was drawn (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002), then every
thing that is left is made as plain as it can be. The same script is shrunk to the same one, unless time runs out.
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
    """``script`` is the smallest that is known to break ``rule``; ``runs`` how many runs that took."""

    def __init__(
        self, under_test: AppUnderTest, script: Script, rule: str, workspace: Workspace, seconds: float
    ) -> None:
        self.under_test, self.script, self.rule, self.workspace = under_test, script, rule, workspace
        self.runs = 0
        self.in_time = True
        self._end_s = time.monotonic() + seconds

    def breaks(self, script: Script) -> bool:
        """Whether it breaks the rule, and is kept if so. False for everything once time is up."""
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
            self._drop()
            self._simplify()

    def _drop(self) -> None:
        """Leaves out halves, quarters, ... single things, until nothing can be left out."""
        parts = 1
        while (kept := _things(self.script)) and self.in_time:
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
            for plainer in self._plainer(_things(self.script)[n]):
                things = _things(self.script)
                things[n] = plainer
                if self.breaks(self.script.only(things)):
                    break

    def _plainer(self, thing: Act | Hit) -> Iterator[Act | Hit]:
        """The same thing, plainest first."""
        if isinstance(thing, Hit):
            yield from (replace(thing, share=share) for share in WEAKER if share < thing.share)
            return
        if thing.manner:
            yield replace(thing, manner="")
        if thing.payload is not None:
            reducer = self.under_test.workflows[WorkflowKey.parse(thing.key).workflow_type].reducer
            try:
                plain = orjson.loads(encode_payload(simplest(reducer.payloads[thing.trigger])))
            except (OnexError, KeyError):
                return
            if plain != thing.payload:
                yield replace(thing, payload=plain or None)
            yield from (replace(thing, payload=shorter) for shorter in _shorter(thing.payload))


def _shorter(payload: JsonValue) -> Iterator[JsonValue]:
    """With one element in each list, then with fewer in one of them."""
    if not isinstance(payload, dict):
        return
    lists = {name: value for name, value in payload.items() if isinstance(value, list) and len(value) > 1}
    if lists:
        yield {**payload, **{name: value[:1] for name, value in lists.items()}}
    for name, value in lists.items():
        yield {**payload, name: value[: len(value) // 2]}


def _things(script: Script) -> list[Act | Hit]:
    """In the order they came: what is dropped together belongs together in time."""
    return sorted((*script.acts, *script.hits), key=lambda one: one.at_us)
