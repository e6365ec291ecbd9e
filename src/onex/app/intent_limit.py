"""Handlers that surely emit more intents in one step than the engine takes. Judged by reading, when an app is loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from ..engine.fold import INTENTS_PER_STEP
from ..kernel.finding import EnumSeverity, Finding
from ..proof.intent_counts import many_intents
from .folder import AppFolder, AppModule

_FIX = "emit fewer in one step: one intent for many things, or the next when an outcome comes"


def too_many_intents(folder: AppFolder, modules: Iterable[AppModule]) -> Iterator[Finding]:
    """Errors, each at its ``Step(...)``. A module that does not parse is left out: others report it."""
    for module in modules:
        if b".on(" in module.text or b".timer(" in module.text:
            try:
                tree = ast.parse(module.text)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            for one in many_intents(tree, INTENTS_PER_STEP):
                message = f"{one.handler} emits {one.intents} intents in one step; the limit is {INTENTS_PER_STEP}"
                path = folder.show(module.path)
                yield Finding("too_many_intents", EnumSeverity.ERROR, path, one.line, one.column, message, _FIX)
