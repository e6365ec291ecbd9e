"""Checks of ``start:``: the trigger is there and begins a run, and no other workflow has the name of its queue."""

from __future__ import annotations

from collections.abc import Iterator

from ...kernel.finding import EnumSeverity, Finding
from ...kernel.intent import RUN_BEGIN
from ..guard.problem import suggest
from ..model.contract import ModelContractWorkflow
from ..model.start import EnumReuse, start_type
from ..text.yaml_tree import Loc, YamlMap, place_of

TYPE_CHARACTERS = 64


def check_start(contract: ModelContractWorkflow, tree: YamlMap, path: str) -> Iterator[Finding]:
    """In no particular order."""
    start = contract.start
    if start is None or any(one.type == RUN_BEGIN for one in contract.intents):
        return

    def finding(code: str, loc: Loc, message: str, fix: str) -> Finding:
        return Finding(code, EnumSeverity.ERROR, *place_of(tree, ("start", *loc)).spot(path), message, fix)

    machine = contract.state_machine
    first = [line.trigger for line in machine.transitions if line.from_state in (machine.initial_state, "*")]
    if start.trigger not in first:
        fix = suggest(start.trigger, first) or f"use one of {', '.join(dict.fromkeys(first))}"
        message = f"{start.trigger!r} begins no run: no transition from {machine.initial_state!r} has it"
        yield finding("unknown_trigger", ("trigger",), message, fix)
    if len(start_type(contract.name)) > TYPE_CHARACTERS:
        message = (
            f"{start_type(contract.name)} would hold what waits, and a name has at most {TYPE_CHARACTERS} characters"
        )
        yield finding("name_too_long", (), message, "give the workflow a shorter name")
    if start.reuse is not EnumReuse.REJECT and start.concurrency is None:
        message = f"{start.reuse.value} asks whether a run has ended, and without concurrency no run is watched"
        yield finding("start", ("reuse",), message, "add concurrency")
    if start.batch is not None and start.batch.most > start.waiting:
        message = f"a batch of {start.batch.most} never gathers: no more than {start.waiting} asks wait"
        yield finding("start", ("batch", "most"), message, f"write waiting: {start.batch.most}, or more")
    if start.batch is not None and (start.reuse is not EnumReuse.REJECT or start.debounce_ms is not None):
        key = "reuse" if start.reuse is not EnumReuse.REJECT else "debounce_ms"
        message = "a batch is one run of many asks, and no ask of it has a run of its own"
        yield finding("start", (key,), message, f"remove {key}, or batch")
    if start.debounce_ms is not None and start.delay_ms is not None:
        message = "a run that is debounced waits anyway, so delay_ms would do nothing"
        yield finding("start", ("delay_ms",), message, "keep one of delay_ms and debounce_ms")
    if start.debounce_ms is not None and start.reuse is EnumReuse.REJECT and "reuse" in start.model_fields_set:
        message = "an id that is asked for again is what debounce_ms is for, and reuse: reject refuses it"
        yield finding("start", ("reuse",), message, "remove it, or write reuse: after_terminal")
